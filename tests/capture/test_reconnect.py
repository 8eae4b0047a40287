"""Waits between connections, media time over jumps, and what every source shares."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, pairwise

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from capture.parts import Pools, Watcher
from veil.capture.address import CameraAddress
from veil.capture.backoff import Backoff
from veil.capture.file import FileSource
from veil.capture.intake import LiveTimeline, Timeline
from veil.capture.live import AccessRefusedError, LiveSource
from veil.capture.open import open_source
from veil.capture.rtsp import RtspSource
from veil.capture.v4l2 import V4l2Source
from veil.config import CameraConfig, CaptureConfig
from veil.domain.clock import NANOSECONDS, SystemClock
from veil.errors import CaptureError, SourceEndedError
from veil.frames.raw import RawFrame

TICK = Fraction(1, 90_000)


class FakeClock:
    """Goes on only when told to; wall time jumps about to show that nobody looks at it."""

    def __init__(self) -> None:
        self.now_ns = 5 * NANOSECONDS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        raise AssertionError("capture must not look at the wall clock")


def test_waits_grow_to_the_maximum_and_are_spread_over_the_whole_range() -> None:
    config = CaptureConfig(reconnect_min_s=1, reconnect_max_s=60)
    waits = []
    for seed in range(300):
        backoff = Backoff(config, random.Random(seed))
        waits.append([backoff.failed() for _ in range(10)])
    for attempt, ceiling in enumerate([2, 4, 8, 16, 32, 60, 60, 60, 60, 60]):
        column = [wait[attempt] for wait in waits]
        assert 1 <= min(column) < 1 + 0.1 * ceiling
        assert 0.9 * ceiling < max(column) <= ceiling


def test_a_healthy_time_starts_the_waits_again() -> None:
    backoff = Backoff(CaptureConfig(), random.Random(1))
    for _ in range(10):
        backoff.failed()
    backoff.frame(0)
    backoff.frame(9 * NANOSECONDS)
    assert backoff.ceiling_s == 60
    backoff.frame(10 * NANOSECONDS)
    assert backoff.ceiling_s == 2


def test_short_lived_connections_do_not_add_up_to_a_healthy_time() -> None:
    backoff = Backoff(CaptureConfig(), random.Random(1))
    for round_ns in range(0, 100 * NANOSECONDS, 6 * NANOSECONDS):
        backoff.frame(round_ns)
        backoff.frame(round_ns + 5 * NANOSECONDS)
        backoff.failed()
    assert backoff.ceiling_s == 60


def test_a_refused_password_waits_near_the_maximum() -> None:
    waits = [Backoff(CaptureConfig(), random.Random(seed)).refused() for seed in range(50)]
    assert all(30 <= wait <= 60 for wait in waits)


class Failing(LiveSource):
    """Each session fails; remembers when it began."""

    def __init__(self, clock: FakeClock, watcher: Watcher, error: CaptureError) -> None:
        super().__init__(CaptureConfig(), Pools(), watcher, clock, Backoff(CaptureConfig(), random.Random(3)))
        self.began_ns: list[int] = []
        self._error = error

    def session(self) -> Iterator[RawFrame]:
        self.began_ns.append(self.clock.monotonic_ns())
        yield from ()
        raise self._error


@pytest.mark.parametrize("error", [SourceEndedError("ended"), AccessRefusedError("no")])
def test_reconnects_wait_on_the_monotonic_clock(error: CaptureError) -> None:
    clock, watcher = FakeClock(), Watcher()
    source = Failing(clock, watcher, error)
    thread = threading.Thread(target=lambda: list(source.frames()))
    thread.start()
    deadline = time.monotonic() + 20
    while len(source.began_ns) < 4 and time.monotonic() < deadline:
        clock.now_ns += NANOSECONDS // 2
        time.sleep(0.002)
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    gaps = [(b - a) / NANOSECONDS for a, b in pairwise(source.began_ns)]
    for gap, (_, told) in zip(gaps, watcher.errors, strict=False):
        assert gap >= told
    assert all(shown is error for shown, _ in watcher.errors)


@given(st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=40))
@pytest.mark.parametrize("kind", [Timeline, LiveTimeline])
def test_media_time_always_rises(kind: type[Timeline], times: list[int | None]) -> None:
    timeline = kind(TICK, 25.0)
    placed = [timeline.place(pts) for pts in times]
    assert all(a < b for a, b in pairwise(placed))


def _rising(longest: int) -> st.SearchStrategy[list[int]]:
    steps = st.lists(st.integers(1, longest), max_size=40)
    return st.builds(
        lambda first, steps: list(accumulate(steps, initial=first)), st.integers(-(2**40), 2**40), steps
    )


@given(
    st.one_of(
        st.tuples(st.just(Timeline), _rising(2**40)), st.tuples(st.just(LiveTimeline), _rising(450_000))
    )
)
def test_rising_times_pass_unchanged_from_zero_on(given: tuple[type[Timeline], list[int]]) -> None:
    kind, times = given
    timeline = kind(TICK, 25.0)
    below = min([0, *times])
    assert [timeline.place(pts) for pts in times] == [pts - below for pts in times]


def test_a_clock_that_jumps_back_goes_on_at_its_own_pace() -> None:
    timeline = LiveTimeline(TICK, 25.0)
    assert [timeline.place(p) for p in (90_000, 93_600, 0, 3_600, 9_000)] == [
        90_000,
        93_600,
        97_200,
        100_800,
        106_200,
    ]


def test_pictures_dated_hours_ahead_do_not_move_a_live_clock() -> None:
    timeline = LiveTimeline(TICK, 25.0)
    hours = 10 * 3600 * 90_000
    stamps = (0, 3_600, 7_200 + hours, 10_800, 14_400, 18_000 - hours, 21_600)
    assert [timeline.place(p) for p in stamps] == [number * 3_600 for number in range(7)]
    timeline = LiveTimeline(TICK, 25.0)
    assert [timeline.place(p) for p in (0, 450_000, 900_001)] == [0, 450_000, 453_600]


def test_a_file_keeps_its_distances_over_a_jump_back_and_holds_out_a_little_one() -> None:
    timeline = Timeline(TICK, 25.0)
    assert [timeline.place(p) for p in (90_000, 93_600, 0, 3_600, 9_000)] == [
        90_000,
        93_600,
        97_200,
        100_800,
        106_200,
    ]
    timeline = Timeline(TICK, 25.0)
    assert [timeline.place(p) for p in (3_600, 7_200, 7_200, 3_600, 10_800)] == [
        3_600,
        7_200,
        7_201,
        7_202,
        10_800,
    ]


def test_times_that_begin_late_go_on_from_those_that_were_filled() -> None:
    timeline = Timeline(TICK, 25.0)
    assert [timeline.place(p) for p in (None, None, 0, 1_800, 5_400)] == [0, 3_600, 7_200, 9_000, 12_600]


def test_missing_times_are_filled_with_the_frame_rate() -> None:
    timeline = Timeline(TICK, 25.0)
    assert [timeline.place(p) for p in (None, None, 9_000, None)] == [0, 3_600, 9_000, 12_600]


def camera(source: str, **capture: object) -> CameraConfig:
    return CameraConfig(name="door", source=source, capture=CaptureConfig(**capture))  # type: ignore[arg-type]


def opened(config: CameraConfig) -> object:
    return open_source(config, Pools(), Watcher(), SystemClock())


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("rtsp://10.0.0.9/live", RtspSource),
        ("RTSPS://cam:322/live", RtspSource),
        ("/dev/video0", V4l2Source),
        ("v4l2:/dev/v4l/by-id/usb-cam", V4l2Source),
        (__file__, FileSource),
    ],
)
def test_the_source_string_decides(source: str, kind: type) -> None:
    assert isinstance(opened(camera(source)), kind)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "no source"),
        ("http://host/stream", "http://"),
        ("rtsp://", "no host"),
        ("rtsp://host:99999/x", "not a valid"),
        ("/nowhere/clip.mp4", "does not exist"),
        ("/", "folder"),
    ],
)
def test_anything_else_is_one_clear_error(source: str, words: str) -> None:
    # The config refuses some of these already; here each one has to have an answer.
    config = camera("rtsp://host/path").model_copy(update={"source": source})
    with pytest.raises(CaptureError, match=words) as caught:
        opened(config)
    assert caught.value.hint


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_credentials_survive_the_way_into_the_address(user: str, password: str) -> None:
    from urllib.parse import unquote, urlsplit

    try:
        (user + password).encode()
    except UnicodeEncodeError:
        return
    address = CameraAddress("rtsp://h:5/p?q=1", CaptureConfig(user=user, password=SecretStr(password)))
    parts = urlsplit(address.url())
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.hostname, parts.port, parts.path, parts.query) == ("h", 5, "/p", "q=1")
    assert str(address) == "rtsp://h:5/p"


def test_config_beats_credentials_in_the_address() -> None:
    address = CameraAddress("rtsp://a:b@[fe80::1]/p", CaptureConfig(user="u", password=SecretStr("w")))
    assert address.url() == "rtsp://u:w@[fe80::1]/p"
    assert repr(address) == "CameraAddress('rtsp://[fe80::1]/p')"


def test_the_codec_library_logs_nothing_by_itself() -> None:
    # Its messages hold addresses with credentials.
    assert av.logging.get_level() is None
