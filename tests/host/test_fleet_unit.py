"""The unit of the fleet manager: systemd accepts it, it is locked in, and what it starts exists."""

from __future__ import annotations

import re
from pathlib import Path

from host.test_units import analyze
from veil_fleet.broker import BROKER
from veil_fleet.settings import DEFAULT_FOLDER, ENVIRONMENT_PATH

UNIT = Path(__file__).resolve().parents[2] / "fleet" / "systemd" / "veil-fleet.service"


def installed(folder: Path) -> str:
    path = folder / UNIT.name
    path.write_text(re.sub(r"/opt/veil/bin/\S+", "/bin/true", UNIT.read_text()))
    return str(path)


def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path) -> None:
    result = analyze("verify", "--man=no", installed(tmp_path))
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) not in result.stderr


def test_it_is_locked_in(tmp_path: Path) -> None:
    if "--offline" not in analyze("--help").stdout:
        return
    said = analyze("security", "--offline=yes", installed(tmp_path)).stdout
    exposure = re.search(r"Overall exposure level.*: ([0-9.]+)", said)
    assert exposure, said
    assert float(exposure[1]) < 2


def test_its_settings_are_where_init_writes_them_and_the_authorities_keys_are_out_of_its_reach() -> None:
    text = UNIT.read_text()
    assert f"Environment={ENVIRONMENT_PATH}={DEFAULT_FOLDER}/fleet.toml " in text
    for key in ("ca.key", "boxes-ca.key", f"{BROKER}.key"):
        assert f"-{DEFAULT_FOLDER}/{key}" in text
