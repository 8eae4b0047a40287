"""One thing over time, as the tracker sees it at one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from veil.domain.detection import CODES, KINDS, ObjectClass, corners_of
from veil.domain.geometry import Box
from veil.domain.table import Table


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
        is_sure: whether any detection of it so far was (`Detection.is_sure`).
        is_confirmed: whether any detection of it so far scored enough to mask; before, it is a candidate that
            masks nothing, and what the look-back covers once it is confirmed.
    """

    track_id: int
    kind: ObjectClass
    state: TrackState
    box: Box
    detected: Box | None
    score: float
    first_seen_ns: int
    last_seen_ns: int
    is_sure: bool = True
    is_confirmed: bool = True


@final
class TrackTable(Table[Track]):
    """Tracks at one frame as columns, each of shape (n,) but for the boxes, shape (n, 4), corners in pixels.

    Attributes:
        ids, kinds: int64; kinds into KINDS.
        boxes: where to mask.
        detected: the detections' own boxes, NaN where a track is held.
        scores: of the last detections.
        first_seen_ns, last_seen_ns: media time, int64.
        sure, confirmed: whether any detection so far was (`Track`), bool.
    """

    def __init__(
        self,
        ids: NDArray[np.int64],
        kinds: NDArray[np.int64],
        boxes: NDArray[np.float64],
        detected: NDArray[np.float64],
        scores: NDArray[np.float64],
        first_seen_ns: NDArray[np.int64],
        last_seen_ns: NDArray[np.int64],
        sure: NDArray[np.bool_],
        confirmed: NDArray[np.bool_],
    ) -> None:
        self.ids = ids
        self.kinds = kinds
        self.boxes = boxes
        self.detected = detected
        self.scores = scores
        self.first_seen_ns = first_seen_ns
        self.last_seen_ns = last_seen_ns
        self.sure = sure
        self.confirmed = confirmed

    @classmethod
    def of(cls, tracks: Sequence[Track]) -> TrackTable:
        """`tracks` itself where it is a table."""
        if isinstance(tracks, TrackTable):
            return tracks
        nowhere = Box(np.nan, np.nan, np.nan, np.nan)
        return cls(
            np.array([track.track_id for track in tracks], np.int64),
            np.array([CODES[track.kind] for track in tracks], np.int64),
            corners_of([track.box for track in tracks]),
            corners_of([track.detected or nowhere for track in tracks]),
            np.array([track.score for track in tracks], np.float64),
            np.array([track.first_seen_ns for track in tracks], np.int64),
            np.array([track.last_seen_ns for track in tracks], np.int64),
            np.array([track.is_sure for track in tracks], np.bool_),
            np.array([track.is_confirmed for track in tracks], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Which tracks a detection of this frame belongs to."""
        return ~np.isnan(self.detected[:, 0])

    def rows(self, chosen: NDArray[np.bool_]) -> TrackTable:
        """Those rows alone; itself where that is all."""
        if chosen.all():
            return self
        return TrackTable(
            self.ids[chosen],
            self.kinds[chosen],
            self.boxes[chosen],
            self.detected[chosen],
            self.scores[chosen],
            self.first_seen_ns[chosen],
            self.last_seen_ns[chosen],
            self.sure[chosen],
            self.confirmed[chosen],
        )

    def ids_by_class(self) -> Mapping[str, list[int]]:
        """Of the confirmed ones, of each class that is there."""
        known = self.confirmed
        ids = {str(kind): self.ids[known & (self.kinds == code)].tolist() for code, kind in enumerate(KINDS)}
        return {kind: of_kind for kind, of_kind in ids.items() if of_kind}

    def _made(self) -> tuple[Track, ...]:
        integers = (self.ids, self.kinds, self.first_seen_ns, self.last_seen_ns)
        ids, kinds, first_ns, last_ns = (column.tolist() for column in integers)
        boxes, detected, scores = self.boxes.tolist(), self.detected.tolist(), self.scores.tolist()
        sure, confirmed = self.sure.tolist(), self.confirmed.tolist()
        return tuple(
            Track(
                ids[row],
                KINDS[kinds[row]],
                TrackState.SEEN if is_seen else TrackState.HELD,
                Box(*boxes[row]),
                Box(*detected[row]) if is_seen else None,
                scores[row],
                first_ns[row],
                last_ns[row],
                sure[row],
                confirmed[row],
            )
            for row, is_seen in enumerate(self.seen.tolist())
        )
