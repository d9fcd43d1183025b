"""Certificates for TLS faults, made once a session in a temporary directory by `cryptography`.

A test CA signs a good certificate for loopback, one for another host and one that has expired;
one more is signed by itself only.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Certificate: TypeAlias = Literal["valid", "wrong-host", "expired", "self-signed"]

LOOPBACK: tuple[str, ...] = ("localhost", "*.localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")
ELSEWHERE: tuple[str, ...] = ("elsewhere.example",)
DAY = timedelta(days=1)


class Authority:
    """A test CA and what it signed, as PEM files in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("cumulo test CA")
        self.ca_file = directory / "ca.pem"
        self._certificate = self._sign(self._key, self._name, (), authority=True)
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        for kind in get_args(Certificate):
            self._write(kind)

    def files(self, kind: Certificate) -> tuple[Path, Path]:
        """The certificate's and its key's PEM files."""
        return self.directory / f"{kind}.pem", self.directory / f"{kind}.key"

    def context(self, kind: Certificate) -> ssl.SSLContext:
        """A server context with that certificate; `ssl.SSLContext` loads files only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files(kind))
        return context

    def _write(self, kind: Certificate) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names = ELSEWHERE if kind == "wrong-host" else LOOPBACK
        certificate = self._sign(
            key, _name(names[0]), names, expired=kind == "expired", own_issuer=kind == "self-signed"
        )
        chain, secret = self.files(kind)
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem, format_ = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        secret.write_bytes(key.private_bytes(pem, format_, serialization.NoEncryption()))

    def _sign(
        self,
        key: ec.EllipticCurvePrivateKey,
        subject: x509.Name,
        names: tuple[str, ...],
        *,
        authority: bool = False,
        expired: bool = False,
        own_issuer: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        issuer, signer = (subject, key) if own_issuer else (self._name, self._key)
        builder = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now - DAY if expired else now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), False)
        return builder.sign(signer, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@cache
def authority(directory: Path) -> Authority:
    """The one CA of this directory."""
    directory.mkdir(parents=True, exist_ok=True)
    return Authority(directory)
