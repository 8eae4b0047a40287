"""What is read on the reader's thread stays good when the connection is over."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.packet import Packet

from media import Clip, write_clip
from veil.capture.decoder import Aim, Decoder, Limits
from veil.capture.packets import Opened, PacketReader, Phase
from veil.errors import CaptureError


def _failure(error: av.FFmpegError, phase: Phase) -> CaptureError:
    return CaptureError(f"{error} while {phase}")


def test_packets_of_a_connection_that_has_ended_are_decoded(tmp_path: Path) -> None:
    clip = Clip(frames=30, options=(("x264-params", "sar=16/15"),))
    path = write_clip(tmp_path / "a.mkv", clip)
    pictures = 0
    with PacketReader(lambda: av.open(str(path)), _failure) as reader:
        # The camera hung up before anybody looked: the stream is gone, and only what was handed over remains.
        assert reader.ended_within(10)
        opened = reader.get(1)
        assert isinstance(opened, Opened)
        assert (opened.frame_rate, opened.time_base.denominator) == (30, 1000)
        decoder = Decoder.of_context(opened.context, Limits(640, 480), 1, Aim.LIVE)
        for _ in range(clip.frames):
            packet = reader.get(1)
            assert isinstance(packet, Packet)
            pictures += len(decoder.decode(packet))
        assert decoder.sample_aspect == Fraction(16, 15)
        with pytest.raises(EOFError):
            reader.get(1)
    assert pictures >= 28
