"""A stand-in for Pulumi's Python language host, whose own program is not served by package registries.

The engine starts `pulumi-language-python` (an executable copy of this file, beside `pulumi`), reads the port that it
prints, and asks it over gRPC to run the program (`Run`) or a policy pack (`RunPlugin`), or to write Python for what was
imported (`GenerateProgram`, which the engine's own generator answers, built beside it). The program runs in the
project's virtual environment by this same file (`--run-program`), since the SDK's own runner ships with the missing
host. So this file imports nothing of ours, and the SDK only where the program runs: the host alone starts in 0.1 s.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import logging
import os
import queue
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import IO, Any

# The program already told the user what was wrong: the engine adds nothing.
EXIT_AFTER_MESSAGE = 32
RUN_PROGRAM = "--run-program"
HOST_NAME = "pulumi-language-python"
GENERATOR = "pulumi-generate-python"
UNLIMITED_MESSAGES = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def install_language_host(bin_folder: Path, python: Path) -> bool:
    """Put the host beside the `pulumi` binary, to be run by `python`; tells whether anything changed.

    The interpreter must have `grpcio` and `pulumi`; a program's own virtual environment may be another one.
    """
    text = f"#!{python}\n{Path(__file__).read_text()}"
    target = bin_folder / HOST_NAME
    if target.exists() and target.read_text() == text and os.access(target, os.X_OK):
        return False
    bin_folder.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{HOST_NAME}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(target)
    return True


def load_protocol() -> tuple[Any, ...]:
    """The generated stubs without the rest of the SDK, whose import takes four times as long as this host's start."""
    for name in ("pulumi", "pulumi.runtime"):
        spec = importlib.util.find_spec("pulumi") if name == "pulumi" else None
        folder = (
            Path(spec.origin).parent if spec and spec.origin else Path(sys.modules["pulumi"].__path__[0]) / "runtime"
        )
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

    return language_pb2, language_pb2_grpc, plugin_pb2


class Children:
    """The programs that run now; each leads a process group, so that ending it ends what it started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[Any]] = set()
        self._lock = threading.Lock()

    def start(self, command: list[str], context: Any, **options: Any) -> subprocess.Popen[Any]:
        child = subprocess.Popen(command, start_new_session=True, **options)
        with self._lock:
            self._running.add(child)
        context.add_callback(lambda: self.end(child))
        return child

    def end(self, child: subprocess.Popen[Any]) -> None:
        with self._lock:
            self._running.discard(child)
        if child.poll() is None:
            try:
                os.killpg(child.pid, signal.SIGTERM)
            except ProcessLookupError:
                return

    def end_all(self) -> None:
        with self._lock:
            running = list(self._running)
        for child in running:
            self.end(child)


def interpreter(info: Any) -> str:
    """The Python of the project: its `virtualenv` option, relative to the project's folder, else this host's own."""
    named = dict(info.options).get("virtualenv") if info.HasField("options") else None
    if named:
        candidate = Path(info.root_directory) / str(named) / "bin" / "python"
        if candidate.exists():
            return str(candidate)
    return sys.executable


def run_command(request: Any) -> list[str]:
    """The command that runs a program for one update or preview."""
    options = {
        "monitor": request.monitor_address,
        "engine": sys.argv[-1],
        "project": request.project,
        "stack": request.stack,
        "organization": request.organization,
        "root_directory": request.info.root_directory,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": str(request.parallel),
    }
    program = str(Path(request.info.program_directory) / request.info.entry_point)
    flags = [part for name, value in options.items() if value for part in (f"--{name}", value)]
    return [interpreter(request.info), "-u", __file__, RUN_PROGRAM, *flags, program, *request.args]


def plugin_command(request: Any) -> list[str]:
    """The command that runs a plugin written in Python; a policy pack runs under the SDK's policy server."""
    python = interpreter(request.info)
    folder = str(Path(request.info.program_directory) / request.info.entry_point)
    if request.kind == "analyzer":
        return [python, "-u", "-m", "pulumi.policy", *request.args, folder]
    return [python, "-u", folder, *request.args]


def stream(child: subprocess.Popen[bytes], answer: Callable[..., Any]) -> Iterator[Any]:
    """Both outputs of a child as they come, then its exit code."""
    parts: queue.Queue[tuple[str, bytes]] = queue.Queue()

    def pump(name: str, pipe: IO[bytes]) -> None:
        while part := os.read(pipe.fileno(), 65536):
            parts.put((name, part))
        parts.put((name, b""))

    for name, pipe in (("stdout", child.stdout), ("stderr", child.stderr)):
        assert pipe is not None
        threading.Thread(target=pump, args=(name, pipe), daemon=True).start()
    still_open = 2
    while still_open:
        name, part = parts.get()
        if part:
            yield answer(**{name: part})
        else:
            still_open -= 1
    yield answer(exitcode=child.wait())


