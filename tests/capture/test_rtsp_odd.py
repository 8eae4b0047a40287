"""RTSP as cameras and recorders send it: other tracks, B-frames, clocks that jump, noise on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from capture.parts import Kept
from media import Clip, number_of
from rtsp_server import is_available, serve
from rtsp_wire import RTP_CLOCK, AfterFrames, Wire, later
from veil.capture.source import DropReason

from .test_rtsp import PATIENT, SMALL, Running, rising

pytestmark = pytest.mark.skipif(not is_available(), reason="needs gst-rtsp-server and python3-gi")

_RATE = SMALL.rate


def numbers_of(frames: list[Kept]) -> list[int]:
    return [number_of(frame.luma) for frame in frames]


def assert_none_is_lost(running: Running) -> None:
    assert running.watcher.errors == []
    numbers = numbers_of(running.frames)
    assert numbers == [(numbers[0] + i) % SMALL.frames for i in range(len(numbers))]
    assert rising(running.frames)


def steps_of(frames: list[Kept]) -> list[float]:
    """Seconds from picture to picture."""
    return [float((b.info.pts - a.info.pts) * b.info.time_base) for a, b in pairwise(frames)]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_other_tracks_are_left_alone(transport: str) -> None:
    config = PATIENT.model_copy(update={"transport": transport})
    with (
        serve(SMALL, transport=transport, tracks="all") as server,
        Running(server.address, config) as running,
    ):
        running.until_frames(20)
    assert_none_is_lost(running)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_bidirectional_pictures_come_in_order_with_their_times(codec: str) -> None:
    clip = Clip(frames=60, keyframe_interval=12, codec=codec, bframes=2)
    with serve(clip) as server, Running(server.address, PATIENT) as running:
        running.until_frames(45)
    assert_none_is_lost(running)
    assert running.watcher.drops[DropReason.DECODE_ERROR] == 0
    # Of the rounds' first and last pictures the server says when they are.
    within = [
        s for s, n in zip(steps_of(running.frames), numbers_of(running.frames), strict=False) if n != 59
    ]
    assert all(abs(step - 1 / _RATE) < 0.002 for step in within)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_open_groups_of_pictures_are_shown(codec: str) -> None:
    params = {"h264": "open-gop=1:bframes=2:keyint=12:scenecut=0", "h265": "open-gop=1:bframes=2:keyint=12"}
    name = {"h264": "x264-params", "h265": "x265-params"}[codec]
    clip = Clip(frames=60, keyframe_interval=12, codec=codec, bframes=2, options=((name, params[codec]),))
    with serve(clip) as server, Running(server.address, PATIENT) as running:
        running.until_frames(60)
    assert running.watcher.errors == []
    numbers = numbers_of(running.frames)
    # Pictures that lead a keyframe and need the group before it may be missing where a round begins.
    assert sum((b - a) % 60 == 1 for a, b in pairwise(numbers)) >= 55
    assert rising(running.frames)


def first_stamp(packet: bytearray) -> int:
    return int.from_bytes(packet[4:8])


class Wrapping:
    """Moves all timestamps so that their 32 bits wrap after `after_s`."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._move_s: float | None = None

    def __call__(self, packet: bytearray) -> bytes:
        if self._move_s is None:
            self._move_s = ((1 << 32) - first_stamp(packet)) / RTP_CLOCK - self._after_s
        return later(packet, self._move_s)


JUMPS: dict[str, Callable[[], Callable[[bytearray], bytes]]] = {
    "wrap": lambda: Wrapping(0.8),
    "an hour on": lambda: AfterFrames(20, lambda packet: later(packet, 3600)),
    "ten seconds back": lambda: AfterFrames(20, lambda packet: later(packet, -10)),
    "one picture hours on": lambda: AfterFrames(20, lambda packet: later(packet, 37_600), lasting=1),
    "one picture hours back": lambda: AfterFrames(20, lambda packet: later(packet, -9_800), lasting=1),
}


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())
def test_media_time_goes_on_over_a_clock_that_jumps(jump: Callable[[], Callable[[bytearray], bytes]]) -> None:
    with serve(SMALL) as server, Wire(server) as wire:
        wire.change = jump()
        with Running(wire.address, PATIENT) as running:
            running.until_frames(50)
    assert_none_is_lost(running)
    assert max(steps_of(running.frames)) < 1


NOISE = {
    "an answer nobody asked for": b"RTSP/1.0 200 OK\r\nCSeq: 4711\r\n\r\n",
    "a channel nobody opened": b"$\x09\x00\x10" + b"\x80\x60" + bytes(14),
    "an empty packet": b"$\x00\x00\x00",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_noise_between_packets_costs_no_picture(noise: bytes) -> None:
    with serve(SMALL) as server, Wire(server) as wire, Running(wire.address, PATIENT) as running:
        running.until_frames(5)
        wire.between = noise
        count = len(running.frames)
        running.until_frames(count + 25)
    assert_none_is_lost(running)


def test_after_garbage_on_the_wire_it_goes_on() -> None:
    with serve(SMALL) as server, Wire(server) as wire, Running(wire.address) as running:
        running.until_frames(5)
        for garbage in (bytes(range(128, 256)), b"$" * 7, b"\n" * 3, b""):
            wire.between = garbage
            count = len(running.frames)
            running.until(lambda count=count: len(running.frames) > count + 5 or wire.noisy > 20)  # type: ignore[misc]
            wire.between = b""
            count = len(running.frames)
            running.until_frames(count + 5)
    assert rising(running.frames)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_parameter_sets_that_come_with_the_keyframe_are_enough(codec: str) -> None:
    clip = replace(SMALL, codec=codec)

    def without_parameters(answer: bytes) -> bytes:
        for word in (b"sprop-parameter-sets", b"sprop-vps", b"sprop-sps", b"sprop-pps"):
            answer = answer.replace(word, b"x" * len(word))
        return answer

    with serve(clip) as server, Wire(server) as wire:
        wire.say = without_parameters
        with Running(wire.address, PATIENT) as running:
            running.until_frames(20)
    assert_none_is_lost(running)
    assert numbers_of(running.frames)[0] % clip.keyframe_interval == 0


def test_messages_that_end_too_early_cost_no_picture() -> None:
    message = b"\x06\xf0\xff\x69" + bytes([0x31]) * 40 + b"\x80"
    with serve(replace(SMALL, message=message)) as server, Running(server.address, PATIENT) as running:
        running.until_frames(20)
    assert_none_is_lost(running)
    assert running.watcher.drops[DropReason.DECODE_ERROR] == 0


def test_a_long_group_begins_with_its_keyframe() -> None:
    clip = Clip(frames=180, keyframe_interval=60)
    with serve(clip) as server, Running(server.address, PATIENT) as first:
        first.until_frames(10)
        with Running(server.address, PATIENT) as second:
            second.until_frames(5)
    assert numbers_of(second.frames)[0] % 60 == 0
    assert len(first.frames) > 10


def test_a_camera_that_comes_back_with_another_codec_and_size_is_shown() -> None:
    other = Clip(480, 360, frames=60, keyframe_interval=10, codec="h265")
    with serve(SMALL) as server, Running(server.address) as running:
        running.until_frames(5)
        server.kill()
        running.first_error()
        with serve(other, port=server.port):
            running.until(lambda: (480, 360) in running.watcher.sizes)
            count = len(running.frames)
            running.until_frames(count + 10)
    assert rising(running.frames)
    assert running.frames[-1].info.width == 480
