"""One thing over time, as the tracker sees it at one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box


class TrackState(StrEnum):
    """`SEEN`: a detection of this frame belongs to it. `HELD`: not seen now, box predicted and growing."""

    SEEN = "seen"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Track:
    """A track at one frame.

    Attributes:
        track_id: unique within one camera process, never reused.
        box: where to mask, in pixels: the united detection and prediction when seen (never smaller than the
            detection), the grown prediction when held.
        detected: the detection's own box, None when held.
        score: of the last detection.
        first_seen_ns, last_seen_ns: media time.
    """

    track_id: int
    kind: ObjectClass
    state: TrackState
    box: Box
    detected: Box | None
    score: float
    first_seen_ns: int
    last_seen_ns: int
