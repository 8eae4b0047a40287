"""Decodes a file's packets: what is whole is shown, and for all else something stands in.

A decoder goes on after damage, and what it shows then is predicted from what was lost: faces that no
detector was trained to find. So nothing is shown from the damage on to the next keyframe, and each picture
that is left out is told with its time, so that a hidden one takes its place.

Several packets are decoded at once, and an error then does not say which of them it belongs to. At the first
sign of damage the present group of pictures is decoded again one by one, and so is the rest of the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import av
from av.packet import Packet
from av.video.stream import VideoStream

from veil.capture.decoder import DecodeError, Decoder

_MOST_BYTES: Final = 64 << 20
_MOST_IN_FLIGHT: Final = 64
# Packets that are decoded and never shown (alternate references).
_WITH_HIDDEN_PACKETS: Final = frozenset({"vp8"})


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a packet hands on to its picture. An object for each: the library keeps it by its address, and
    would lose one number that two packets share."""

    number: int


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A packet with its place in the order of decoding."""

    number: int
    packet: Packet[VideoStream]

    def decoded_by(self, decoder: Decoder) -> list[av.VideoFrame]:
        """Pictures that carry the numbers of their packets. Raises DecodeError."""
        if self.packet.is_corrupt:
            raise DecodeError("A packet is not whole.")
        self.packet.opaque = _Mark(self.number)
        return decoder.decode(self.packet)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that may be looked at."""

    frame: av.VideoFrame
    pts: int | None


@dataclass(frozen=True, slots=True)
class Absent:
    """A picture that could not be decoded without damage. `like`: another of the same size and colours."""

    like: av.VideoFrame
    pts: int | None


Mended: TypeAlias = Shown | Absent
Stamp: TypeAlias = Callable[["Packet[VideoStream] | av.VideoFrame"], int | None]


