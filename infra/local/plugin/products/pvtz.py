"""Names inside the network."""

from __future__ import annotations

from infra.local.cloud.specs.zones import DOMAIN, PrivateZoneSpec, ZoneAttachmentSpec, ZoneRecordSpec
from infra.local.plugin.rules import ClassRules, Failure, exactly_one, form, items, needs, number, one_of, whole
from infra.local.plugin.shapes import AnyRecord, KeptClass, RealClass, Resolve
from infra.local.plugin.values import Values

ZONE = "alicloud:pvtz/zone:Zone"
ATTACHMENT = "alicloud:pvtz/zoneAttachment:ZoneAttachment"
RECORD = "alicloud:pvtz/zoneRecord:ZoneRecord"
TYPES = ("A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TXT")


def _attached(inputs: Values, resolve: Resolve) -> Values:
    return {"vpc_ids": tuple(inputs.get("vpcIds") or [vpc["vpcId"] for vpc in inputs.get("vpcs", [])])}


def _attached_seen(record: AnyRecord, declared: Values) -> Values:
    """Networks that somebody attached or detached by hand; the regions stay as declared."""
    regions = {vpc["vpcId"]: vpc for vpc in declared.get("vpcs", [])}
    return {"vpcs": [regions.get(id, {"vpcId": id}) for id in record.spec.vpc_ids]} if "vpcIds" not in declared else {}


def _named(inputs: Values) -> Failure | None:
    if inputs.get("zoneName") is None and inputs.get("name") is None:
        return Failure("zoneName", "is required: a zone needs its name")
    return None


RULES = {
    ZONE: ClassRules(
        ZONE,
        rules=(
            whole("zoneName required", "[P] pvtz_zone", _named),
            form("zoneName", "[P] pvtz_zone", DOMAIN),
            one_of("proxyPattern", "[P] pvtz_zone", "ZONE", "RECORD"),
            one_of("dnsGroup", "[P] pvtz_zone", "NORMAL_ZONE", "FAST_ZONE"),
        ),
        replace=frozenset({"name", "resourceGroupId"}),
        replace_source="[S] resource_alicloud_pvtz_zone.go",
    ),
    ATTACHMENT: ClassRules(
        ATTACHMENT,
        rules=(exactly_one("[P] pvtz_zone_attachment", "vpcs", "vpcIds"), items("vpcs", "[A]", 1, 100)),
        replace_source="[S] resource_alicloud_pvtz_zone_attachment.go",
    ),
    RECORD: ClassRules(
        RECORD,
        rules=(
            one_of("type", "[P] pvtz_zone_record", *TYPES),
            one_of("status", "[P] pvtz_zone_record", "ENABLE", "DISABLE"),
            number("ttl", "[P] pvtz_zone_record", 5, 86400),
            number("priority", "[P] pvtz_zone_record", 1, 99),
            needs(
                "[P] pvtz_zone_record",
                "rr",
                when=lambda inputs: inputs.get("resourceRecord") is None,
                because="for a record of a zone",
            ),
        ),
        replace=frozenset({"rr", "resourceRecord"}),
        replace_source="[S] resource_alicloud_pvtz_zone_record.go",
    ),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    ZONE: RealClass(
        PrivateZoneSpec,
        {"zoneName": "zone_name", "remark": "remark", "proxyPattern": "proxy_pattern", "tags": "tags"},
        outputs=lambda record: {"isPtr": False},
    ),
    ATTACHMENT: RealClass(
        ZoneAttachmentSpec,
        {"zoneId": "zone_id"},
        more=_attached,
        seen=_attached_seen,
        id_of=lambda record: str(record.spec.zone_id),
    ),
    RECORD: RealClass(
        ZoneRecordSpec,
        {
            "zoneId": "zone_id",
            "rr": "rr",
            "type": "type",
            "value": "value",
            "ttl": "ttl",
            "priority": "priority",
            "remark": "remark",
        },
        outputs=lambda record: {"recordId": record.id, "status": "ENABLE"},
        id_of=lambda record: f"{record.id}:{record.spec.zone_id}",
        in_place=frozenset({"type"}),
    ),
}
