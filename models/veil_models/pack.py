"""All pictures decoded once into one file, so that training reads pixels and never decodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from veil_models.dataset import Dataset

Pixels = npt.NDArray[np.uint8]


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


def read_rgb(path: Path) -> Pixels:
    """Decode a picture file into [height, width, 3] RGB; AVIF needs Pillow's plugin where Pillow lacks it."""
    import contextlib

    from PIL import Image, ImageOps

    with contextlib.suppress(ImportError):
        import pillow_avif  # noqa: F401
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _decode(job: tuple[str, str, int, int, int]) -> None:
    path, target, offset, height, width = job
    pixels = read_rgb(Path(path))
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"{path}: {pixels.shape[1]}x{pixels.shape[0]}, annotations say {width}x{height}")
    with Path(target).open("r+b") as stream:
        stream.seek(offset)
        stream.write(pixels.tobytes())


def build_pack(pictures: Dataset, folder: Path, workers: int) -> Pack:
    """Decode `pictures` into `folder`/pixels.bin and index.json, or open what an earlier call left there."""
    names = [str(p.path) for p in pictures]
    index = folder / "index.json"
    if not (index.exists() and json.loads(index.read_text()) == names):
        folder.mkdir(parents=True, exist_ok=True)
        sizes = [p.height * p.width * 3 for p in pictures]
        # what reads the pack of another data folder goes on with the old file
        target = folder / "pixels.part"
        with target.open("wb") as stream:
            stream.truncate(sum(sizes))
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        jobs = [
            (str(p.path), str(target), int(s), p.height, p.width)
            for p, s in zip(pictures, starts, strict=True)
        ]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for _ in pool.map(_decode, jobs, chunksize=32):
                pass
        index.unlink(missing_ok=True)
        target.rename(folder / "pixels.bin")
        index.write_text(json.dumps(names))
    return open_pack(pictures, folder)


def open_pack(pictures: Dataset, folder: Path) -> Pack:
    """Map what `build_pack` wrote for the same `pictures` in the same order."""
    shape = np.array([(p.height, p.width) for p in pictures], np.int64).reshape(-1, 2)
    sizes = shape.prod(1) * 3
    offset = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")
    return Pack(pixels, offset, shape)
