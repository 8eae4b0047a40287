"""`veil anonymize --camera NAME`: footage of a camera is hidden as that camera hides it."""

from __future__ import annotations

from pathlib import Path

from media import Clip, write_clip
from veil.domain.cover import Solid
from veil.errors import UsageError

from .test_files import lumas
from .test_folders import run

CONFIG = """
[camera.yard]
source = "rtsp://yard.invalid/1"

[[camera.yard.mask.zones]]
name = "neighbour"
points = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]

[camera.gate]
source = "rtsp://gate.invalid/1"
"""


def test_its_zones_are_masked(tmp_path: Path) -> None:
    (tmp_path / "veil.toml").write_text(CONFIG)
    source = write_clip(tmp_path / "in.mp4", Clip(frames=3))
    for camera in ("yard", "gate"):
        done = run(source, tmp_path / f"{camera}.mp4", "--config", tmp_path / "veil.toml", "--camera", camera)
        assert done.returncode == 0, done.stderr
    for yard, gate in zip(lumas(tmp_path / "yard.mp4"), lumas(tmp_path / "gate.mp4"), strict=True):
        zone = slice(None), slice(0, 156)
        assert abs(yard[zone].astype(int) - Solid().y).max() <= 6
        assert abs(gate[zone].astype(int) - Solid().y).max() > 60


def test_an_unknown_camera_is_refused(tmp_path: Path) -> None:
    (tmp_path / "veil.toml").write_text(CONFIG)
    source = write_clip(tmp_path / "in.mp4", Clip(frames=1))
    done = run(source, tmp_path / "out.mp4", "--config", tmp_path / "veil.toml", "--camera", "yrd")
    assert done.returncode == UsageError.exit_code
    assert "no camera 'yrd'" in done.stderr
    assert "yard, gate" in done.stderr
    assert not (tmp_path / "out.mp4").exists()
