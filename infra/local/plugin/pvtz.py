"""Names inside the network."""

from __future__ import annotations

from infra.local.plugin.binding import Identity, KeptClass
from infra.local.plugin.realised import RealClass
from infra.local.plugin.rules import ClassRules, Failure, exactly_one, items, needs, number, one_of, text, whole
from infra.local.plugin.values import Values

ZONE = "alicloud:pvtz/zone:Zone"
ATTACHMENT = "alicloud:pvtz/zoneAttachment:ZoneAttachment"
RECORD = "alicloud:pvtz/zoneRecord:ZoneRecord"
ZONES = 500
TYPES = ("A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TXT")


def _zone(id: str, inputs: Values, identity: Identity) -> Values:
    return {"isPtr": False, "recordCount": 0}


def _record(id: str, inputs: Values, identity: Identity) -> Values:
    return {"recordId": id.partition(":")[0]}


def _named(inputs: Values) -> Failure | None:
    if inputs.get("zoneName") is None and inputs.get("name") is None:
        return Failure("zoneName", "is required: a zone needs its name")
    return None


RULES = {
    ZONE: ClassRules(
        ZONE,
        rules=(
            whole("zoneName required", "[P] pvtz_zone", _named),
            text(
                "zoneName",
                "[P] pvtz_zone",
                pattern=r"([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?",
                longest=253,
                says="a domain name",
            ),
            one_of("proxyPattern", "[P] pvtz_zone", "ZONE", "RECORD"),
            one_of("dnsGroup", "[P] pvtz_zone", "NORMAL_ZONE", "FAST_ZONE"),
        ),
        replace=frozenset({"zoneName", "name", "resourceGroupId"}),
        replace_source="[S] resource_alicloud_pvtz_zone.go",
    ),
    ATTACHMENT: ClassRules(
        ATTACHMENT,
        rules=(exactly_one("[P] pvtz_zone_attachment", "vpcs", "vpcIds"), items("vpcs", "[A]", 1, 100)),
        replace=frozenset({"zoneId"}),
        replace_source="[S] resource_alicloud_pvtz_zone_attachment.go",
        refers={"zoneId": ZONE},
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
        replace=frozenset({"zoneId"}),
        replace_source="[S] resource_alicloud_pvtz_zone_record.go",
        refers={"zoneId": ZONE},
    ),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    ZONE: KeptClass(make_id=lambda identity, _: identity.fresh("", 32), compute=_zone, most=ZONES),
    ATTACHMENT: KeptClass(make_id=lambda _, inputs: str(inputs["zoneId"])),
    RECORD: KeptClass(make_id=lambda identity, i: f"{identity.number(10)}:{i['zoneId']}", compute=_record),
}
