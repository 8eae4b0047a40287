"""Certificates: small authorities of our own, for the broker, for the fleet manager and for boxes.

Everything is EC P-256: certificates of a box are made in a millisecond and read by any TLS library.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from veil.errors import UsageError

AUTHORITY_DAYS = 7300
LEAF_DAYS = 825
SKEW = timedelta(days=1)
"""Certificates begin this long ago: a box whose clock is behind can use its own at once."""

MAX_REQUEST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate.

    Attributes:
        pem: the certificate.
        serial: lower-case hexadecimal.
        not_after: UTC.
        fingerprint: SHA-256 of the DER form, 64 hexadecimal digits.
    """

    pem: bytes
    serial: str
    not_after: datetime
    fingerprint: str

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        return cls(
            certificate.public_bytes(serialization.Encoding.PEM),
            f"{certificate.serial_number:x}",
            certificate.not_valid_after_utc,
            certificate.fingerprint(hashes.SHA256()).hex(),
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates. Its repr shows no secret."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str, now: datetime | None = None) -> Self:
        """A new one, self-signed, with `name` as its common name."""
        key = new_key()
        begin = now or datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public = key.public_key()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin - SKEW)
            .not_valid_after(begin + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Self:
        """Raises ValueError for what is no such pair."""
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("not an elliptic curve key")
        if key.public_key() != certificate.public_key():
            raise ValueError("the key is not the certificate's")
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The secret."""
        return key_pem(self._key)

    def issue_client(
        self, name: str, public: ec.EllipticCurvePublicKey, *, now: datetime | None = None
    ) -> Leaf:
        """A certificate that says who connects: common name `name`, nothing else."""
        return Leaf.of(self._sign(name, public, ExtendedKeyUsageOID.CLIENT_AUTH, (), now))

    def issue_server(
        self, hosts: Iterable[str], public: ec.EllipticCurvePublicKey, *, now: datetime | None = None
    ) -> Leaf:
        """A certificate of a broker that is reached as any of `hosts`: DNS names and addresses."""
        names = tuple(hosts)
        return Leaf.of(self._sign(names[0][:64], public, ExtendedKeyUsageOID.SERVER_AUTH, names, now))

    def revocations(self, revoked: Iterable[tuple[str, datetime]], *, now: datetime | None = None) -> bytes:
        """The list of revoked certificates (serial in hexadecimal, when), PEM.

        It holds as long as the authority: a broker that is given a list past its date refuses every client.
        """
        end = self.certificate.not_valid_after_utc
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update((now or datetime.now(UTC)) - SKEW)
            .next_update(end)
            .add_extension(_authority_identifier(self.certificate), critical=False)
        )
        for serial, when in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(when)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey,
        purpose: x509.ObjectIdentifier,
        hosts: tuple[str, ...],
        now: datetime | None,
    ) -> x509.Certificate:
        begin = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin - SKEW)
            .not_valid_after(begin + timedelta(days=LEAF_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_authority_identifier(self.certificate), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()!r})"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The secret, PKCS #8 without a passphrase: its file needs mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_request(pem: bytes, name: str) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate request (PKCS #10, PEM) that a box called `name` made.

    Whatever else the request asks for is not looked at. Raises UsageError.
    """
    hint = "Make one with: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes " + (
        f"-keyout device.key -out device.csr -subj /CN={name}"
    )
    if len(pem) > MAX_REQUEST_BYTES:
        raise UsageError(f"A certificate request has at most {MAX_REQUEST_BYTES} bytes.", hint=hint)
    try:
        request = x509.load_pem_x509_csr(pem)
        signed = request.is_signature_valid
        public = request.public_key()
        names = [part.value for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise UsageError("The file is no certificate request (PEM).", hint=hint) from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(
        public.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        raise UsageError("The request's key is not on the curve P-256 or P-384.", hint=hint)
    if not signed:
        raise UsageError("The request is not signed by its own key.", hint=hint)
    if names != [name]:
        raise UsageError(
            f"The request is for {', '.join(map(repr, names))[:200]}, not for {name!r}.", hint=hint
        )
    return public


def _key_usage(*uses: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{use: use in uses for use in every})


def _authority_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
