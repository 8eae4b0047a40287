"""docs/fleet.md: its commands do what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from veil_fleet.broker import BrokerSettings, drop_in

DOCUMENT = Path(__file__).parents[2] / "docs" / "fleet.md"
FOLDER = "/var/lib/veil-fleet"


def commands() -> list[list[str]]:
    """Lines of shell blocks that begin with `veil-fleet` or `openssl`, in order."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.S):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] in {"veil-fleet", "openssl"}:
                found.append(words)
    return found


def test_the_commands_of_the_page_work_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from veil_fleet.cli import main

    folder = tmp_path / "fleet"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEIL_FLEET_CONFIG", str(folder / "fleet.toml"))
    run = commands()
    assert len(run) >= 9
    for words in run:
        words = [word.replace(FOLDER, str(folder)) for word in words]  # noqa: PLW2901
        if words[0] == "openssl":
            try:
                subprocess.run(words, check=True, capture_output=True)
            except FileNotFoundError:
                pytest.skip("openssl is not installed")
            continue
        monkeypatch.setattr(sys, "argv", words)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        assert code == 0, (words, capsys.readouterr().err)
    assert sorted(one.name for one in (tmp_path / "cam-01").iterdir()) == [
        "ca.pem",
        "device.key",
        "device.pem",
        "fleet.toml",
    ]
    written = (folder / "broker" / "mosquitto.conf").read_text()
    assert "cafile /etc/mosquitto/veil/boxes-ca.pem" in written
    assert str(tmp_path) not in written
    assert "user cam-02\ntopic deny #" in (folder / "broker" / "acl-boxes").read_text()
    assert "cam-01" not in (folder / "broker" / "acl-boxes").read_text()


def test_the_drop_in_gives_a_file_to_every_connection(tmp_path: Path) -> None:
    text = drop_in(BrokerSettings(tmp_path, tmp_path, boxes=10_000))
    limit = re.search(r"^LimitNOFILE=(\d+)$", text, re.M)
    assert limit is not None
    assert int(limit.group(1)) > 10_000 + 128
    assert f"ExecStart=/usr/sbin/mosquitto -c {tmp_path}{os.sep}mosquitto.conf" in text
