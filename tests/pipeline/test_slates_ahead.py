"""Slates are there before a stream is, so that two encoders are never open at a time."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import Any

from veil.assemble import SlatesAhead, emitter_makers, slates
from veil.config_load import load_config
from veil.domain.clock import SystemClock
from veil.emit import EncoderSpec
from veil.encode.annexb import parameter_sets
from veil.encode.encoder import Encoder
from veil.encode.packet import StreamInfo
from veil.frames.picture import ColorInfo

SPEC = EncoderSpec(320, 180, Fraction(1, 90_000), ColorInfo(), 1)


def test_slates_are_made_before_the_encoder_is_opened_and_only_once() -> None:
    done: list[str] = []
    ahead = SlatesAhead(lambda stream: done.append(f"slate {stream.epoch}") or (stream, stream))  # type: ignore[arg-type, return-value, func-returns-value]

    def open_encoder(spec: EncoderSpec) -> AbstractContextManager[Any]:
        done.append(f"encoder {spec.epoch}")
        return nullcontext()

    camera = load_config(None, {}).camera_for("c", "rtsp://camera/1")
    makers = ahead.before(replace(emitter_makers(camera, lambda: 30.0, SystemClock()), encoder=open_encoder))
    makers.encoder(SPEC)
    stream = StreamInfo("h264", 320, 180, SPEC.time_base, b"sets", epoch=1)
    ahead(stream)
    ahead(stream)
    assert done == ["slate 1", "encoder 1"]
    makers.encoder(replace(SPEC, epoch=2))
    assert done[2:] == ["slate 2", "encoder 2"]
    ahead(replace(stream, epoch=3))
    assert done[4:] == ["slate 3"], "a stream that nobody announced has its slates all the same"


def test_slates_made_ahead_fit_into_the_stream() -> None:
    camera = load_config(None, {}).camera_for("c", "rtsp://camera/1")
    clock = SystemClock()
    ahead = SlatesAhead(slates(camera, lambda: 30.0, clock))
    makers = ahead.before(emitter_makers(camera, lambda: 30.0, clock))
    with makers.encoder(SPEC) as encoder:
        assert isinstance(encoder, Encoder)
        one, two = ahead(encoder.stream)
        assert parameter_sets(one.data) == parameter_sets(two.data) == encoder.stream.extradata
    assert one.is_slate
    assert two.is_slate


def test_what_a_camera_loaded_is_set_aside_from_the_search_for_garbage() -> None:
    program = (
        "import gc; from veil.host.memory import load_without_search, set_aside_what_is_loaded;"
        "searches = lambda: sum(each['collections'] for each in gc.get_stats());"
        "load_without_search(); before = searches(); import veil.config; print(searches() - before);"
        "set_aside_what_is_loaded(); print(len(gc.get_objects()), gc.get_freeze_count(), int(gc.isenabled()))"
    )
    told = subprocess.check_output([sys.executable, "-c", program])
    searches, left, frozen, is_enabled = map(int, told.split())
    assert searches == 0
    assert left < 1000 < frozen
    assert is_enabled == 1
