"""Certificates: those that balancers present (uploaded), and the self-signed ones of managed instances."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.certificates import CertificateSpec


class Certificates(Kind[CertificateSpec]):
    name = "Certificate"
    prefix = "cert"
    spec_type = CertificateSpec
    not_found = "NotFound.Certificate"

    def physical(self, spec: CertificateSpec) -> str:
        return spec.name

    def check(self, record: Record[CertificateSpec]) -> None:
        spec = record.spec
        try:
            leaf = x509.load_pem_x509_certificate(spec.certificate.encode())
            key = serialization.load_pem_private_key(spec.private_key.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise CloudError("IllegalCertificate", f"certificate {spec.name}: no PEM certificate and key") from error
        encoding = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        if leaf.public_key().public_bytes(*encoding) != key.public_key().public_bytes(*encoding):
            raise CloudError("CertificateAndKeyMismatch", f"certificate {spec.name}: the key belongs to another")
        if leaf.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise CloudError("CertificateExpired", f"certificate {spec.name} expired on {leaf.not_valid_after_utc:%F}")

    def realise(self, record: Record[CertificateSpec]) -> Mapping[str, Any]:
        leaf = x509.load_pem_x509_certificate(record.spec.certificate.encode())
        return {"fingerprint": leaf.fingerprint(hashes.SHA256()).hex(), "expires": leaf.not_valid_after_utc.isoformat()}

    def after_change(self, record: Record[CertificateSpec]) -> None:
        self.context.renew_balancers()


def self_signed(address: str, *dns_names: str) -> tuple[str, str]:
    """A certificate and its key, PEM, for a managed instance's own address and names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, dns_names[0][:64])])
    names = [*map(x509.DNSName, dns_names), x509.IPAddress(ipaddress.ip_address(address))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
