"""What commands do on a box, and what they leave alone."""

from __future__ import annotations

import base64
import io
import json
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from agent_desk.box_house import CAMERAS, Box, jpeg
from agent_desk.house import Desk, command
from veil import __version__
from veil.agent.commands.snapshot import MAX_JPEG_BYTES
from veil.config import Config
from veil.errors import CommandError, ConfigError, VeilError


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_ping_says_the_version(box: Box) -> None:
    done = box.run("ping")
    assert __version__ in (done.result.version or "")
    assert done.events == ()


def test_reload_of_the_same_changes_nothing(box: Box) -> None:
    done = box.run("reload")
    assert done.result.restarted == ()
    assert done.events == ()


def test_reload_restarts_the_cameras_whose_part_changed(box: Box) -> None:
    box.write(front="[camera.front.mask]\nlookback_s = 0.25")
    done = box.run("reload")
    assert done.result.restarted == ("front",)
    assert box.places("front").restart.exists()
    assert not box.places("yard").restart.exists()
    (event,) = done.events
    assert event.kind == "config_changed"
    assert event.data["old"] == box.config.digest != event.data["new"] == box.adopted[0].digest


def test_reload_restarts_all_where_a_default_changed(box: Box) -> None:
    box.write(extra="[mask]\nlookback_s = 0.25")
    assert box.run("reload").result.restarted == CAMERAS


def test_a_changed_password_restarts_its_camera_and_is_nowhere_said(box: Box) -> None:
    box.write(front='[camera.front.capture]\npassword = "hunter2"')
    done = box.run("reload")
    assert done.result.restarted == ("front",)
    assert "hunter2" not in repr(done)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("[camera.front.mask]\nlookback_s = 99", "lookback_s"),
        ("[camera.front.capture]\npassword = 'hunter2'\nstall_timeout_s = 'hunter2'", "stall_timeout_s"),
        ("= hunter2", "TOML"),
    ],
)
def test_a_faulty_configuration_changes_nothing_and_tells_no_secret(
    broken: str, named: str, box: Box
) -> None:
    box.write(front=broken)
    with pytest.raises(CommandError) as caught:
        box.run("reload")
    assert named in str(caught.value)
    assert "kept as it was" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert box.adopted == []
    assert not any(box.places(name).restart.exists() for name in CAMERAS)
    box.write()
    assert box.run("reload").result.restarted == ()


def test_a_configuration_that_is_gone_changes_nothing(box: Box) -> None:
    box.file.unlink()
    with pytest.raises(CommandError, match="no such file"):
        box.run("reload")
    assert box.run("restart_camera", camera="front").result.restarted == ("front",)


@pytest.mark.parametrize(
    ("extra", "cameras", "said"),
    [
        ("[rtsp]\nport = 9554", CAMERAS, r"\[rtsp\]"),
        ("[agent]\nhealth_every_s = 60", CAMERAS, r"\[agent\]"),
        ("", ("front", "yard", "roof"), r"\[camera.roof\] \(new\)"),
        ("", ("front",), r"\[camera.yard\] \(gone\)"),
    ],
)
def test_what_running_processes_cannot_take_over_is_refused_as_a_whole(
    extra: str, cameras: tuple[str, ...], said: str, box: Box
) -> None:
    box.write(extra=extra, front="[camera.front.mask]\nlookback_s = 0.25", cameras=cameras)
    with pytest.raises(CommandError, match=said):
        box.run("reload")
    assert box.adopted == []
    assert not box.places("front").restart.exists()


def test_where_the_agent_does_not_take_it_the_old_configuration_stays(box: Box) -> None:
    def refuse(config: Config) -> None:
        del config
        raise ConfigError("No.")

    box.actions._adopt = refuse
    box.write(front="[camera.front.mask]\nlookback_s = 0.25")
    with pytest.raises(ConfigError):
        box.run("reload")
    assert not box.places("front").restart.exists()
    box.actions._adopt = box.adopted.append
    assert box.run("reload").result.restarted == ("front",)


