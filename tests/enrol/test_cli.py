"""`veil-fleet` as people use it, up to a box that reads what it was given and connects with it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import create_engine, select

from fleet_house import Broker, Credentials
from mqtt_client import Client
from veil.audit.note import COSIGNATURE_V1, ED25519, SigningKey, VerifierKey
from veil.config_load import load_config
from veil_fleet.cli import main
from veil_fleet.store.tables import Device

Said = tuple[int, str, str]


class Fleet:
    """A fleet's folder, and the command line."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setenv("VEIL_FLEET_CONFIG", str(folder / "fleet.toml"))
        monkeypatch.setenv("COLUMNS", "200")

    def run(self, *arguments: str) -> Said:
        """Exit code, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["veil-fleet", *arguments])
        self._capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self._capsys.readouterr()
        return code, out, err

    def must(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert code == 0, err
        return out

    def device(self, name: str) -> Device:
        from sqlalchemy.orm import Session

        engine = create_engine(f"sqlite:///{self.folder / 'fleet.db'}")
        with Session(engine) as session:
            found = session.execute(select(Device).where(Device.name == name)).scalar_one()
            session.expunge_all()
        engine.dispose()
        return found


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fleet:
    made = Fleet(tmp_path / "fleet", monkeypatch, capsys)
    made.must("init", str(made.folder), "--host", "localhost", "--host", "127.0.0.1")
    return made


def test_an_enrolled_box_reads_its_configuration_as_it_was_written(fleet: Fleet, tmp_path: Path) -> None:
    fleet.must("enroll", "cam-01", "--site", 'Süd "Tor" 😀', "--out", str(tmp_path / "cam-01"))
    text = (tmp_path / "cam-01" / "fleet.toml").read_text()
    path = tmp_path / "veil.toml"
    path.write_text(text)
    config = load_config(path, {})
    assert config.box.name == "cam-01"
    assert config.box.site == 'Süd "Tor" 😀'
    assert (config.fleet.host, config.fleet.port) == ("localhost", 8883)
    (witness,) = (VerifierKey.parse(key) for key in config.fleet.witness_keys)
    (command,) = (VerifierKey.parse(key) for key in config.fleet.command_keys)
    assert (witness.algorithm, command.algorithm) == (COSIGNATURE_V1, ED25519)
    assert stat.S_IMODE((tmp_path / "cam-01" / "device.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "cam-01").stat().st_mode) == 0o700


def test_an_enrolled_box_connects_to_a_broker_with_the_configuration_that_was_written(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fleet = Fleet(broker.ca.folder, monkeypatch, capsys)
    fleet.must("enroll", "cli-01", "--out", str(tmp_path / "box.tar"))
    assert stat.S_IMODE((tmp_path / "box.tar").stat().st_mode) == 0o600
    with tarfile.open(tmp_path / "box.tar") as archive:
        assert archive.getmember("device.key").mode == 0o600
        archive.extractall(tmp_path / "box", filter="data")
    box = tmp_path / "box"
    (tmp_path / "veil.toml").write_text((box / "fleet.toml").read_text())
    config = load_config(tmp_path / "veil.toml", {})
    assert config.fleet.port == broker.port
    shown = Credentials("cli-01", box / "ca.pem", box / "device.pem", box / "device.key")
    with Client(broker, shown, port=config.fleet.port) as client:
        assert client.publish("veil/cli-01/status") in {0, 16}


def test_a_box_that_made_its_own_key_gets_no_key_and_needs_none(fleet: Fleet, tmp_path: Path) -> None:
    request = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    request += ["-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "r"), "-subj", "/CN=cam-01"]
    try:
        subprocess.run(request, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    fleet.must("enroll", "cam-01", "--csr", str(tmp_path / "r"), "--out", str(tmp_path / "out"))
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["ca.pem", "device.pem", "fleet.toml"]
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


def test_a_box_is_in_the_database_from_enrolment_on_and_revoked_there_too(fleet: Fleet) -> None:
    key = SigningKey.generate("veil/cam-01").verifier
    fleet.must("enroll", "cam-01", "--site", "South gate", "--log-key", str(key))
    row = fleet.device("cam-01")
    assert (row.site, row.pinned_key, row.revoked_ms) == ("South gate", str(key), None)
    assert row.enrolled_ms is not None
    bundle = next((fleet.folder / "boxes").iterdir())
    certificate = x509.load_pem_x509_certificate((bundle / "device.pem").read_bytes())
    from cryptography.hazmat.primitives import hashes

    assert row.certificate == certificate.fingerprint(hashes.SHA256()).hex()
    fleet.must("revoke", "cam-01")
    assert fleet.device("cam-01").revoked_ms is not None
    fleet.must("enroll", "cam-01", "--renew")
    row = fleet.device("cam-01")
    assert (row.site, row.pinned_key, row.revoked_ms) == ("South gate", str(key), None)


def test_enrolling_twice_is_one_clear_error_and_changes_nothing(fleet: Fleet, tmp_path: Path) -> None:
    fleet.must("enroll", "cam-01")
    before = fleet.must("certificates")
    code, _, err = fleet.run("enroll", "cam-01", "--out", str(tmp_path / "again"))
    assert code == 2
    assert err.startswith("veil-fleet: 'cam-01' is enrolled already.")
    assert "--renew" in err
    assert not (tmp_path / "again").exists()
    assert fleet.must("certificates") == before


def test_names_that_cannot_be_a_boxs_are_refused(fleet: Fleet) -> None:
    for name in (
        *("", "A", "cam 1", "cam/1", "cam+1", "#", "+", "../x", "$SYS"),
        *("-a", "_a", "a" * 33, "ä", "a\n", "a\x00"),
        *("fleet-collector", "fleet-operator", "fleet-dashboard", "fleet-", "fleet-x", "broker"),
    ):
        code, _, err = fleet.run("enroll", "--", name)
        assert code == 2, name
        assert err.startswith("veil-fleet: ")
    assert not (fleet.folder / "boxes").exists()


def test_errors_are_one_message_and_leave_no_certificate(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    other = str(SigningKey.generate("veil/cam-02").verifier)
    before = fleet.must("certificates")
    for arguments, expected in (
        (["enroll", "cam-01", "--out", str(tmp_path / "there")], 2),
        (["enroll", "cam-01", "--csr", str(tmp_path / "missing")], 2),
        (["enroll", "cam-01", "--site", "a\nb"], 2),
        (["enroll", "cam-01", "--site", "x" * 65], 2),
        (["enroll", "cam-01", "--log-key", "nonsense"], 10),
        (["enroll", "cam-01", "--log-key", other], 2),
        (["enroll", "cam-01", "--renew"], 2),
        (["enroll", "cam-01", "--config", str(tmp_path / "none.toml")], 3),
        (["renew", "cam-01"], 2),
        (["renew", "fleet-collector", "--out", "x"], 2),
        (["revoke", "cam-01"], 2),
        (["broker-config", str(tmp_path)], 2),
        (["init", str(fleet.folder), "--host", "localhost"], 2),
        (["init", str(tmp_path / "new"), "--host", "a b"], 2),
        (["init", str(tmp_path / "new"), "--host", "https://broker"], 2),
        (["init", str(tmp_path / "new"), "--host", "b", "--port", "1", "--fleet-port", "1"], 2),
    ):
        code, out, err = fleet.run(*arguments)
        assert code == expected, (arguments, err)
        assert err.startswith("veil-fleet: ")
        assert "Traceback" not in out + err
    assert fleet.must("certificates") == before
    assert not (tmp_path / "new").exists()


def test_a_box_that_is_held_to_a_log_key_is_not_given_another(fleet: Fleet) -> None:
    first, second = (str(SigningKey.generate("veil/cam-01").verifier) for _ in range(2))
    fleet.must("enroll", "cam-01", "--log-key", first)
    before = fleet.must("certificates")
    code, _, err = fleet.run("enroll", "cam-01", "--renew", "--log-key", second)
    assert code == 2
    assert "another log key" in err
    assert fleet.device("cam-01").pinned_key == first
    assert fleet.must("certificates") == before


def test_a_database_that_is_away_stops_enrolment_before_a_certificate_is_made(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEIL_FLEET_DATABASE__URL", "postgresql://user:hunter2@127.0.0.1:9/none")
    before = (fleet.folder / "certificates.jsonl").read_bytes()
    code, _, err = fleet.run("enroll", "cam-01")
    assert code == 3
    assert "hunter2" not in err
    assert (fleet.folder / "certificates.jsonl").read_bytes() == before


def test_a_revocation_reaches_the_brokers_files_though_the_database_is_away(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.must("enroll", "cam-01")
    fleet.must("broker-config", str(fleet.folder))
    monkeypatch.setenv("VEIL_FLEET_DATABASE__URL", "postgresql://user@127.0.0.1:9/none")
    assert fleet.run("revoke", "cam-01")[0] == 3
    assert "user cam-01\ntopic deny #" in (fleet.folder / "broker" / "acl-boxes").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_stays_the_services(fleet: Fleet) -> None:
    nobody = 65534
    for path in (fleet.folder, *fleet.folder.iterdir()):
        os.chown(path, nobody, nobody)
    for kept in ("ca.key", "boxes-ca.key"):
        os.chown(fleet.folder / kept, 0, 0)
    fleet.must("enroll", "cam-01")
    fleet.must("renew", "fleet-collector")
    fleet.must("broker-config", str(fleet.folder))
    written = ("fleet.db", "fleet-collector.key", "fleet-collector.pem", "certificates.jsonl", "site.json")
    assert {(fleet.folder / name).stat().st_uid for name in written} == {nobody}
    assert (fleet.folder / "ca.key").stat().st_uid == 0


def test_certificates_that_end_soon_are_told_with_an_exit_code(fleet: Fleet) -> None:
    fleet.must("enroll", "cam-01")
    assert fleet.run("certificates", "--within", "30")[0] == 0
    code, out, _ = fleet.run("certificates", "--within", "900")
    assert code == 1
    assert "cam-01" in out
    fleet.must("revoke", "cam-01")
    assert "cam-01" not in fleet.run("certificates", "--within", "900")[1]


def test_everything_works_without_a_readable_configuration_of_the_machine(tmp_path: Path) -> None:
    """As a process of its own, from an empty environment."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "veil_fleet.cli"]
    made = subprocess.run(
        [*command, "init", str(tmp_path / "f"), "--host", "::1"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "VEIL_FLEET_CONFIG=" in made.stdout
