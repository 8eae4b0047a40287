"""What viewers see, decided without a clock, a socket or a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from veil.rtsp_server.camera import Camera, CameraState
from veil.rtsp_server.timeline import Timeline
from veil.rtsp_server.wire import Hello, Packet

HELLO = Hello("front", 320, 180, b"sets", (b"one", b"two"))
MS = 1_000_000


@dataclass
class Eyes:
    """A viewer that remembers."""

    seen: list[tuple[bytes, int, bool]] = field(default_factory=list)
    is_gone: bool = False

    def show(self, data: bytes, at_ns: int, *, keyframe: bool) -> None:
        self.seen.append((data, at_ns, keyframe))

    def disconnect(self) -> None:
        self.is_gone = True


def made() -> tuple[Camera, list[int]]:
    """A connected camera, and a list that grows by each request for a keyframe."""
    asked: list[int] = []
    camera = Camera(HELLO, slate_after_ns=700 * MS, now_ns=0)
    camera.connected(HELLO, lambda: asked.append(1))
    return camera, asked


def live(camera: Camera, now_ms: int, *, keyframe: bool = False) -> None:
    camera.packet(Packet(now_ms * MS, keyframe, b"key" if keyframe else b"delta"), now_ms * MS)


def test_the_slate_comes_when_nothing_else_did_and_live_comes_back_at_a_keyframe() -> None:
    camera, asked = made()
    eyes = Eyes()
    live(camera, 0, keyframe=True)
    camera.add(eyes, 10 * MS)
    assert asked == [1]
    live(camera, 30)
    live(camera, 60, keyframe=True)
    for now in range(100, 2000, 100):
        camera.tick(now * MS)
    shown = [data for data, _, _ in eyes.seen]
    assert shown[:5] == [b"delta", b"key", b"one", b"two", b"one"]
    assert len(shown) == 2 + 4, "a slate every 0.3 s, the next tick after a quarter of a second"
    assert eyes.seen[2][1] - eyes.seen[1][1] <= 1000 * MS
    assert camera.state is CameraState.SLATE
    live(camera, 2000)
    assert len(asked) == 2, "a keyframe is asked for, and the delta is not shown"
    live(camera, 2030, keyframe=True)
    live(camera, 2060)
    assert [data for data, _, _ in eyes.seen][6:] == [b"key", b"delta"]
    times = [at for _, at, _ in eyes.seen]
    assert times == sorted(set(times))


def test_a_camera_whose_process_died_gets_its_slate_with_the_next_tick() -> None:
    camera, _ = made()
    eyes = Eyes()
    camera.add(eyes, 0)
    live(camera, 0, keyframe=True)
    live(camera, 90)
    camera.disconnected(100 * MS)
    camera.tick(110 * MS)
    assert eyes.seen[-1][0] in HELLO.slates


def test_a_viewer_of_a_silent_camera_sees_the_slate_at_once() -> None:
    camera, _ = made()
    eyes = Eyes()
    camera.add(eyes, 5 * MS)
    assert eyes.seen == [(b"one", 5 * MS, True)]


def test_keyframes_are_asked_for_at_most_twice_a_second_and_no_wish_is_lost() -> None:
    camera, asked = made()
    live(camera, 0, keyframe=True)
    for now in range(0, 500, 10):
        camera.add(Eyes(), now * MS)
    assert len(asked) == 1
    live(camera, 499)
    camera.tick(500 * MS)
    assert len(asked) == 2


def test_another_stream_ends_the_viewers_and_the_same_one_does_not() -> None:
    camera, _ = made()
    eyes = Eyes()
    camera.add(eyes, 0)
    assert camera.connected(HELLO, lambda: None) == []
    other = Hello("front", 640, 360, b"other", (b"one", b"two"))
    assert camera.connected(other, lambda: None) == [eyes]
    assert camera.viewers == []


@given(
    st.lists(st.tuples(st.integers(0, 3 * 10**9), st.integers(-(10**12), 10**12), st.booleans()), max_size=60)
)
def test_times_always_rise_and_stay_near_the_clock(steps: list[tuple[int, int, bool]]) -> None:
    line, now, last = Timeline(), 10**9, 0
    for wait, media, is_slate in steps:
        now += wait
        at = line.place_now(now) if is_slate else line.place(media, now)
        assert at > last
        assert at <= now + len(steps) * MS
        last = at


def test_distances_of_media_time_are_kept() -> None:
    line = Timeline()
    jitter = [0, 7, 1, 12, 3, 40, 0]
    placed = [line.place(i * 33 * MS, 10**9 + (i * 33 + late) * MS) for i, late in enumerate(jitter)]
    assert {after - before for before, after in pairwise(placed)} == {33 * MS}
