"""All faults, each as a function that arms or does it at a rig with random strength."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from fault.parts import LIES, SIZES
from fault.rig import DEADLINE_S, PATIENCE_S, STUCK_AFTER_S, Rig
from veil.errors import DetectorError

Do = Callable[[Rig, random.Random], None]


@dataclass(frozen=True)
class Fault:
    """One kind.

    Attributes:
        weight: how often it is chosen; those that take long are rarer.
        viewer_is_cut_off: the viewer itself gets nothing while it lasts, so nothing is asked of its pictures.
    """

    name: str
    do: Do
    weight: float = 1.0
    viewer_is_cut_off: bool = False


_RAISED = (
    lambda: RuntimeError("a runtime's text with \udcff in it"),
    lambda: DetectorError("no"),
    MemoryError,
    lambda: ZeroDivisionError("division"),
    lambda: ValueError("x" * 5000),
)


def _armed(name: str, most: int = 1) -> Do:
    return lambda rig, chance: rig.switches.arm(name, times=chance.randint(1, most))


def _raises(times: int) -> Do:
    return lambda rig, chance: rig.switches.arm(
        "detector_raises", times=chance.randint(1, times), value=chance.choice(_RAISED)()
    )


def _lies(rig: Rig, chance: random.Random) -> None:
    rig.switches.arm("detector_lies", times=chance.randint(1, 6), value=chance.choice(LIES))


def _late(rig: Rig, chance: random.Random) -> None:
    value = DEADLINE_S * chance.uniform(0.8, 2.5)
    rig.switches.arm("detector_late", times=chance.randint(1, 3), value=value)


def _stuck(rig: Rig, chance: random.Random) -> None:
    rig.switches.arm("detector_stuck", value=STUCK_AFTER_S * chance.uniform(0.6, 2.5))


def _exits(rig: Rig, chance: random.Random) -> None:
    rig.switches.arm("detector_raises", value=SystemExit(3))


def _for(name: str, low: float, high: float) -> Do:
    return lambda rig, chance: rig.switches.arm(name, value=chance.uniform(low, high))


def _disk(name: str, most: int, for_s: float = 3600) -> Do:
    return lambda rig, chance: rig.switches.arm(name, times=chance.randint(1, most), for_s=for_s)


def _slow_disk(rig: Rig, chance: random.Random) -> None:
    rig.switches.arm("recording_disk_slow", times=chance.randint(1, 3), value=chance.uniform(0.05, 0.4))


def _resize(rig: Rig, chance: random.Random) -> None:
    rig.switches.arm("resize", value=chance.choice(SIZES))


def _server_stalls(rig: Rig, chance: random.Random) -> None:
    rig.server.stalled.set()
    time.sleep(chance.uniform(0.05, 0.4))
    rig.server.stalled.clear()


def _server_killed(rig: Rig, chance: random.Random) -> None:
    rig.server.kill()
    time.sleep(chance.uniform(0.05, 0.3))
    rig.server.back()


def _log_full(rig: Rig, chance: random.Random) -> None:
    # More often than the reserve helps; something is logged as the whole frame begins.
    rig.switches.arm("log_disk_full", times=chance.randint(1, 6), for_s=0.5)
    rig.switches.arm("detector_raises", times=2, value=RuntimeError("to be logged"))


def _log_raises(rig: Rig, chance: random.Random) -> None:
    # In one of the threads that write: detector, capture, output, recorder.
    rig.switches.arm("log_raises", times=chance.randint(1, 3))
    which = chance.choice(("detector_raises", "backwards", "painter_raises", "black"))
    value = RuntimeError("to be logged") if which == "detector_raises" else None
    rig.switches.arm(which, value=value)


def _two(rig: Rig, chance: random.Random) -> None:
    for fault in chance.sample([one for one in FAULTS if one.do is not _two and one.weight >= 1], 2):
        fault.do(rig, chance)


FAULTS: tuple[Fault, ...] = (
    Fault("detector raises", _raises(4), 2),
    Fault("detector raises on and on", _raises(60), 0.3),
    Fault("detector exits", _exits),
    Fault("detector late", _late, 2),
    Fault("detector stuck", _stuck, 0.7),
    Fault("detector lies", _lies, 4),
    Fault("detector answers for the frame before", _armed("detector_answers_again", 3)),
    Fault("tracker raises", _armed("tracker_raises")),
    Fault("painter raises", _armed("painter_raises", 2)),
    Fault("masker raises", _armed("masker_raises")),
    Fault("cover of another frame", _armed("cover_of_other_frame", 3)),
    Fault("policy raises", _armed("policy_raises")),
    Fault("look-back raises on push", _armed("lookback_push_raises")),
    Fault("look-back raises on take", _armed("lookback_take_raises")),
    Fault(
        "encoder missing",
        lambda rig, chance: (_armed("encoder_missing", 3)(rig, chance), rig.stop_pipeline())[0],
    ),
    Fault("encoder raises", _armed("encoder_raises", 2)),
    Fault("encoder slow", _for("encoder_slow", 0.05, 0.5)),
    Fault("encoder stuck", _for("encoder_stuck", PATIENCE_S * 0.8, PATIENCE_S * 1.6), 0.2),
    Fault("flush raises", lambda rig, chance: (_armed("flush_raises")(rig, chance), _resize(rig, chance))[0]),
    Fault("log raises", _log_raises, 2),
    Fault("log's disk full", _log_full),
    Fault("log's disk broken", _disk("log_disk_broken", 2, 0.5)),
    Fault("recording's disk full", _disk("recording_disk_full", 3, 1.0)),
    Fault("recording's disk broken", _disk("recording_disk_broken", 3, 1.0)),
    Fault("recording's fsync fails", _disk("recording_disk_broken_fsync", 1, 1.5)),
    Fault("recording's fdatasync fails", _disk("recording_disk_broken_fdatasync", 2, 1.0)),
    Fault("recording's ftruncate fails", _disk("recording_disk_broken_ftruncate", 1, 1.5)),
    Fault("recording's disk slow", _slow_disk),
    Fault("sink raises", _armed("sink_raises")),
    Fault("frame sink raises", _armed("frame_sink_raises")),
    Fault("RTSP server stalls", _server_stalls, 0.6, viewer_is_cut_off=True),
    Fault("RTSP server killed", _server_killed, 0.6, viewer_is_cut_off=True),
    Fault("source raises", _armed("source_raises")),
    Fault("source breaks", _armed("source_breaks")),
    Fault("source silent", _for("silent", 0.05, 0.6)),
    Fault("source hangs", _for("hangs", 0.1, 0.8), 0.5),
    Fault("source cut", _for("cut", 0.01, 0.5)),
    Fault("source changes its size", _resize, 2),
    Fault("source freezes", _armed("frozen", 8)),
    Fault("source black", _armed("black", 5)),
    Fault("source jumps ahead", _for("jump", 0.05, 100_000)),
    Fault("source jumps back", _armed("backwards", 2)),
    Fault("source bursts", _armed("burst", 2)),
    Fault("stopped", lambda rig, chance: rig.stop_pipeline()),
    Fault("two at once", _two, 4),
)
