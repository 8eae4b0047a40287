"""The units: systemd accepts them, they keep raw pixels in, and what they start exists."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
SERVICES = ("veil-camera@.service", "veil-rtsp.service", "veil-agent.service")


def settings(name: str) -> dict[str, str]:
    """`[Service]` of a unit; where a key comes several times, the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / name)
    return dict(parser["Service"])


def installed(folder: Path) -> list[str]:
    """The units as they would be installed, with programs that exist here; the template as camera `front`."""
    for name in (*SERVICES, "veil.target"):
        text = re.sub(r"/opt/veil/bin/\w+", "/bin/true", (UNITS / name).read_text())
        (folder / name).write_text(text)
    return [str(folder / name.replace("@", "@front")) for name in (*SERVICES, "veil.target")]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_systemd_accepts_the_units_without_a_word(tmp_path: Path) -> None:
    result = analyze("verify", "--man=no", *installed(tmp_path))
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) not in result.stderr


def test_a_wrong_unit_would_be_seen(tmp_path: Path) -> None:
    units = installed(tmp_path)
    unit = tmp_path / "veil-rtsp.service"
    unit.write_text(unit.read_text() + "WatchdogSecs=10\n")
    assert "WatchdogSecs" in analyze("verify", "--man=no", *units).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_are_locked_in(name: str, tmp_path: Path) -> None:
    if "--offline" not in analyze("--help").stdout:
        pytest.skip("this systemd-analyze judges running units only")
    unit = installed(tmp_path)[SERVICES.index(name)]
    said = analyze("security", "--offline=yes", unit).stdout
    exposure = re.search(r"Overall exposure level.*: ([0-9.]+)", said)
    assert exposure, said
    assert float(exposure[1]) < 2


@pytest.mark.parametrize("name", SERVICES)
def test_no_pixel_outlives_a_service(name: str) -> None:
    service = settings(name)
    assert service["LimitCORE"] == "0"
    assert service["MemorySwapMax"] == "0"
    assert service["PrivateTmp"] == "yes"
    # SIGABRT, the default, would ask for a core.
    assert service["WatchdogSignal"] == "SIGKILL"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_comes_back_for_ever(name: str) -> None:
    service = settings(name)
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert float(service["RestartSec"]) <= 1
    assert float(service["WatchdogSec"]) <= 10
    assert "StartLimitIntervalSec=0" in (UNITS / name).read_text()


def test_the_server_of_streams_cannot_see_recordings_or_secrets() -> None:
    hidden = settings("veil-rtsp.service")["InaccessiblePaths"]
    assert "/var/lib/veil" in hidden
    assert "/etc/veil/secrets" in hidden


def test_every_user_and_folder_of_the_units_is_made() -> None:
    users = (UNITS / "veil.sysusers.conf").read_text()
    folders = (UNITS / "veil.tmpfiles.conf").read_text()
    for name in SERVICES:
        service = settings(name)
        assert re.search(rf"^u {service['User']} ", users, re.MULTILINE)
        assert re.search(rf"^m {service['User']} {service['Group']}$", users, re.MULTILINE)
        for folder in service["ReadWritePaths"].split():
            assert re.search(rf"^d {folder} ", folders, re.MULTILINE)


def test_systemd_accepts_users_and_folders(tmp_path: Path) -> None:
    for program in ("systemd-sysusers", "systemd-tmpfiles"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("making users below another root needs root")
    (tmp_path / "etc").mkdir()
    for program, name in (("sysusers", "veil.sysusers.conf"), ("tmpfiles", "veil.tmpfiles.conf")):
        command = [f"systemd-{program}", f"--root={tmp_path}", str(UNITS / name)]
        if program == "tmpfiles":
            command.insert(1, "--create")
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "etc/veil/secrets").stat().st_mode & 0o777 == 0o700
    assert "veil-camera" in (tmp_path / "etc/passwd").read_text()


def test_the_rtsp_unit_becomes_a_server_that_says_ready(tmp_path: Path) -> None:
    probe = [
        "/usr/bin/python3",
        "-c",
        "import gi; gi.require_version('GstRtspServer', '1.0')",
    ]
    if not Path(probe[0]).exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("gst-rtsp-server is not installed for /usr/bin/python3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "veil.toml"
    config.write_text(
        f"[box]\nruntime_dir = '{tmp_path}'\n[rtsp]\naddress = '127.0.0.1'\nport = {port}\n", encoding="utf-8"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(30)
        server = subprocess.Popen(
            [sys.executable, "-m", "veil.rtsp_start", str(config)],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert notify.recv(100) == b"READY=1"
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
                assert client.recv(8) == b"RTSP/1.0"
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)


def test_the_rtsp_unit_refuses_a_wrong_configuration_with_its_code(tmp_path: Path) -> None:
    config = tmp_path / "veil.toml"
    config.write_text("[rtsp]\nprot = 1\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "veil.rtsp_start", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 3
    assert 'did you mean "port"?' in result.stderr
