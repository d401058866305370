"""Public names."""

from __future__ import annotations

from infra.local.cloud.specs.zones import HOST_RECORD, PUBLIC_DOMAIN, PublicDomainSpec, PublicRecordSpec
from infra.local.plugin.rules import ClassRules, form, number, one_of, text
from infra.local.plugin.shapes import KeptClass, RealClass

DOMAIN = "alicloud:dns/alidnsDomain:AlidnsDomain"
RECORD = "alicloud:dns/alidnsRecord:AlidnsRecord"
OLD_DOMAIN = "alicloud:dns/dnsDomain:DnsDomain"
OLD_RECORD = "alicloud:dns/record:Record"
TYPES = ("A", "NS", "MX", "TXT", "CNAME", "SRV", "AAAA", "CAA", "REDIRECT_URL", "FORWORD_URL", "FORWARD_URL")


RULES = {
    DOMAIN: ClassRules(
        DOMAIN,
        rules=(form("domainName", "[P] alidns_domain", PUBLIC_DOMAIN),),
        replace_source="[S] resource_alicloud_alidns_domain.go",
    ),
    RECORD: ClassRules(
        RECORD,
        rules=(
            one_of("type", "[P] alidns_record", *TYPES),
            one_of("status", "[P] alidns_record", "ENABLE", "DISABLE"),
            number("ttl", "[P] alidns_record", 1, 86400),
            number("priority", "[P] alidns_record", 1, 10),
            form("rr", "[P] alidns_record", HOST_RECORD),
            text("remark", "[P] alidns_record", longest=50, says="up to 50 characters"),
        ),
        replace_source="[S] resource_alicloud_alidns_record.go",
    ),
    OLD_DOMAIN: ClassRules(OLD_DOMAIN, refused="is retired: use dns.AlidnsDomain [D]"),
    OLD_RECORD: ClassRules(OLD_RECORD, refused="is retired: use dns.AlidnsRecord [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    DOMAIN: RealClass(
        PublicDomainSpec,
        {"domainName": "domain_name", "remark": "remark", "tags": "tags"},
        outputs=lambda record: {"domainId": record.id, "punyCode": record.spec.domain_name},
        id_of=lambda record: str(record.spec.domain_name),
    ),
    RECORD: RealClass(
        PublicRecordSpec,
        {
            "domainName": "domain_name",
            "rr": "rr",
            "type": "type",
            "value": "value",
            "ttl": "ttl",
            "priority": "priority",
            "status": "status",
            "remark": "remark",
        },
        outputs=lambda record: {"status": record.spec.status},
    ),
}
