"""Heads hold faces: where a head's face was seen once, that part of the head stays hidden."""

from __future__ import annotations

from typing import Final

import numpy as np

from veil.domain.detection import CODES, ObjectClass
from veil.domain.track import TrackTable
from veil.mask.sightings import Floats, Ints
from veil.mask.targets import TargetTable

_FACE: Final = CODES[ObjectClass.FACE]
_HEAD: Final = CODES[ObjectClass.HEAD]


class HeadHold:
    """Remembers for each head track where in it a face was last seen, for as long as the head track lives.

    A face belongs to the head whose centre is nearest among those that contain the face's centre.
    """

    def __init__(self) -> None:
        self._ids: Ints = np.zeros(0, np.int64)
        # A face's corners in shares of its head's box; NaN where none was seen.
        self._parts: Floats = np.zeros((0, 4))

    def targets(self, tracks: TrackTable) -> TargetTable:
        """Face targets for the heads of this frame whose face was seen before and is not seen now."""
        heads = np.flatnonzero(tracks.kinds == _HEAD)
        ids = tracks.ids[heads]
        parts = self._known(ids)
        seen = self._learn(tracks, heads, parts)
        self._ids, self._parts = ids, parts
        held = np.flatnonzero(~seen & ~np.isnan(parts[:, 0]))
        boxes = tracks.boxes[heads[held]]
        low, sides = boxes[:, :2], _sides(boxes)
        inside = [low + parts[held, :2] * sides, low + parts[held, 2:] * sides]
        return TargetTable(
            np.full(len(held), _FACE),
            np.concatenate(inside, axis=1),
            tracks.scores[heads[held]],
            ids[held],
        )

    def _known(self, ids: Ints) -> Floats:
        """What is remembered of the heads `ids`."""
        parts = np.full((len(ids), 4), np.nan)
        _, now, before = np.intersect1d(ids, self._ids, assume_unique=True, return_indices=True)
        parts[now] = self._parts[before]
        return parts

    @staticmethod
    def _learn(tracks: TrackTable, heads: Ints, parts: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Writes into `parts` where in its head each face of this frame is; which heads have one."""
        seen = np.zeros(len(heads), np.bool_)
        faces = tracks.detected[np.flatnonzero((tracks.kinds == _FACE) & tracks.seen)]
        if not len(faces) or not len(heads):
            return seen
        places = np.where(tracks.seen[heads, None], tracks.detected[heads], tracks.boxes[heads])
        inside = np.ones((len(faces), len(heads)), np.bool_)
        away = np.zeros((len(faces), len(heads)))
        for low, high in ((0, 2), (1, 3)):
            middle = ((faces[:, low] + faces[:, high]) / 2)[:, None]
            inside &= (places[:, low] <= middle) & (middle <= places[:, high])
            away += ((places[:, low] + places[:, high]) / 2 - middle) ** 2
        nearest = np.argmin(np.where(inside, away, np.inf), axis=1)
        of_head = np.flatnonzero(inside.any(axis=1))
        at = nearest[of_head]
        corner, sides = places[at, :2], _sides(places[at])
        # of two faces in one head the later one stays
        parts[at, :2] = (faces[of_head, :2] - corner) / sides
        parts[at, 2:] = (faces[of_head, 2:] - corner) / sides
        seen[at] = True
        return seen


def _sides(boxes: Floats) -> Floats:
    """Widths and heights, at least a pixel."""
    sides: Floats = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    return sides
