"""`[fleet]` and `[agent]`: what cannot work, or would open the link, is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from veil.config import Config
from veil.config_load import load_config
from veil.errors import ConfigError

FILES = 'ca = "/c/ca.pem"\ncertificate = "/c/box.pem"\nkey = "/c/box.key"\n'
KEY = "fleet+0a1b2c3d+" + "A" * 44


def loaded(folder: Path, text: str) -> Config:
    path = folder / "veil.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def test_without_the_section_there_is_no_link(tmp_path: Path) -> None:
    assert not loaded(tmp_path, "").fleet.enabled


def test_a_broker_needs_all_three_files(tmp_path: Path) -> None:
    fleet = loaded(tmp_path, f'[fleet]\nhost = "fleet.example"\n{FILES}command_keys = ["{KEY}"]\n').fleet
    assert (fleet.enabled, fleet.port, fleet.tls, fleet.command_keys) == (True, 8883, "on", (KEY,))
    for line in FILES.splitlines():
        with pytest.raises(ConfigError, match=line.split()[0]):
            loaded(tmp_path, f'[fleet]\nhost = "fleet.example"\n{FILES.replace(line, "")}')


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_tls_can_be_off_on_this_machine(tmp_path: Path, host: str) -> None:
    assert loaded(tmp_path, f'[fleet]\nhost = "{host}"\ntls = "off"\n').fleet.enabled


@pytest.mark.parametrize("host", ["fleet.example", "192.0.2.1", "localhost.example", "10.0.0.1", "127.1"])
def test_tls_cannot_be_off_elsewhere(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="tls"):
        loaded(tmp_path, f'[fleet]\nhost = "{host}"\ntls = "off"\n{FILES}')


@pytest.mark.parametrize("host", ["mqtts://fleet.example", "fleet.example:8883/x", "a b", "a\\nb"])
def test_a_host_is_a_name_alone(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="host"):
        loaded(tmp_path, f'[fleet]\nhost = "{host}"\n{FILES}')


@pytest.mark.parametrize("key", ["fleet", KEY[:-1], f"{KEY} ", KEY.replace("+", "-")])
def test_a_malformed_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="verifier key"):
        loaded(tmp_path, f'[fleet]\nwitness_keys = ["{key}"]\n')


def test_no_camera_can_have_the_name_of_the_box_s_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="own log"):
        loaded(tmp_path, '[camera.box]\nsource = "/dev/video0"\n')


def test_ports_of_one_box_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rtsp"):
        loaded(tmp_path, "[agent]\nprometheus_port = 8554\n")


def test_the_digest_tells_another_fleet(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").digest != loaded(tmp_path, f'[fleet]\nwitness_keys = ["{KEY}"]\n').digest
