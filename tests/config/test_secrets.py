"""Passwords: moved out of sources, read late, shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.parts import Pools, Watcher
from veil.capture.address import CameraAddress
from veil.capture.open import open_source
from veil.config import CaptureConfig, redact
from veil.config_load import load_config
from veil.config_secrets import camera_password, split_credentials, with_password
from veil.domain.clock import SystemClock
from veil.errors import CaptureError, ConfigError

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
        ("rtsp://10.0.0.3:554/a@2x", ("rtsp://10.0.0.3:554/a@2x", "", "")),
        ("rtsp://@h:554/a@2x", ("rtsp://@h:554/a@2x", "", "")),
        ("rtsp://u:p@10.0.0.3/a@2x", ("rtsp://10.0.0.3/a@2x", "u", "p")),
        ("rtsp://[2001:db8::1]/a@2x", ("rtsp://[2001:db8::1]/a@2x", "", "")),
        ("rtsp://u:p@[2001:db8::1]:554/a", ("rtsp://[2001:db8::1]:554/a", "u", "p")),
        ("rtsp://u:p/q@h/a", ("rtsp://h/a", "u", "p/q")),
        ("rtsp://u:p]/q@h/a", ("rtsp://h/a", "u", "p]/q")),
        ("rtsp://u:123456/q@h/a", ("rtsp://h/a", "u", "123456/q")),
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


@pytest.mark.parametrize("source", ["rtsp://admin:12/S3CRET@h/x", "rtsp://admin:pa@12/S3CRET@h/x"])
def test_a_password_that_may_be_a_host_is_refused_and_not_shown(tmp_path: Path, source: str) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(config_text(source))
    with pytest.raises(ConfigError, match="which @ ends the login") as caught:
        load_config(path, {})
    assert not re.search("S3CRET|admin|pa@", str(caught.value))
    assert redact(source) == "rtsp://***@h/x"


@pytest.mark.parametrize(
    "source",
    [
        "rtsp:/admin:S3CRET@h/x",
        "rtsp//admin:S3CRET@h/x",
        "RTSP:admin:S3CRET@h/x",
        "rtsp:/h/user=admin_password=S3CRET_channel=1",
        "admin:S3CRET@h/x",
        "rtsp:/admin:S3://CRET@h/x",
        "http:/admin:S3CRET@h/x",
    ],
)
def test_a_mistyped_address_is_no_file_and_not_shown(tmp_path: Path, source: str) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(config_text(source))
    with pytest.raises(ConfigError, match="source") as refused:
        load_config(path, {})
    camera = load_config(None, {"VEIL_CAMERA__FRONT__SOURCE": "rtsp://h/x"}).cameras["front"]
    camera = camera.model_copy(update={"source": source})
    with pytest.raises(CaptureError) as missing:
        open_source(camera, Pools(), Watcher(), SystemClock())
    for shown in (str(refused.value), str(missing.value), redact(source)):
        assert not re.search("S3|CRET|admin", shown)


@pytest.mark.parametrize(
    "source", ["/media/10:00@front.mp4", "./10:00@front.mp4", "v4l2:/dev/video0", "a.mp4"]
)
def test_files_may_be_called_as_they_like(source: str) -> None:
    config = load_config(None, {"VEIL_CAMERA__FRONT__SOURCE": source})
    assert config.cameras["front"].source == source


@pytest.mark.parametrize("text", ["password = 12345", "user = 12345", "password_file = 12345"])
def test_a_secret_without_its_quotes_is_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(f"[capture]\n{text}\n")
    with pytest.raises(ConfigError, match="must be") as caught:
        load_config(path, {})
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            "rtsp://u:p@h:554/a?user=x&password=geheim&ch=1",
            "rtsp://h:554/a?user=***&password=***&ch=1",
        ),
        (
            "rtsp://h/user=admin&password=S3CRET&channel=1&stream=0.sdp",
            "rtsp://h/user=***&password=***&channel=1&stream=0.sdp",
        ),
        ("rtsp://h/user=admin_password=S3CRET_channel=1_stream=0.sdp", "rtsp://h/user=***"),
        ("rtsp://h/ch0_password=S3&CRET?x&ch=1", "rtsp://h/ch0_password=***&ch=1"),
        ("rtsp://h/v?loginuse=admin&loginpas=S3CRET", "rtsp://h/v?loginuse=***&loginpas=***"),
        ("rtsp://h/v?uname=admin&authToken=S3CRET", "rtsp://h/v?uname=***&authToken=***"),
        ("rtsp://h/v?u=admin&p=S3CRET", "rtsp://h/v?u=***&p=***"),
        ("rtsp://@h:554/a@2x", "rtsp://h:554/a@2x"),
        ("rtsp://h/Streaming/Channels/101", "rtsp://h/Streaming/Channels/101"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_redact_keeps_the_address_only(source: str, shown: str) -> None:
    assert redact(source) == shown
    address = str(CameraAddress(source, CaptureConfig())) if "://" in source else shown
    assert address == shown.partition("?")[0] or "?x&" in source
    assert not re.search("S3|CRET|admin|geheim", address)


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

    def test_a_byte_order_mark_is_no_part_of_it(self, tmp_path: Path) -> None:
        _, environ = self.camera(tmp_path, f"\ufeff{SECRET}\r\n")
        camera = load_config(None, environ).cameras["front"]
        assert camera_password(camera, environ).get_secret_value() == SECRET

    def test_a_camera_is_not_opened_with_its_password_unread(self, tmp_path: Path) -> None:
        _, environ = self.camera(tmp_path, SECRET)
        camera = load_config(None, environ).cameras["front"]
        with pytest.raises(ValueError, match="read before"):
            CameraAddress(camera.source, camera.capture)
        assert SECRET in CameraAddress(camera.source, with_password(camera, environ).capture).url()

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "does not exist"),
            ("\n", "is empty"),
            ("\ufeff", "is empty"),
            (f"\n{SECRET}\n", "has an empty first line"),
        ],
    )
    def test_missing_or_empty_is_refused_without_the_name(
        self, tmp_path: Path, content: str | None, said: str
    ) -> None:
        secret, environ = self.camera(tmp_path, content)
        camera = load_config(None, environ).cameras["front"]
        with pytest.raises(ConfigError, match=re.escape(said)) as caught:
            camera_password(camera, environ)
        assert str(secret) not in str(caught.value)
        assert SECRET not in str(caught.value)

    def test_is_not_read_before_the_camera_is_opened(self, tmp_path: Path) -> None:
        _, environ = self.camera(tmp_path, None)
        assert load_config(None, environ).cameras["front"].capture.password.get_secret_value() == ""