@pytest.mark.parametrize("name", ["restart_camera", "snapshot"])
def test_a_camera_that_the_box_has_not_is_named_in_no_path(name: str, box: Box) -> None:
    with pytest.raises(CommandError, match="front, yard"):
        box.run(name, camera="box")
    assert not (box.root / "run").exists()


def test_a_snapshot_is_the_masked_file_byte_for_byte(box: Box) -> None:
    content = jpeg(320, 180)
    box.show(content)
    done = box.run("snapshot", camera="front")
    assert base64.b64decode(done.result.jpeg or "") == content
    (event,) = done.events
    assert event.kind == "recording_accessed"
    assert event.data == {
        "what": "snapshot",
        "camera": "front",
        "sha256": sha256(content).hexdigest(),
        "bytes": len(content),
    }


@pytest.mark.parametrize(("width", "height"), [(960, 540), (4096, 2160), (640, 4000)])
def test_a_large_picture_is_scaled_down_until_it_fits(width: int, height: int, box: Box) -> None:
    box.show(jpeg(width, height, noise=255, quality=90))
    picture = base64.b64decode(box.run("snapshot", camera="front").result.jpeg or "")
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size[0] / image.size[1] == pytest.approx(width / height, rel=0.05)
        assert image.size[0] < width
    assert len(picture) <= MAX_JPEG_BYTES


@pytest.mark.parametrize("age_s", [10, 3600, -60])
def test_an_old_picture_is_refused(age_s: float, box: Box) -> None:
    box.show(jpeg(320, 180), age_s=age_s)
    with pytest.raises(CommandError, match="s old"):
        box.run("snapshot", camera="front")


def test_no_picture_is_refused(box: Box) -> None:
    with pytest.raises(CommandError, match="no picture"):
        box.run("snapshot", camera="front")


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"GIF89a" + bytes(100), b"\x00" * 70_000])
def test_what_is_no_jpeg_does_not_leave_the_box(content: bytes, box: Box) -> None:
    box.show(content)
    with pytest.raises(CommandError, match="cannot be read"):
        box.run("snapshot", camera="front")


@pytest.mark.parametrize("width", [160, 960])
def test_a_cut_jpeg_does_not_leave_the_box(width: int, box: Box) -> None:
    content = jpeg(width, width * 9 // 16, noise=255)
    box.show(content[: len(content) // 2])
    with pytest.raises(CommandError, match="cannot be read"):
        box.run("snapshot", camera="front")


def test_another_picture_format_does_not_leave_the_box(box: Box) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    box.show(out.getvalue())
    with pytest.raises(CommandError, match="cannot be read"):
        box.run("snapshot", camera="front")


def test_a_link_in_the_pictures_place_is_not_followed(box: Box) -> None:
    path = box.show(jpeg(320, 180))
    elsewhere = box.root / "elsewhere.jpg"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(CommandError):
        box.run("snapshot", camera="front")


def test_a_picture_that_claims_a_huge_size_is_refused(box: Box) -> None:
    content = bytearray(jpeg(320, 180))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = b"\xff\xff\xff\xff"
    box.show(bytes(content))
    with pytest.raises(CommandError):
        box.run("snapshot", camera="front")


def test_each_access_is_in_the_log_with_who_asked(tmp_path: Path) -> None:
    box = Box(tmp_path / "box-files") if (tmp_path / "box-files").mkdir() is None else None
    assert box is not None
    box.show(jpeg(320, 180))
    with Desk(tmp_path, box.clock, box.actions) as house:
        assert house.handle(command(command="snapshot", arguments={"camera": "front"})).error == ""
        lines = [json.loads(line) for line in house.log.path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["recording_accessed", "command_done"]
    assert lines[0]["data"]["nonce"] == lines[1]["data"]["nonce"] == f"{1:032x}"
    assert lines[0]["data"]["key"] == lines[1]["data"]["key"]


def test_errors_of_actions_are_of_this_program(box: Box) -> None:
    (box.root / "run").write_text("not a folder")
    with pytest.raises(VeilError, match="cannot be asked to restart"):
        box.run("restart_camera", camera="front")
