"""What has to be hidden in one frame, before policy."""

from __future__ import annotations

from dataclasses import dataclass

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box


@dataclass(frozen=True, slots=True)
class Target:
    """One object in one frame.

    Attributes:
        kind: its class.
        box: where it is or may be, in pixels of the frame, without the policy's margin. May reach over edges.
        score: of the last detection that it comes from, 0..1.
        track_id: of the track that it comes from.
    """

    kind: ObjectClass
    box: Box
    score: float
    track_id: int
