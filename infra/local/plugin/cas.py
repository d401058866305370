"""Certificates of the certificate service."""

from __future__ import annotations

from infra.local.plugin.binding import Identity, KeptClass
from infra.local.plugin.realised import RealClass
from infra.local.plugin.rules import ClassRules, on, tags, text
from infra.local.plugin.values import Values

CERTIFICATE = "alicloud:cas/serviceCertificate:ServiceCertificate"
OLD = "alicloud:cas/certificate:Certificate"
PAGE = "[P] ssl_certificates_service_certificate"


def _pem(marker: str):  # type: ignore[no-untyped-def]
    def verdict(value: object) -> str | None:
        return None if f"-----BEGIN {marker}" in str(value) or marker in str(value) else f"holds no {marker} in PEM"

    return verdict


def _certificate(id: str, inputs: Values, identity: Identity) -> Values:
    return {}


RULES = {
    CERTIFICATE: ClassRules(
        CERTIFICATE,
        rules=(
            text("certificateName", PAGE, shortest=1, longest=64, says="1 to 64 characters"),
            on("cert", "a PEM chain", PAGE, _pem("CERTIFICATE")),
            on("key", "a PEM private key", PAGE, _pem("PRIVATE KEY")),
            tags(PAGE),
        ),
        replace=frozenset({"cert", "certificateName", "key", "name"}),
        replace_source="[S] resource_alicloud_ssl_certificates_service_certificate.go",
        secrets=frozenset({"key"}),
    ),
    OLD: ClassRules(OLD, refused="is retired: use cas.ServiceCertificate [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    CERTIFICATE: KeptClass(make_id=lambda identity, _: identity.number(8), compute=_certificate)
}
