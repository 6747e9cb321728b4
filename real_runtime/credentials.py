"""A throwaway certificate authority for one run, and a certificate for each of its nodes.

ECDSA on P-256, valid for a few days, the node's name as the only subject alternative name. Private keys are readable
by their owner alone. A peer is known by the SHA-256 of its certificate, which the address book pins: a certificate of
the same authority that is not the pinned one is not enough.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NODE_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
AUTHORITY_FILE: Final = "authority.crt"


class CredentialsError(Exception):
    """Credentials that are missing, unreadable or not usable."""


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey, days: float) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of several machines differ; an hour covers those that are set at all.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def fingerprint(certificate_der: bytes) -> str:
    """SHA-256 of a certificate in DER, as 64 hexadecimal digits."""
    return hashlib.sha256(certificate_der).hexdigest()


def create(directory: Path, nodes: Iterable[str], *, days: float = 7.0) -> dict[str, str]:
    """Write `authority.crt` and, for each node, `NODE.crt` and `NODE.key` into `directory`.

    Returns each node's fingerprint. The authority's own key is never written: nobody can sign a further node.
    Raises `CredentialsError` for a name that no certificate can carry, or if there are credentials already.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_public = authority_key.public_key()
    authority = (
        _builder("aivsim run", "aivsim run", authority_public, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    prints: dict[str, str] = {}
    for node in nodes:
        if not NODE_NAME.fullmatch(node):
            raise CredentialsError(f"a node's name has letters, digits and hyphens, at most 63: {node!r} has others")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(node, "aivsim run", key.public_key(), days)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_public), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        try:
            _write_key(directory / f"{node}.key", key)
        except FileExistsError:
            raise CredentialsError(
                f"{directory / node}.key exists already; give each run a directory of its own"
            ) from None
        (directory / f"{node}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        prints[node] = fingerprint(certificate.public_bytes(serialization.Encoding.DER))
    (directory / AUTHORITY_FILE).write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    return prints


def own_fingerprint(directory: Path, node: str) -> str:
    """The fingerprint of a node's own certificate; raises `CredentialsError`."""
    path = directory / f"{node}.crt"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{path}: no certificate can be read ({error})") from None
    return fingerprint(certificate.public_bytes(serialization.Encoding.DER))


def contexts(directory: Path, node: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS 1.3 contexts of a node, (for dialling, for accepting); both demand a certificate of the run's authority.

    Raises `CredentialsError` if files are missing or do not fit together.
    """
    made = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(directory / AUTHORITY_FILE)
            context.load_cert_chain(directory / f"{node}.crt", directory / f"{node}.key")
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(
                f"{directory}: no usable credentials of node {node!r} ({error}); "
                f"it takes {AUTHORITY_FILE}, {node}.crt and {node}.key"
            ) from None
        made.append(context)
    dialling, accepting = made
    # Connections last as long as the run; nothing is ever resumed.
    accepting.num_tickets = 0
    return dialling, accepting
