"""All pictures decoded once into one file, so that training reads pixels and never decodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from veil_models.dataset import LONGEST, Dataset, size_within
from veil_models.errors import ModelsError
from veil_models.picture_file import Pixels, misfit, read_rgb, tell

__all__ = ["Pack", "Pixels", "build_pack", "open_pack"]


@dataclass(frozen=True, slots=True)
class Pack:
    """Decoded pictures: `pixels` is flat uint8, picture i is `shape[i]` (height, width) RGB at
    `offset[i]`."""

    pixels: Pixels
    offset: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]

    def picture(self, index: int) -> Pixels:
        """A view, [height, width, 3] RGB; copy before writing into it."""
        h, w = (int(v) for v in self.shape[index])
        start = int(self.offset[index])
        return self.pixels[start : start + h * w * 3].reshape(h, w, 3)

    def part(self, indices: Sequence[int]) -> Pack:
        """The pack of a selection of its pictures."""
        return Pack(self.pixels, self.offset[list(indices)], self.shape[list(indices)])


Entry = tuple[str, int, int, int, int]
"""Of each picture: name, height, width, its file's size in bytes and time of change (ns)."""

_NEVER = -1
"""The size of a file whose pixels are not in the pack: no file has it."""


def _decode(job: tuple[str, str, int, int, int]) -> str | None:
    """Write one picture's pixels where they belong; what is wrong with it, if anything is."""
    path, target, offset, height, width = job
    try:
        pixels = read_rgb(Path(path))
    except ModelsError as error:
        return str(error)
    kept = size_within(pixels.shape[1], pixels.shape[0], LONGEST)
    if (wrong := misfit(Path(path), kept, (width, height))) is not None:
        return wrong
    if pixels.shape[:2] != (height, width):
        pixels = np.asarray(cv2.resize(pixels, kept, interpolation=cv2.INTER_AREA), np.uint8)
    with Path(target).open("r+b") as stream:
        stream.seek(offset)
        stream.write(pixels.tobytes())
    return None


def build_pack(pictures: Dataset, folder: Path, workers: int) -> Pack:
    """Decode `pictures` into `folder`/pixels.bin and index.json; pixels that an earlier call left there for
    the same file, unchanged, are taken over.

    Pictures whose longer side exceeds LONGEST are scaled to it; `pictures` say their sizes and labels as
    scaled (`read_coco` does so).

    Raises:
        ModelsError: lists the pictures that are missing, cannot be read, or have another size than `pictures`
            say. The pixels of the others are kept for the next call.
    """
    wanted = _entries(pictures)
    before = _index(folder)
    if before != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            wrong = _make(wanted, before, folder, workers)
        except BrokenProcessPool:
            raise ModelsError(
                "A process that decoded pictures was ended, perhaps for want of memory: try pack --workers 1."
            ) from None
        except OSError as error:
            raise ModelsError(f"{folder}: the pack cannot be written ({error.strerror}).") from error
        tell(wrong, "mend these pictures, or take them out of the annotations")
    return open_pack(pictures, folder)


def _entries(pictures: Dataset) -> list[Entry]:
    entries: list[Entry] = []
    missing = []
    for p in pictures:
        try:
            found = p.path.stat()
        except OSError as error:
            missing.append(f"{p.path} ({error.strerror})")
        else:
            entries.append((str(p.path), p.height, p.width, found.st_size, found.st_mtime_ns))
    tell(missing, "the annotations name pictures that are not there")
    return entries


def _index(folder: Path) -> list[Entry]:
    """What the pack holds; nothing where there is none, or one of an earlier version (names alone)."""
    try:
        entries = [tuple(entry) for entry in json.loads((folder / "index.json").read_text())["pictures"]]
        whole = (folder / "pixels.bin").stat().st_size == _starts(entries)[-1]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return []
    return entries if whole else []


def _starts(entries: Sequence[Entry]) -> list[int]:
    """Where each picture begins, and the end of the last one."""
    return [0, *accumulate(height * width * 3 for _, height, width, _, _ in entries)]


def _make(wanted: list[Entry], before: list[Entry], folder: Path, workers: int) -> list[str]:
    """Write the pack and its index anew; what is wrong with which pictures."""
    # what reads the pack of another data folder goes on with the old file
    target = folder / "pixels.part"
    starts = _starts(wanted)
    stored = dict(zip(before, _starts(before), strict=False))
    with target.open("wb") as stream:
        stream.truncate(starts[-1])
    lacking = [i for i, entry in enumerate(wanted) if entry not in stored]
    if len(lacking) < len(wanted):
        with (folder / "pixels.bin").open("rb") as old, target.open("r+b") as new:
            for start, entry in zip(starts, wanted, strict=False):
                if entry in stored:
                    old.seek(stored[entry])
                    new.seek(start)
                    new.write(old.read(entry[1] * entry[2] * 3))
    jobs = [(wanted[i][0], str(target), starts[i], wanted[i][1], wanted[i][2]) for i in lacking]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        said = list(pool.map(_decode, jobs, chunksize=32))
    done = list(wanted)
    for i, wrong in zip(lacking, said, strict=True):
        if wrong is not None:
            done[i] = (*wanted[i][:3], _NEVER, 0)
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    target.replace(folder / "pixels.bin")
    part = folder / "index.part"
    part.write_text(json.dumps({"pictures": done}))
    part.replace(index)
    return [wrong for wrong in said if wrong is not None]


def open_pack(pictures: Dataset, folder: Path) -> Pack:
    """Map what `build_pack` wrote for the same `pictures` in the same order."""
    shape = np.array([(p.height, p.width) for p in pictures], np.int64).reshape(-1, 2)
    if len(shape) == 0:  # an empty file cannot be mapped
        return Pack(np.zeros(0, np.uint8), np.zeros(0, np.int64), shape)
    sizes = shape.prod(1) * 3
    offset = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")
    return Pack(pixels, offset, shape)
