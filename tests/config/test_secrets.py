"""Passwords: moved out of sources, read late, shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veil.config import redact
from veil.config_load import load_config
from veil.config_secrets import camera_password, split_credentials, with_password
from veil.errors import ConfigError

SECRET = "hunter2-geheim"


def config_text(source: str, extra: str = "") -> str:
    return f'{extra}\n[camera.front]\nsource = "{source}"\n'


def test_credentials_of_a_url_move_into_capture(tmp_path: Path) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(config_text("rtsp://admin:p%40ss:w@10.0.0.3:554/live"))
    config = load_config(path, {})
    camera = config.cameras["front"]
    assert camera.source == "rtsp://10.0.0.3:554/live"
    assert camera.capture.user == "admin"
    assert camera.capture.password.get_secret_value() == "p@ss:w"
    assert "password_file" in config.warnings[0]


@pytest.mark.parametrize("key", ["password_file", "password", "user"])
def test_credentials_in_two_places_are_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(config_text(f"rtsp://admin:{SECRET}@h/x") + f"capture.{key} = '/x'\n")
    with pytest.raises(ConfigError, match="keep one"):
        load_config(path, {})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rtsp://h/a@2x", ("rtsp://h/a@2x", "", "")),
        ("rtsp://h:554/a@2x", ("rtsp://h:554/a@2x", "", "")),
        ("rtsp://[2001:db8::1]/a@2x", ("rtsp://[2001:db8::1]/a@2x", "", "")),
        ("rtsp://u:p@[2001:db8::1]:554/a", ("rtsp://[2001:db8::1]:554/a", "u", "p")),
        ("rtsp://u:p/q@h/a", ("rtsp://h/a", "u", "p/q")),
        ("rtsp://u@h/a", ("rtsp://h/a", "u", "")),
        ("/dev/video0", ("/dev/video0", "", "")),
        ("a@b:c.mp4", ("a@b:c.mp4", "", "")),
    ],
)
def test_urls_split_as_cameras_mean_them(source: str, expected: tuple[str, str, str]) -> None:
    assert split_credentials(source) == expected


@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="%/"), min_size=1)
)
def test_no_password_survives_in_a_source(password: str) -> None:
    split = split_credentials(f"rtsp://user:{password}@host:554/path")
    assert split.source == "rtsp://host:554/path"
    assert split.password == password


@pytest.mark.parametrize(
    "text",
    [
        f"[capture]\npassword = ['{SECRET}']",
        f"[capture]\npasword = '{SECRET}'",
        f"[capture]\npassword = '{SECRET}'\npassword_file = '/x'",
        f"[capture]\ntransport = 'x'\nuser = '{SECRET}'",
        f"password = '{SECRET}'",
        config_text(f"http://u:{SECRET}@h/x"),
        config_text(f"rtsp://u:{SECRET}@"),
        config_text(f"rtsp://u:{SECRET}@h/x", "[box]\nnam = 'x'"),
    ],
)
def test_no_message_holds_a_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"VEIL_CAPTURE__CONNECT_TIMEOUT_S": SECRET})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__context__)


def test_no_representation_holds_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(config_text(f"rtsp://u:{SECRET}@h/x"))
    config = load_config(path, {})
    assert SECRET not in repr(config)
    assert SECRET not in config.cameras["front"].model_dump_json()


def test_redact_keeps_the_address_only() -> None:
    assert (
        redact("rtsp://u:p@h:554/a?user=x&password=geheim&ch=1") == "rtsp://h:554/a?user=x&password=***&ch=1"
    )
    assert redact("/dev/video0") == "/dev/video0"


class TestPasswordFile:
    def camera(self, tmp_path: Path, content: str | None) -> tuple[Path, dict[str, str]]:
        secret = tmp_path / "front.password"
        if content is not None:
            secret.write_text(content)
        return secret, {
            "VEIL_CAMERA__FRONT__SOURCE": "rtsp://h/x",
            "VEIL_CAMERA__FRONT__CAPTURE__PASSWORD_FILE": str(secret),
        }

    def test_first_line_is_the_password(self, tmp_path: Path) -> None:
        _, environ = self.camera(tmp_path, f"{SECRET}\nnotes\n")
        camera = load_config(None, environ).cameras["front"]
        assert camera_password(camera, environ).get_secret_value() == SECRET
        known = with_password(camera, environ)
        assert known.capture.password.get_secret_value() == SECRET
        assert known.capture.password_file is None
        assert known.digest == camera.digest

    def test_systemd_credential_wins(self, tmp_path: Path) -> None:
        _, environ = self.camera(tmp_path, "another")
        (tmp_path / "credentials").mkdir()
        (tmp_path / "credentials/front.password").write_text(SECRET)
        environ["CREDENTIALS_DIRECTORY"] = str(tmp_path / "credentials")
        camera = load_config(None, environ).cameras["front"]
        assert camera_password(camera, environ).get_secret_value() == SECRET

    @pytest.mark.parametrize(("content", "said"), [(None, "does not exist"), ("\n", "is empty")])
    def test_missing_or_empty_is_refused_without_the_name(
        self, tmp_path: Path, content: str | None, said: str
    ) -> None:
        secret, environ = self.camera(tmp_path, content)
        camera = load_config(None, environ).cameras["front"]
        with pytest.raises(ConfigError, match=re.escape(said)) as caught:
            camera_password(camera, environ)
        assert str(secret) not in str(caught.value)

    def test_is_not_read_before_the_camera_is_opened(self, tmp_path: Path) -> None:
        _, environ = self.camera(tmp_path, None)
        assert load_config(None, environ).cameras["front"].capture.password.get_secret_value() == ""
