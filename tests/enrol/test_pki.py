"""Certificates as any strict TLS library takes them, requests as boxes make them, and what was issued."""

from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from veil.audit.note import COSIGNATURE_V1, ED25519
from veil.errors import KeyFormatError, UsageError, VeilError
from veil_fleet.enrol import Enrolment, Site
from veil_fleet.keyfile import make_key, read_key
from veil_fleet.pki import LEAF_DAYS, read_request
from veil_fleet.registry import Registry

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@pytest.fixture
def fleet(tmp_path: Path) -> Enrolment:
    return Enrolment.create(tmp_path / "fleet", Site(("broker.example", "192.0.2.7", "2001:db8::7")))


def request_of(key: PrivateKey, *names: str, extra: x509.ExtensionType | None = None) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_private_keys_are_readable_by_their_owner_alone(fleet: Enrolment) -> None:
    keys = sorted(fleet.folder.glob("*.key"))
    assert len(keys) == 8
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE(fleet.folder.stat().st_mode) == 0o700


def test_a_boxs_certificate_says_its_name_and_that_it_is_a_client_and_nothing_more(fleet: Enrolment) -> None:
    enrolled = fleet.enrol("cam-01")
    certificate = x509.load_pem_x509_certificate(enrolled.certificate.pem)
    assert certificate.subject.rfc4514_string() == "CN=cam-01"
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    holds = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=LEAF_DAYS - 1) < holds <= timedelta(days=LEAF_DAYS)
    assert fleet.certificates()[-1].serial == f"{certificate.serial_number:x}"


def test_the_brokers_certificate_verifies_under_each_of_its_names(fleet: Enrolment) -> None:
    authority = x509.load_pem_x509_certificate((fleet.folder / "ca.pem").read_bytes())
    broker = x509.load_pem_x509_certificate((fleet.folder / "broker.pem").read_bytes())
    policy = PolicyBuilder().store(Store([authority]))
    policy.build_server_verifier(x509.DNSName("broker.example")).verify(broker, [])
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "2001:db8::7"]


@pytest.mark.parametrize(("leaf", "authority"), [("broker.pem", "ca.pem"), ("fleet-collector.pem", "ca.pem")])
def test_openssl_takes_the_certificates_by_its_strictest_rules(
    fleet: Enrolment, leaf: str, authority: str
) -> None:
    folder = fleet.folder
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(folder / authority), str(folder / leaf)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stderr


def test_a_request_gives_a_certificate_for_the_boxs_own_key_and_no_key(fleet: Enrolment) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = x509.BasicConstraints(ca=True, path_length=None)
    enrolled = fleet.enrol("cam-01", request_of(key, "cam-01", extra=wanted))
    certificate = x509.load_pem_x509_certificate(enrolled.certificate.pem)
    assert enrolled.key is None
    assert certificate.public_key() == key.public_key()
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("key", "names", "told"),
    [
        (ec.generate_private_key(ec.SECP256R1()), ("cam-02",), "not for 'cam-01'"),
        (ec.generate_private_key(ec.SECP256R1()), ("cam-01", "fleet-collector"), "not for 'cam-01'"),
        (ec.generate_private_key(ec.SECP256R1()), (), "not for 'cam-01'"),
        (rsa.generate_private_key(65537, 2048), ("cam-01",), "curve"),
        (ed25519.Ed25519PrivateKey.generate(), ("cam-01",), "curve"),
    ],
    ids=["another", "two names", "no name", "rsa", "ed25519"],
)
def test_a_request_for_another_name_or_of_another_kind_is_refused(
    key: PrivateKey, names: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        read_request(request_of(key, *names), "cam-01")


def test_a_request_that_somebody_changed_is_refused() -> None:
    good = x509.load_pem_x509_csr(request_of(ec.generate_private_key(ec.SECP256R1()), "cam-01"))
    der = bytearray(good.public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    import base64

    body = base64.encodebytes(bytes(der))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"
    for broken in (pem, b"", b"\xff" * 100, pem[:200], b"x" * 100_000):
        with pytest.raises(UsageError):
            read_request(broken, "cam-01")


def test_a_revoked_certificate_is_on_its_authoritys_list_which_holds_as_long_as_the_authority(
    fleet: Enrolment, tmp_path: Path
) -> None:
    from veil_fleet.broker import BrokerSettings

    enrolled = fleet.enrol("cam-01")
    fleet.enrol("cam-02")
    fleet.write_broker(BrokerSettings(tmp_path, tmp_path))
    fleet.revoke("cam-01")
    found = x509.load_pem_x509_crl((fleet.folder / "broker" / "boxes-crl.pem").read_bytes())
    authority = x509.load_pem_x509_certificate((fleet.folder / "boxes-ca.pem").read_bytes())
    assert [f"{one.serial_number:x}" for one in found] == [enrolled.certificate.serial]
    assert found.next_update_utc == authority.not_valid_after_utc
    public = authority.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert found.is_signature_valid(public)


def test_boxes_that_are_enrolled_at_once_are_all_registered_and_one_name_is_given_once(
    fleet: Enrolment,
) -> None:
    def enrol(number: int) -> bool:
        try:
            Enrolment.open(fleet.folder).enrol(f"cam-{number % 10}")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(enrol, range(40)))
    assert sum(done) == 10
    boxes = [one for one in fleet.certificates() if one.issuer == "boxes"]
    assert sorted(one.name for one in boxes) == [f"cam-{number}" for number in range(10)]
    assert len({one.serial for one in boxes}) == 10


def test_a_line_of_the_registry_that_was_cut_off_is_no_certificate(fleet: Enrolment) -> None:
    fleet.enrol("cam-01")
    path = fleet.folder / "certificates.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert "cam-01" not in {one.name for one in fleet.certificates()}
    fleet.enrol("cam-02")
    assert fleet.certificates()[-1].name == "cam-02"
    path.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(VeilError, match="line 1"):
        Registry(path).read()


def test_processes_that_make_a_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_key(tmp_path / "key", "veil-fleet", ED25519), range(32)))
    assert len({one.seed for one in made}) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_damaged_key_file_is_an_error_that_tells_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    text = b"PRIVATE+KEY+" if make_key(path, "veil-fleet", ED25519) else b""
    whole = path.read_bytes()
    assert whole.startswith(text)
    damaged = [whole[:-1], whole[:-5] + b"\n", whole + whole, b"", b"\xff\n", whole.replace(b"veil", b"evil")]
    for broken in damaged:
        path.write_bytes(broken)
        with pytest.raises(KeyFormatError) as caught:
            read_key(path, ED25519)
        assert whole[-30:-5].decode() not in str(caught.value)
    path.write_bytes(whole)
    with pytest.raises(KeyFormatError, match="something else"):
        read_key(path, COSIGNATURE_V1)