class Mender:
    """For one pass through one stream.

    Args:
        together: decodes several packets at once.
        one_by_one: makes a decoder whose errors belong to the packet just given.
        stamp: the time of a packet or picture.
    """

    def __init__(
        self, stream: VideoStream, together: Decoder, one_by_one: Callable[[], Decoder], stamp: Stamp
    ) -> None:
        context = stream.codec_context
        self._is_intra_only = context.codec.intra_only
        self._tells_all = context.name not in _WITH_HIDDEN_PACKETS
        self._together = together
        self._one_by_one = one_by_one
        self._stamp = stamp
        self._sent = 0
        self._is_stamped = False
        self._group: list[_Numbered] = []
        self._group_bytes = 0
        # By number: times of pictures that are still to come, and of those that will not.
        self._open: dict[int, int | None] = {}
        self._broken: dict[int, int | None] = {}
        self._key = -1
        self._key_pts: int | None = None
        self._bad_from: int | None = None
        self._again_from = sys.maxsize
        self._fed = -1
        self._last: av.VideoFrame | None = None

    def pictures(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Mended]:
        """All pictures in order of presentation. Raises FrameTooLargeError."""
        source = map(self._numbered, packets)
        for one in chain(source, [None]):
            if one is not None:
                self._keep(one)
            frames = self._decoded_together(one)
            if frames is None:
                yield from self._carefully(chain(self._group, source))
                return
            for frame in frames:
                self._forget_before(frame)
                yield from self._show(frame)

    @property
    def missing(self) -> int:
        """Packets that gave no picture and no stand-in."""
        return len(self._open) + len(self._broken) if self._tells_all else 0

    def _numbered(self, packet: Packet[VideoStream]) -> _Numbered:
        number = self._sent
        self._sent += 1
        if not packet.is_discard:
            self._open[number] = self._stamp(packet)
            self._is_stamped |= self._open[number] is not None
        return _Numbered(number, packet)

    def _keep(self, one: _Numbered) -> None:
        """For decoding it again. Of a group that is too long nothing is kept: its rest would be hidden."""
        if self._group_bytes + one.packet.size > _MOST_BYTES:
            self._group = []
            self._group_bytes = 0
        self._group.append(one)
        self._group_bytes += one.packet.size

    def _forget_before(self, frame: av.VideoFrame) -> None:
        mark = frame.opaque
        if frame.key_frame and isinstance(mark, _Mark):
            self._group = [one for one in self._group if one.number >= mark.number]
            self._group_bytes = sum(one.packet.size for one in self._group)

    def _decoded_together(self, one: _Numbered | None) -> list[av.VideoFrame] | None:
        """None at any sign of damage."""
        try:
            frames = self._together.decode(None) if one is None else one.decoded_by(self._together)
        except DecodeError:
            return None
        return None if any(frame.is_corrupt for frame in frames) else frames

    def _carefully(self, packets: Iterable[_Numbered]) -> Iterator[Mended]:
        decoder = self._one_by_one()
        is_fed = False
        self._bad_from = -1
        for one in packets:
            self._again_from = min(self._again_from, one.number)
            if self._bad_from is not None and (one.packet.is_keyframe or self._is_intra_only):
                if is_fed:
                    yield from self._drained(decoder)
                    decoder.flush()
                self._bad_from, self._key, self._key_pts = None, one.number, self._stamp(one.packet)
            if self._bad_from is not None:
                self._give_up(one.number)
                continue
            is_fed, self._fed = True, one.number
            try:
                frames = one.decoded_by(decoder)
            except DecodeError:
                self._give_up(one.number)
                continue
            for frame in frames:
                yield from self._show(frame)
        yield from self._drained(decoder)
        if self._last is not None:
            yield from self._stand_ins(self._left_out(), self._last)

    def _drained(self, decoder: Decoder) -> Iterator[Mended]:
        for _ in range(_MOST_IN_FLIGHT):
            try:
                frames = decoder.decode(None)
            except DecodeError:
                continue
            if not frames:
                return
            for frame in frames:
                yield from self._show(frame)

    def _give_up(self, number: int) -> None:
        """The picture of this packet is not shown, and none that may be predicted from it."""
        pts = self._broken[number] = self._open.pop(number, None)
        is_leading = (
            pts is not None and self._key_pts is not None and pts < self._key_pts and number > self._key
        )
        # Pictures that come before their keyframe are not what others are predicted from.
        if not is_leading and self._bad_from is None:
            self._bad_from = number

    def _show(self, frame: av.VideoFrame) -> Iterator[Mended]:
        number = self._number_of(frame)
        if number not in self._open:
            # Shown already, before the group was decoded again.
            return
        if frame.is_corrupt or (self._bad_from is not None and number > self._bad_from):
            self._give_up(number)
            return
        pts = self._open.pop(number)
        if self._again_from <= number:
            yield from self._stand_ins(self._due(number, pts), self._last or frame)
        self._last = frame
        yield Shown(frame, self._stamp(frame))

    def _number_of(self, frame: av.VideoFrame) -> int:
        mark = frame.opaque
        if isinstance(mark, _Mark):
            return mark.number
        # A decoder that does not hand on what a packet carries.
        stamp = self._stamp(frame)
        same = (number for number, open_stamp in self._open.items() if open_stamp == stamp)
        return next(same, next(iter(self._open), -1))

    def _left_out(self) -> dict[int, int | None]:
        """Numbers and times of what was given up, and of what was decoded again and has not come out."""
        late = {number: pts for number, pts in self._open.items() if self._again_from <= number <= self._fed}
        known = {**self._broken, **late}
        # Where packets have times, those without one hold no picture of their own (second fields).
        return {number: pts for number, pts in known.items() if pts is not None or not self._is_stamped}

    def _due(self, number: int, pts: int | None) -> list[int]:
        """Those left out that belong before the picture with this number and time."""

        def belongs_before(other: int, time: int | None) -> bool:
            # Times alone do not tell: clocks jump where recordings were joined.
            is_of_earlier_group = other < self._key <= number
            if time is None or pts is None:
                return is_of_earlier_group or (other in self._broken and other < number)
            return is_of_earlier_group or time < pts

        return [other for other, time in self._left_out().items() if belongs_before(other, time)]

    def _stand_ins(self, numbers: Iterable[int], like: av.VideoFrame) -> Iterator[Mended]:
        left_out = self._left_out()
        for number in sorted(numbers, key=lambda number: (left_out[number] or 0, number)):
            self._open.pop(number, None)
            self._broken.pop(number, None)
            yield Absent(like, left_out[number])
