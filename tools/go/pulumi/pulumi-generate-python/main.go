// Writes Python for `pulumi import` and its like: a GenerateProgramRequest comes in, its response goes out, both as the
// engine's protocol encodes them. The language host runs it; the generator is the engine's own.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/pulumi/pulumi/pkg/v3/codegen/hcl2/syntax"
	"github.com/pulumi/pulumi/pkg/v3/codegen/pcl"
	"github.com/pulumi/pulumi/pkg/v3/codegen/python"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/proto"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println(version.Version)
		return
	}
	if err := answer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer() error {
	sent, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	request := &pulumirpc.GenerateProgramRequest{}
	if err := proto.Unmarshal(sent, request); err != nil {
		return err
	}
	response, err := generate(request)
	if err != nil {
		return err
	}
	encoded, err := proto.Marshal(response)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(encoded)
	return err
}

func generate(request *pulumirpc.GenerateProgramRequest) (*pulumirpc.GenerateProgramResponse, error) {
	loader, err := schema.NewLoaderClient(request.LoaderTarget)
	if err != nil {
		return nil, err
	}
	parser := syntax.NewParser()
	for _, path := range paths(request.Source) {
		if err := parser.ParseFile(strings.NewReader(request.Source[path]), path); err != nil {
			return nil, err
		}
	}
	if parser.Diagnostics.HasErrors() {
		return &pulumirpc.GenerateProgramResponse{
			Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(parser.Diagnostics),
		}, nil
	}
	var options []pcl.BindOption
	if !request.Strict {
		options = pcl.NonStrictBindOptions()
	}
	bound, said, err := pcl.BindProgramWithContext(
		context.Background(), parser.Files, schema.NewCachedLoader(loader), options...)
	if err != nil || said.HasErrors() {
		return &pulumirpc.GenerateProgramResponse{Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(said)}, err
	}
	files, more, err := python.GenerateProgram(bound)
	if err != nil {
		return nil, err
	}
	said = append(said, more...)
	return &pulumirpc.GenerateProgramResponse{
		Source:      files,
		Diagnostics: plugin.HclDiagnosticsToRPCDiagnostics(said),
	}, nil
}

func paths(source map[string]string) []string {
	found := make([]string, 0, len(source))
	for path := range source {
		found = append(found, path)
	}
	sort.Strings(found)
	return found
}
