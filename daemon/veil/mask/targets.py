"""What has to be hidden in one frame, before policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from veil.domain.detection import CODES, KINDS, ObjectClass, corners_of
from veil.domain.geometry import Box
from veil.domain.table import Table


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


@final
class TargetTable(Table[Target]):
    """Targets as columns, each of shape (n,) but for `boxes`, shape (n, 4), corners in pixels.

    Attributes:
        kinds, ids: int64; kinds into KINDS, ids of tracks.
        boxes, scores: float64.
    """

    def __init__(
        self,
        kinds: NDArray[np.int64],
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
        ids: NDArray[np.int64],
    ) -> None:
        self.kinds = kinds
        self.boxes = boxes
        self.scores = scores
        self.ids = ids

    @classmethod
    def of(cls, targets: Sequence[Target]) -> TargetTable:
        """`targets` itself where it is a table."""
        if isinstance(targets, TargetTable):
            return targets
        return cls(
            np.array([CODES[target.kind] for target in targets], np.int64),
            corners_of([target.box for target in targets]),
            np.array([target.score for target in targets], np.float64),
            np.array([target.track_id for target in targets], np.int64),
        )

    @classmethod
    def joined(cls, tables: Sequence[TargetTable]) -> TargetTable:
        """All rows, in order; at least one table."""
        if len(filled := [table for table in tables if len(table)] or tables[:1]) == 1:
            return filled[0]
        return cls(
            np.concatenate([table.kinds for table in filled]),
            np.concatenate([table.boxes for table in filled]),
            np.concatenate([table.scores for table in filled]),
            np.concatenate([table.ids for table in filled]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def _made(self) -> tuple[Target, ...]:
        columns = self.kinds.tolist(), self.boxes.tolist(), self.scores.tolist(), self.ids.tolist()
        return tuple(
            Target(KINDS[kind], Box(*box), score, track_id)
            for kind, box, score, track_id in zip(*columns, strict=True)
        )
