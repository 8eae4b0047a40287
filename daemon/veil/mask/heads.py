"""Heads hold faces: where a head's face was seen once, that part of the head stays hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.domain.track import Track
from veil.mask.targets import Target


@dataclass(frozen=True, slots=True)
class _Part:
    """A face's box in shares of its head's box."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def of(cls, face: Box, head: Box) -> _Part:
        width, height = max(head.width, 1.0), max(head.height, 1.0)
        return cls(
            (face.x0 - head.x0) / width,
            (face.y0 - head.y0) / height,
            (face.x1 - head.x0) / width,
            (face.y1 - head.y0) / height,
        )

    def within(self, head: Box) -> Box:
        width, height = max(head.width, 1.0), max(head.height, 1.0)
        return Box(
            head.x0 + self.x0 * width,
            head.y0 + self.y0 * height,
            head.x0 + self.x1 * width,
            head.y0 + self.y1 * height,
        )


class HeadHold:
    """Remembers for each head track where in it a face was last seen, for as long as the head track lives.

    A face belongs to the head whose centre is nearest among those that contain the face's centre.
    """

    def __init__(self) -> None:
        self._parts: dict[int, _Part] = {}

    def targets(self, tracks: Sequence[Track]) -> tuple[Target, ...]:
        """Face targets for the heads of this frame whose face was seen before and is not seen now."""
        heads = [track for track in tracks if track.kind is ObjectClass.HEAD]
        if not heads:
            self._parts.clear()
            return ()
        seen = self._learn(tracks, heads)
        alive = {head.track_id for head in heads}
        self._parts = {track_id: part for track_id, part in self._parts.items() if track_id in alive}
        return tuple(
            Target(ObjectClass.FACE, self._parts[head.track_id].within(head.box), head.score, head.track_id)
            for head in heads
            if head.track_id in self._parts and head.track_id not in seen
        )

    def _learn(self, tracks: Sequence[Track], heads: Sequence[Track]) -> set[int]:
        """Ids of the heads whose face is seen in this frame; keeps where in the head it is."""
        faces = [
            track.detected
            for track in tracks
            if track.kind is ObjectClass.FACE and track.detected is not None
        ]
        seen: set[int] = set()
        if not faces:
            return seen
        places = [head.detected or head.box for head in heads]
        corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in places])
        points = np.array([face.centre for face in faces])[:, None]
        inside = ((corners[:, :2] <= points) & (points <= corners[:, 2:])).all(axis=2)
        away = ((corners[:, :2] + corners[:, 2:]) / 2 - points) ** 2
        nearest = np.argmin(np.where(inside, away.sum(axis=2), np.inf), axis=1)
        for index in np.flatnonzero(inside.any(axis=1)).tolist():
            head = heads[nearest[index]]
            self._parts[head.track_id] = _Part.of(faces[index], places[nearest[index]])
            seen.add(head.track_id)
        return seen
