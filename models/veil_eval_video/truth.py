"""What is where in a made clip: exact, because we put it there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.errors import UsageError

SUFFIX = ".truth.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One object in one frame.

    Attributes:
        track_id: the same for this object in all frames of its clip.
        box: in pixels of the frame; may reach over its edges.
        visible: share of the box that neither the frame's edge nor anything in front cuts off, 0..1.
    """

    track_id: int
    kind: ObjectClass
    box: Box
    visible: float

    @property
    def size(self) -> float:
        """By what an object is sorted into sizes: a plate's width, a face's longer side; pixels."""
        if self.kind is ObjectClass.PLATE:
            return self.box.width
        return max(self.box.width, self.box.height)


@dataclass(frozen=True, slots=True)
class Truth:
    """A clip and its objects, frame by frame.

    Attributes:
        profile: how the picture was made worse (`degrade.PROFILES`).
    """

    clip: str
    width: int
    height: int
    frame_rate: int
    profile: str
    seed: int
    frames: tuple[tuple[TrueObject, ...], ...]

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.frame_rate


def write_truth(truth: Truth, clip: Path) -> Path:
    """Writes `truth` beside `clip`; returns the path."""
    path = clip.with_suffix(SUFFIX)
    head = {
        "schema": SCHEMA,
        "clip": truth.clip,
        "width": truth.width,
        "height": truth.height,
        "frame_rate": truth.frame_rate,
        "profile": truth.profile,
        "seed": truth.seed,
    }
    frames = [[_to_json(each) for each in frame] for frame in truth.frames]
    path.write_text(json.dumps({**head, "frames": frames}) + "\n")
    return path


def read_truth(path: Path) -> Truth:
    """Raises UsageError for a file that is not one of `write_truth`."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise UsageError(f"{path} has schema {data['schema']}.", hint="Make the clips again.")
        return Truth(
            clip=str(data["clip"]),
            width=int(data["width"]),
            height=int(data["height"]),
            frame_rate=int(data["frame_rate"]),
            profile=str(data["profile"]),
            seed=int(data["seed"]),
            frames=tuple(tuple(_from_json(each) for each in frame) for frame in data["frames"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read as truth: {error}", hint="Make the clips again with `truth`."
        ) from error


def read_folder(folder: Path) -> list[Truth]:
    """All clips of a folder, by name. Raises UsageError where there is none."""
    found = [read_truth(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not found:
        raise UsageError(f"{folder} holds no clips with truth.", hint="Make some with `truth --out FOLDER`.")
    return found


def _to_json(each: TrueObject) -> dict[str, object]:
    box = each.box
    corners = [round(edge, 2) for edge in (box.x0, box.y0, box.x1, box.y1)]
    return {
        "id": each.track_id,
        "class": each.kind.value,
        "box": corners,
        "visible": round(each.visible, 3),
    }


def _from_json(data: dict[str, Any]) -> TrueObject:
    x0, y0, x1, y1 = (float(edge) for edge in data["box"])
    return TrueObject(
        int(data["id"]), ObjectClass(data["class"]), Box(x0, y0, x1, y1), float(data["visible"])
    )
