"""`veil anonymize`: files through the camera's own pipeline, one frame out for each frame in."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from media import Clip, number_of, picture, timestamps_of, write_clip
from veil.anonymize import Anonymizer, Result
from veil.audit.log import EventLog, Unlogged
from veil.config import CameraConfig
from veil.domain.clock import SystemClock
from veil.domain.cover import Solid
from veil.domain.detection import Detection, DetectionReport, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.errors import CaptureError, DetectorError, UsageError, VeilError
from veil.frames.raw import RawFrame
from veil.jobs import Job, plan

FACE = Box(100, 120, 140, 160)
FACE_ROWS, FACE_COLUMNS = slice(100, 190), slice(80, 170)
INSIDE = (slice(122, 158), slice(102, 138))


class Fixed:
    """Finds one face at the same place in each frame; raises for the frames in `failing`."""

    def __init__(self, failing: frozenset[int] = frozenset()) -> None:
        self._failing = failing

    @property
    def identity(self) -> str:
        return "fixed@1"

    @property
    def thresholds(self) -> Mapping[ObjectClass, ClassThresholds]:
        return {kind: ClassThresholds(0.3, 0.1, 0) for kind in ObjectClass}

    def detect(self, raw: RawFrame) -> DetectionReport:
        if raw.info.sequence in self._failing:
            raise DetectorError("the model is gone")
        found = (Detection(ObjectClass.FACE, FACE, 0.9),)
        return DetectionReport(raw.info.sequence, found, (self.identity,))


def anonymize(source: Path, output: Path, detector: Fixed | None = None) -> Result:
    config = CameraConfig(name="file", source=str(source))
    worker = Anonymizer(config, detector or Fixed(), Unlogged(), SystemClock())
    return worker.run(Job(source, output), lambda _: None)


def lumas(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [_luma(frame) for frame in container.decode(video=0)]


def _luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    plane = frame.planes[0]
    flat = np.frombuffer(memoryview(plane), np.uint8)
    return flat.reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
def test_frames_come_out_one_to_one_and_masked(tmp_path: Path, suffix: str) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=40, bframes=2))
    result = anonymize(source, tmp_path / f"out{suffix}")
    pictures = lumas(tmp_path / f"out{suffix}")
    assert result.frames == len(pictures) == 40
    assert [number_of(luma) for luma in pictures] == list(range(40))
    for luma in pictures:
        assert abs(luma[INSIDE].astype(int) - Solid().y).max() <= 3


def test_variable_frame_rate_keeps_its_timestamps(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    stamps = tuple(int(at) for at in np.cumsum(random.integers(700, 9000, 50)))
    source = write_clip(
        tmp_path / "in.mp4", Clip(frames=50, timestamps=stamps, time_base=Fraction(1, 90_000))
    )
    anonymize(source, tmp_path / "out.mp4")
    assert timestamps_of(tmp_path / "out.mp4") == timestamps_of(source)


@pytest.mark.parametrize(("width", "height"), [(321, 241), (320, 243), (317, 240)])
def test_odd_sizes_are_padded_not_refused(tmp_path: Path, width: int, height: int) -> None:
    source = write_clip(tmp_path / "in.mkv", Clip(width=width, height=height, frames=8, codec="ffv1"))
    anonymize(source, tmp_path / "out.mp4")
    assert {luma.shape for luma in lumas(tmp_path / "out.mp4")} == {(height + height % 2, width + width % 2)}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_change_of_size_in_the_middle_goes_on_in_the_same_file(tmp_path: Path, suffix: str) -> None:
    parts = [
        write_clip(
            tmp_path / f"{number}.ts",
            Clip(
                width=width,
                height=width * 3 // 4,
                frames=20,
                timestamps=tuple(3600 * (number * 20 + index) for index in range(20)),
                time_base=Fraction(1, 90_000),
            ),
        )
        for number, width in enumerate((320, 480))
    ]
    (tmp_path / "in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    anonymize(tmp_path / "in.ts", tmp_path / f"out{suffix}")
    pictures = lumas(tmp_path / f"out{suffix}")
    assert [luma.shape for luma in pictures] == [(240, 320)] * 20 + [(360, 480)] * 20
    # The counter of the stream's pieces jumps where the parts meet: there the last two count as not whole.
    assert [number_of(luma) for luma in pictures[:18] + pictures[20:]] == [*range(18), *range(20)]


def test_nothing_but_the_picture_is_carried_over(tmp_path: Path) -> None:
    secret = "Rue-du-Secret-17"
    clip = Clip(frames=12, audio=True, data=True, sei=secret, metadata=(("service_name", secret),))
    source = write_clip(tmp_path / "in.ts", clip)
    assert secret.encode() in source.read_bytes()
    anonymize(source, tmp_path / "out.mp4")
    assert secret.encode() not in (tmp_path / "out.mp4").read_bytes()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_frame_without_an_answer_is_hidden_as_a_whole(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=20))
    result = anonymize(source, tmp_path / "out.mp4", Fixed(frozenset({7, 8})))
    spread = [int(np.ptp(luma)) for luma in lumas(tmp_path / "out.mp4")]
    assert result.whole == 2
    assert [number for number, value in enumerate(spread) if value < 30] == [7, 8]


def test_failure_leaves_no_output_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=30))

    def broken(*_: object) -> None:
        raise ValueError("no paint left")

    monkeypatch.setattr("veil.mask.masker.paint", broken)
    with pytest.raises(VeilError):
        anonymize(source, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4"]


def test_no_output_carries_the_final_name_before_it_is_whole(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=60))
    seen: list[bool] = []
    config = CameraConfig(name="file", source=str(source))
    worker = Anonymizer(config, Fixed(), Unlogged(), SystemClock())
    worker.run(Job(source, tmp_path / "out.mp4"), lambda _: seen.append((tmp_path / "out.mp4").exists()))
    assert len(seen) == 60
    assert not any(seen)


def test_existing_output_is_refused_without_force(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=2))
    (tmp_path / "out.mp4").write_text("precious")
    with pytest.raises(UsageError, match="exists"):
        plan(source, tmp_path / "out.mp4", overwrite=False)
    assert plan(source, tmp_path / "out.mp4", overwrite=True).jobs


@pytest.mark.parametrize("output", ["in.mp4", "out.jpg", "out.gif"])
def test_senseless_outputs_are_refused(tmp_path: Path, output: str) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=2))
    with pytest.raises(UsageError):
        plan(source, tmp_path / output, overwrite=True)


def test_folder_keeps_names_and_subfolders(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write_clip(tmp_path / "in" / "deep" / "a.mp4", Clip(frames=2))
    Pillow.fromarray(picture(160, 120, 1)).save(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "notes.txt").write_text("left alone")
    jobs = plan(tmp_path / "in", tmp_path / "out", overwrite=False).jobs
    assert [job.output.relative_to(tmp_path / "out").as_posix() for job in jobs] == ["b.jpg", "deep/a.mp4"]


def test_broken_video_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "in.mp4").write_bytes(b"\0" * 5000)
    with pytest.raises(CaptureError, match=r"in\.mp4"):
        anonymize(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_still_loses_its_metadata_and_is_turned_upright(tmp_path: Path, suffix: str) -> None:
    image = Pillow.fromarray(np.ascontiguousarray(picture(321, 243, 5).swapaxes(0, 1)[:, ::-1]))
    exif = image.getexif()
    exif[0x0112] = 8
    exif[0x010E] = "taken at Rue-du-Secret-17"
    source = tmp_path / f"in{suffix}"
    image.save(source, exif=exif, icc_profile=b"ICC-Rue-du-Secret-17" * 20, quality=95)
    assert b"Rue-du-Secret-17" in source.read_bytes()
    anonymize(source, tmp_path / f"out{suffix}")
    data = (tmp_path / f"out{suffix}").read_bytes()
    assert b"Rue-du-Secret-17" not in data
    with Pillow.open(tmp_path / f"out{suffix}") as out:
        assert out.size == (321, 243)
        assert not out.getexif()
        luma = np.asarray(out.convert("L"))
    assert number_of(luma) == 5
    assert np.ptp(luma[INSIDE]) <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_stills_of_every_orientation_come_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    image = Pillow.fromarray(picture(320, 240, 5))
    # What brings a picture of that orientation upright, undone.
    undone = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT,
        3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_90,
        7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_270,
    }
    exif = image.getexif()
    exif[0x0112] = orientation
    stored = image.transpose(undone[orientation]) if orientation > 1 else image
    stored.save(tmp_path / f"in{suffix}", exif=exif, quality=95)
    anonymize(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    with Pillow.open(tmp_path / f"out{suffix}") as out:
        assert not out.getexif()
        assert out.size == (320, 240)
        difference = np.abs(np.asarray(out.convert("RGB")).astype(int) - picture(320, 240, 5))
    difference[FACE_ROWS, FACE_COLUMNS] = 0
    assert difference.mean() < 6


def test_damaged_pictures_are_hidden_and_keep_their_times(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=30, keyframe_interval=10, bframes=2))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][13]
    assert packet.pos is not None
    begin, end = packet.pos + packet.size // 2, packet.pos + packet.size
    data[begin:end] = bytes(end - begin)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with EventLog(tmp_path / "done.jsonl", "file", SystemClock(), reserve_bytes=0) as log:
        config = CameraConfig(name="file", source=str(damaged))
        job = Job(damaged, tmp_path / "out.mp4")
        result = Anonymizer(config, Fixed(), log, SystemClock()).run(job, lambda _: None)
    event = json.loads((tmp_path / "done.jsonl").read_text().splitlines()[-1])["data"]
    pictures = lumas(tmp_path / "out.mp4")
    hidden = [number for number, luma in enumerate(pictures) if int(np.ptp(luma[:200])) < 30]
    assert hidden
    assert set(hidden) <= set(range(11, 20))
    assert all(number_of(pictures[number]) == number for number in set(range(30)) - set(hidden))
    assert timestamps_of(tmp_path / "out.mp4") == timestamps_of(source)
    assert (result.frames, result.whole, result.undecodable) == (30, len(hidden), len(hidden))
    assert event["whole_frames"] == {"picture_damaged": len(hidden)}


def test_evidence_names_hashes_and_counts(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=10))
    with EventLog(tmp_path / "done.jsonl", "file", SystemClock(), reserve_bytes=0) as log:
        config = CameraConfig(name="file", source=str(source))
        job = Job(source, tmp_path / "out.mp4")
        Anonymizer(config, Fixed(), log, SystemClock()).run(job, lambda _: None)
    event = json.loads((tmp_path / "done.jsonl").read_text().splitlines()[-1])
    data = event["data"]
    assert event["kind"] == "file_anonymized"
    assert data["output_sha256"] == hashlib.sha256((tmp_path / "out.mp4").read_bytes()).hexdigest()
    assert data["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (data["frames"], data["masks"], data["tracks"]) == (10, 10, {"face": 1})


def test_command_line_says_what_is_wrong_in_one_message(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "veil.cli",
        "anonymize",
        str(tmp_path / "missing.mp4"),
        str(tmp_path / "out.mp4"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == UsageError.exit_code
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_are_looked_at_by_the_detector_for_pictures(tmp_path: Path) -> None:
    Pillow.fromarray(picture(320, 240, 1)).save(tmp_path / "in.png")
    clip = write_clip(tmp_path / "in.mp4", Clip(frames=3))
    config = CameraConfig(name="file", source="in")
    for_videos, for_pictures = Fixed(failing=frozenset({0, 1, 2})), Fixed()
    worker = Anonymizer(config, for_videos, Unlogged(), SystemClock(), still_detector=for_pictures)
    still = worker.run(Job(tmp_path / "in.png", tmp_path / "out.png"), lambda _: None)
    video = worker.run(Job(clip, tmp_path / "out.mp4"), lambda _: None)
    assert (still.masks, still.whole) == (1, 0)
    assert video.whole == 3
