"""A rendering in which the cloud has made everything: ids and addresses instead of unknowns, secrets readable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import resource_pb2

from infra.render import Monitor


class Finished(Monitor):
    preview = False
    made: Mapping[str, dict[str, Any]] = {
        "alicloud:vpc/natGateway:NatGateway": {"snatTableIds": "stb-1"},
        "alicloud:ecs/eipAddress:EipAddress": {"ipAddress": "47.0.0.1"},
        "alicloud:ecs/instance:Instance": {"primaryIpAddress": "10.77.0.10"},
        "alicloud:rds/instance:Instance": {"connectionString": "pgm.example", "port": "5432"},
        "alicloud:kvstore/instance:Instance": {"connectionDomain": "r.example"},
        "alicloud:kms/key:Key": {"arn": "acs:kms:cn-hangzhou:1:key/k"},
        "alicloud:ram/accessKey:AccessKey": {"secret": "the-key-itself"},
        "alicloud:alb/loadBalancer:LoadBalancer": {
            "dnsName": "alb.example",
            "zoneMappings": [
                {"zoneId": "a", "vswitchId": "v", "loadBalancerAddresses": [{"intranetAddress": "10.77.192.4"}]}
            ],
        },
    }

    def answer(self, urn: str, request: Any) -> Any:
        state = {**json_format.MessageToDict(request.object), **self.made.get(request.type, {})}
        answered = struct_pb2.Struct()
        json_format.ParseDict(state, answered)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=f"id-of-{request.name}", object=answered)

    def RegisterResourceOutputs(self, request: Any) -> Any:
        finished = super().RegisterResourceOutputs(request)
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            outputs = json_format.MessageToDict(request.outputs)
            self._rendering.outputs = {name: opened(value) for name, value in outputs.items()}
        return finished


def opened(value: Any) -> Any:
    """A secret's value, as `pulumi stack output --show-secrets` prints it."""
    return value["value"] if isinstance(value, dict) and "4dabf18193072939515e22adb298388d" in value else value
