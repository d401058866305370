"""Networks: VPC, vSwitches, the way out, flow logs."""

from __future__ import annotations

from infra.local.cloud.specs.networks import SWITCH_MASKS, NetworkSpec, SwitchSpec
from infra.local.plugin.binding import derived
from infra.local.plugin.rules import ClassRules, Failure, cidr, exactly_one, one_of, tags, text, whole
from infra.local.plugin.shapes import KeptClass, RealClass
from infra.local.plugin.values import Values

NETWORK = "alicloud:vpc/network:Network"
SWITCH = "alicloud:vpc/switch:Switch"
NAT = "alicloud:vpc/natGateway:NatGateway"
SNAT = "alicloud:vpc/snatEntry:SnatEntry"
FLOW_LOG = "alicloud:vpc/flowLog:FlowLog"
PROJECT = "alicloud:log/project:Project"
EIP = "alicloud:ecs/eipAddress:EipAddress"
NAMED = r"(?!https?://).*"

RETIRED = {
    "alicloud:vpc/subnet:Subnet": "vpc.Switch",
    "alicloud:vpc/networkAclEntries:NetworkAclEntries": "vpc.NetworkAcl",
    "alicloud:vpc/networkAclAttachment:NetworkAclAttachment": "vpc.NetworkAcl",
    "alicloud:vpc/networkInterface:NetworkInterface": "ecs.EcsNetworkInterface",
    "alicloud:vpc/networkInterfaceAttachment:NetworkInterfaceAttachment": "ecs.EcsNetworkInterfaceAttachment",
}


def _nat(id: str, inputs: Values) -> Values:
    return {
        "snatTableIds": derived("stb-bp1", id),
        "forwardTableIds": derived("ftb-bp1", id),
        "status": "Available",
    }


def _nat_protected(inputs: Values) -> str | None:
    return "deletionProtection is on: turn it off, update, then delete" if inputs.get("deletionProtection") else None


def _snat(id: str, inputs: Values) -> Values:
    return {"snatEntryId": id.partition(":")[2], "status": "Available"}


def _flow_log(id: str, inputs: Values) -> Values:
    return {
        "flowLogId": id,
        "businessStatus": "Normal",
        "regionId": "cn-hangzhou",
        "createTime": "2026-01-01T00:00:00Z",
    }


def _pay(inputs: Values) -> Failure | None:
    if inputs.get("natType", "Enhanced") == "Enhanced" and inputs.get("vswitchId") is None:
        return Failure("vswitchId", "is required for an Enhanced gateway")
    return None


RULES: dict[str, ClassRules] = {
    NETWORK: ClassRules(
        NETWORK,
        rules=(
            cidr("cidrBlock", "[P] vpc", 8, 28),
            text("vpcName", "[P] vpc", pattern=NAMED, shortest=1, longest=128, says="1 to 128 characters, not a URL"),
            text("description", "[P] vpc", pattern=NAMED, longest=256, says="up to 256 characters, not a URL"),
            tags("[P] vpc"),
        ),
        replace=frozenset({"isDefault", "ipv4IpamPoolId"}),
        replace_source="[S] resource_alicloud_vpc_vpc.go",
    ),
    SWITCH: ClassRules(
        SWITCH,
        rules=(
            cidr("cidrBlock", "[P] vswitch", SWITCH_MASKS.low, SWITCH_MASKS.high),
            text(
                "vswitchName", "[P] vswitch", pattern=NAMED, shortest=1, longest=128, says="1 to 128 characters, no URL"
            ),
            exactly_one("[P] vswitch", "zoneId", "availabilityZone"),
            tags("[P] vswitch"),
        ),
        replace=frozenset({"availabilityZone", "isDefault"}),
        replace_source="[S] resource_alicloud_vpc_vswitch.go",
    ),
    NAT: ClassRules(
        NAT,
        rules=(
            one_of("natType", "[P] nat_gateway", "Enhanced"),
            one_of("networkType", "[P] nat_gateway", "internet", "intranet"),
            one_of("paymentType", "[P] nat_gateway", "PayAsYouGo", "Subscription"),
            one_of("internetChargeType", "[P] nat_gateway", "PayByLcu", "PayBySpec"),
            text(
                "natGatewayName", "[P] nat_gateway", pattern=NAMED, shortest=2, longest=128, says="2 to 128 characters"
            ),
            whole("vswitchId for an Enhanced gateway", "[P] nat_gateway", _pay),
            tags("[P] nat_gateway"),
        ),
        replace=frozenset({"vpcId", "networkType"}),
        replace_source="[S] resource_alicloud_nat_gateway.go",
        refers={"vpcId": NETWORK, "vswitchId": SWITCH},
    ),
    SNAT: ClassRules(
        SNAT,
        rules=(
            exactly_one("[P] snat_entry", "sourceCidr", "sourceVswitchId"),
            text("snatEntryName", "[P] snat_entry", pattern=NAMED, shortest=2, longest=128, says="2 to 128 characters"),
        ),
        replace=frozenset({"snatTableId", "sourceCidr", "sourceVswitchId"}),
        replace_source="[S] resource_alicloud_snat_entry.go",
        refers={"sourceVswitchId": SWITCH},
    ),
    FLOW_LOG: ClassRules(
        FLOW_LOG,
        rules=(
            one_of("resourceType", "[P] vpc_flow_log", "VPC", "VSwitch", "NetworkInterface"),
            one_of("trafficType", "[P] vpc_flow_log", "All", "Allow", "Drop"),
            one_of("status", "[P] vpc_flow_log", "Active", "Inactive"),
            text("flowLogName", "[P] vpc_flow_log", pattern=NAMED, shortest=1, longest=128, says="1 to 128 characters"),
        ),
        replace=frozenset({"resourceType", "resourceId", "trafficType", "projectName", "logStoreName"}),
        replace_source="[S] resource_alicloud_vpc_flow_log.go",
        refers={"projectName": PROJECT},
    ),
    **{old: ClassRules(old, refused=f"is retired: use {new} [D]") for old, new in RETIRED.items()},
}
CLASSES: dict[str, KeptClass | RealClass] = {
    NETWORK: RealClass(
        NetworkSpec,
        {"cidrBlock": "cidr", "vpcName": "name", "description": "description", "tags": "tags"},
        outputs=lambda record: {"status": "Available"},
        in_place=frozenset({"cidrBlock"}),
    ),
    SWITCH: RealClass(
        SwitchSpec,
        {
            "vpcId": "vpc_id",
            "cidrBlock": "cidr",
            "zoneId": "zone_id",
            "vswitchName": "name",
            "description": "description",
            "tags": "tags",
        },
        outputs=lambda record: {"status": "Available"},
    ),
    NAT: KeptClass(make_id=lambda creation, _: creation.fresh("ngw-bp1"), compute=_nat, protected=_nat_protected),
    SNAT: KeptClass(
        make_id=lambda creation, inputs: f"{inputs['snatTableId']}:{creation.fresh('snat-bp1')}", compute=_snat
    ),
    FLOW_LOG: KeptClass(make_id=lambda creation, _: creation.fresh("fl-bp1"), compute=_flow_log),
}
