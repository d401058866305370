"""Public names."""

from __future__ import annotations

from infra.local.plugin.binding import KeptClass
from infra.local.plugin.realised import RealClass
from infra.local.plugin.rules import ClassRules, number, one_of, text

DOMAIN = "alicloud:dns/alidnsDomain:AlidnsDomain"
RECORD = "alicloud:dns/alidnsRecord:AlidnsRecord"
OLD_DOMAIN = "alicloud:dns/dnsDomain:DnsDomain"
OLD_RECORD = "alicloud:dns/record:Record"
TYPES = ("A", "NS", "MX", "TXT", "CNAME", "SRV", "AAAA", "CAA", "REDIRECT_URL", "FORWORD_URL", "FORWARD_URL")


RULES = {
    DOMAIN: ClassRules(
        DOMAIN,
        rules=(
            text(
                "domainName",
                "[P] alidns_domain",
                pattern=r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]",
                longest=253,
                says="a domain name of two labels at least",
            ),
        ),
        replace=frozenset({"domainName"}),
        replace_source="[S] resource_alicloud_alidns_domain.go",
    ),
    RECORD: ClassRules(
        RECORD,
        rules=(
            one_of("type", "[P] alidns_record", *TYPES),
            one_of("status", "[P] alidns_record", "ENABLE", "DISABLE"),
            number("ttl", "[P] alidns_record", 1, 86400),
            number("priority", "[P] alidns_record", 1, 10),
            text(
                "rr",
                "[P] alidns_record",
                pattern=r"@|(\*\.?)?[A-Za-z0-9_.-]*",
                longest=253,
                says="@, or a host part of letters, digits, hyphens and dots; * alone or as its first label",
            ),
            text("remark", "[P] alidns_record", longest=50, says="up to 50 characters"),
        ),
        replace=frozenset({"domainName"}),
        replace_source="[S] resource_alicloud_alidns_record.go",
        refers={"domainName": DOMAIN},
    ),
    OLD_DOMAIN: ClassRules(OLD_DOMAIN, refused="is retired: use dns.AlidnsDomain [D]"),
    OLD_RECORD: ClassRules(OLD_RECORD, refused="is retired: use dns.AlidnsRecord [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    DOMAIN: RealClass(
        "PublicDomain",
        {"domainName": "domain_name", "remark": "remark", "tags": "tags"},
        outputs=lambda record: {"domainId": record.id, "punyCode": record.spec.domain_name},
        id_of=lambda record: str(record.spec.domain_name),
    ),
    RECORD: RealClass(
        "PublicRecord",
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
