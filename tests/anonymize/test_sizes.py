"""Files may be as large as photo cameras and phones record; what is larger says how to go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from media import Clip, write_clip
from veil.anonymize import Anonymizer
from veil.audit.log import Unlogged
from veil.cli_anonymize import for_files
from veil.config import CameraConfig, CaptureConfig
from veil.config_load import load_config
from veil.domain.clock import SystemClock
from veil.errors import FrameTooLargeError
from veil.jobs import Job

from .test_files import Fixed


def limit(environ: dict[str, str]) -> tuple[int, int]:
    capture = for_files(load_config(None, environ).camera_for("file", "file")).capture
    return capture.max_width, capture.max_height


def test_twelve_megapixels_are_taken_unless_a_limit_was_set() -> None:
    assert limit({}) == (4096, 3072)
    assert limit({"VEIL_CAPTURE__MAX_WIDTH": "1920", "VEIL_CAPTURE__MAX_HEIGHT": "1080"}) == (1920, 1080)
    assert limit({"VEIL_CAPTURE__MAX_WIDTH": "5312", "VEIL_CAPTURE__MAX_HEIGHT": "2988"}) == (5312, 2988)
    # Cameras keep theirs.
    assert load_config(None, {}).camera_for("file", "file").capture.max_width == 3840


def test_a_video_of_twelve_megapixels_is_done(tmp_path: Path) -> None:
    clip = Clip(4000, 3000, frames=2, codec="mjpeg", pixel_format="yuvj420p")
    source = write_clip(tmp_path / "in.mkv", clip)
    config = for_files(CameraConfig(name="file", source=str(source)))
    worker = Anonymizer(config, Fixed(), Unlogged(), SystemClock())
    assert worker.run(Job(source, tmp_path / "out.mp4"), lambda _: None).frames == 2


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_larger_file_says_what_to_set_and_nothing_of_cameras(tmp_path: Path, codec: str) -> None:
    form = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = write_clip(tmp_path / "in.mkv", Clip(320, 240, frames=2, codec=codec, pixel_format=form))
    capture = CaptureConfig(max_width=160, max_height=120)
    config = CameraConfig(name="file", source=str(source), capture=capture)
    with pytest.raises(FrameTooLargeError, match="VEIL_CAPTURE__MAX_WIDTH") as refused:
        Anonymizer(config, Fixed(), Unlogged(), SystemClock()).run(
            Job(source, tmp_path / "out.mp4"), lambda _: None
        )
    assert "camera" not in str(refused.value)