def servicer(language: Any, language_grpc: Any, plugin: Any, children: Children) -> Any:
    """The language host's service. Made in a function, since its base class comes with the lazily loaded stubs."""
    import grpc

    class LanguageHost(language_grpc.LanguageRuntimeServicer):  # type: ignore[misc]
        def Handshake(self, request: Any, context: Any) -> Any:
            return language.LanguageHandshakeResponse()

        def GetPluginInfo(self, request: Any, context: Any) -> Any:
            return plugin.PluginInfo(version=importlib.metadata.version("pulumi"))

        def GetRequiredPackages(self, request: Any, context: Any) -> Any:
            # The program's explicit providers name their plugins and versions; nothing is fetched on a guess.
            return language.GetRequiredPackagesResponse()

        def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
            return language.GetRequiredPluginsResponse()

        def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
            return language.RuntimeOptionsResponse()

        def About(self, request: Any, context: Any) -> Any:
            return language.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

        def GetProgramDependencies(self, request: Any, context: Any) -> Any:
            installed = [(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()]
            named = [language.DependencyInfo(name=n, version=v) for n, v in sorted(installed) if n.startswith("pulumi")]
            return language.GetProgramDependenciesResponse(dependencies=named)

        def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
            yield language.InstallDependenciesResponse(stdout=b"The project's own set-up installs its dependencies.\n")

        def Cancel(self, request: Any, context: Any) -> Any:
            from google.protobuf import empty_pb2

            children.end_all()
            return empty_pb2.Empty()

        def Run(self, request: Any, context: Any) -> Any:
            environment = {
                **os.environ,
                "PULUMI_CONFIG": json.dumps(dict(request.config)),
                "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
            }
            child = children.start(run_command(request), context, cwd=request.pwd or None, env=environment)
            code = child.wait()
            if code == 0:
                return language.RunResponse()
            if code == EXIT_AFTER_MESSAGE:
                return language.RunResponse(bail=True)
            return language.RunResponse(error=f"the program exited with code {code}")

        def GenerateProgram(self, request: Any, context: Any) -> Any:
            command = [str(Path(__file__).with_name(GENERATOR))]
            try:
                done = subprocess.run(command, input=request.SerializeToString(), capture_output=True, check=True)
            except FileNotFoundError:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{command[0]} is missing: `make up` builds it")
            except subprocess.CalledProcessError as error:
                context.abort(grpc.StatusCode.INTERNAL, f"{GENERATOR}: {error.stderr.decode().strip()}")
            return language.GenerateProgramResponse.FromString(done.stdout)

        def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
            environment = {**os.environ, **dict(pair.split("=", 1) for pair in request.env)}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            child = children.start(plugin_command(request), context, cwd=request.pwd or None, env=environment, **pipes)
            yield from stream(child, language.RunPluginResponse)

    return LanguageHost()


def serve() -> None:
    """Answer the engine until it closes our standard input or sends SIGINT."""
    import grpc

    language, language_grpc, plugin = load_protocol()
    children = Children()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=UNLIMITED_MESSAGES)
    language_grpc.add_LanguageRuntimeServicer_to_server(servicer(language, language_grpc, plugin, children), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=wait_for_end_of_input, args=(ended,), daemon=True).start()
    print(port, flush=True)
    # A timeout lets the main thread run signal handlers, which an endless wait in C code would not.
    while not ended.wait(0.2):
        pass
    children.end_all()
    server.stop(grace=1).wait()


def wait_for_end_of_input(ended: threading.Event) -> None:
    """The engine holds our standard input; its end means that the engine is gone, killed perhaps."""
    while os.read(0, 4096):
        pass
    ended.set()


def run_program(arguments: list[str]) -> int:
    """Run a Pulumi program against the engine; the exit code tells the host who explained a failure."""
    import pulumi
    import pulumi.runtime

    parser = argparse.ArgumentParser(prog=HOST_NAME)
    for name in ("monitor", "engine", "project", "stack", "organization", "root_directory", "pwd", "dry_run"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("program")
    parser.add_argument("rest", nargs="*")
    given = vars(parser.parse_args(arguments))
    program, rest, pwd = given.pop("program"), given.pop("rest"), given.pop("pwd")
    given["dry_run"] = given["dry_run"] == "true"
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(pulumi.runtime.Settings(**given))
    sys.argv = [program, *rest]
    if pwd:
        os.chdir(pwd)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a failed program leaves futures that nobody awaits
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    threads = futures.ThreadPoolExecutor(max_workers=max(given["parallel"], 1) * 4)
    loop.set_default_executor(threads)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: start(program)))
        return 0
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return EXIT_AFTER_MESSAGE
    except Exception:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{own_traceback()}")
        return EXIT_AFTER_MESSAGE
    finally:
        threads.shutdown(wait=True)
        loop.close()


def start(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


def own_traceback() -> str:
    """The traceback from the program on: what runs it is not the user's concern."""
    error = sys.exc_info()[1]
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    runner = [i for i, frame in enumerate(frames) if "runpy" in frame.filename]
    keep = len(frames) - (runner[-1] + 1 if runner else 0)
    return "".join(traceback.format_exception(error, limit=-keep)) if keep else repr(error)


def main() -> int:
    if sys.argv[1:2] == [RUN_PROGRAM]:
        return run_program(sys.argv[2:])
    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
