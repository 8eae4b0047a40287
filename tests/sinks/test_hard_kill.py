"""kill -9 while recording: closed segments play, no `.part` is lost, at most two seconds are missing."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

import veil
from masked_media import Camera
from veil.config import EncoderConfig
from veil.sinks.repair import RepairOutcome, repair

KILLS = int(os.environ.get("VEIL_KILLS", "20"))
FRAME_RATE, SPEED, TOGETHER = 30, 12, 4


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a camera, recorded several times faster than real time."""
    config = EncoderConfig(preset="ultrafast", bit_rate=400_000, keyframe_interval_s=1.0)
    path = tmp_path_factory.mktemp("packets") / "packets"
    path.write_bytes(pickle.dumps(list(Camera(frame_rate=FRAME_RATE).packets(60 * FRAME_RATE, config))))
    return path


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def recordings_after_kills(packets: Path, folder: Path, delays: list[float]) -> Iterator[tuple[Path, int]]:
    """Runs recorders side by side and kills each after its delay; their folders and how far they came."""
    command = [sys.executable, str(Path(__file__).with_name("recording_child.py")), str(packets)]
    started = []
    for index, delay in enumerate(delays):
        directory = folder / str(index)
        process = subprocess.Popen(
            [*command, str(directory), str(FRAME_RATE * SPEED)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(veil.__file__).parent.parent)},
            start_new_session=True,
        )
        assert process.stdout is not None
        first = process.stdout.read(4)
        started.append((process, first, time.monotonic() + delay, directory))
    for process, first, at, directory in sorted(started, key=lambda one: one[2]):
        time.sleep(max(0.0, at - time.monotonic()))
        process.kill()
        assert process.stdout is not None
        said = first + process.stdout.read()
        process.stdout.close()
        process.wait()
        yield directory, int.from_bytes(said[len(said) // 4 * 4 - 4 : len(said) // 4 * 4]) + 1


def test_a_killed_recorder_loses_at_most_two_seconds(packets: Path, tmp_path: Path) -> None:
    random_source = random.Random(7)
    recovered = 0
    for batch in range(0, KILLS, TOGETHER):
        delays = [random_source.uniform(0.0, 2.0) for _ in range(min(TOGETHER, KILLS - batch))]
        for directory, written in recordings_after_kills(packets, tmp_path / str(batch), delays):
            before = {path.name for path in directory.iterdir()}
            results = repair(directory)
            after = {path.name for path in directory.rglob("*") if path.is_file()}
            assert len(after) == len(before), "no file vanishes"
            assert not list(directory.glob("*.part"))
            kept = sum(pictures(path) for path in directory.glob("*.mp4"))
            assert 0 <= written - kept <= 2 * FRAME_RATE
            for result in results:
                assert result.outcome is not RepairOutcome.IN_USE
                recovered += result.outcome is RepairOutcome.RECOVERED
    assert recovered > KILLS // 4
