"""Certificates of the certificate service."""

from __future__ import annotations

import re
from collections.abc import Callable

from infra.local.cloud.specs.certificates import CertificateSpec
from infra.local.plugin.rules import ClassRules, on, tags, text
from infra.local.plugin.shapes import AnyRecord, KeptClass, RealClass

CERTIFICATE = "alicloud:cas/serviceCertificate:ServiceCertificate"
OLD = "alicloud:cas/certificate:Certificate"
PAGE = "[P] ssl_certificates_service_certificate"


def _pem(marker: str) -> Callable[[object], str | None]:
    def verdict(value: object) -> str | None:
        return None if re.search(f"-----BEGIN ([A-Z ]+ )?{marker}-----", str(value)) else f"holds no {marker} in PEM"

    return verdict


def number_of(record: AnyRecord) -> str:
    """Certificates are numbered; balancers name one by its number and the region of the certificate service."""
    return str(10_000_000 + int(record.id.rpartition("-")[2], 16) % 90_000_000)


RULES = {
    CERTIFICATE: ClassRules(
        CERTIFICATE,
        rules=(
            text("certificateName", PAGE, shortest=1, longest=64, says="1 to 64 characters"),
            on("cert", "a PEM chain", PAGE, _pem("CERTIFICATE")),
            on("key", "a PEM private key", PAGE, _pem("PRIVATE KEY")),
            tags(PAGE),
        ),
        replace=frozenset({"cert", "key", "name"}),
        replace_source="[S] resource_alicloud_ssl_certificates_service_certificate.go",
        secrets=frozenset({"key"}),
    ),
    OLD: ClassRules(OLD, refused="is retired: use cas.ServiceCertificate [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    CERTIFICATE: RealClass(
        CertificateSpec,
        {"certificateName": "name", "cert": "certificate", "key": "private_key", "tags": "tags"},
        id_of=number_of,
    )
}
