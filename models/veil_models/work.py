"""Where things lie: a data folder given by the caller, a work folder for everything that can be made
again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from veil_models.dataset import Dataset, held_out
from veil_models.errors import ModelsError
from veil_models.made import digest, made_from, name_of, put
from veil_models.pack import Pack, build_pack
from veil_models.readers.coco import read_coco
from veil_models.readers.coco_out import write_coco


@dataclass(frozen=True, slots=True)
class Work:
    """`data` holds train.json.gz, val.json.gz and images/; `folder` takes packs, answers, labels and runs."""

    data: Path
    folder: Path

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @property
    def fused(self) -> Path:
        return self.folder / "train.fused.json.gz"

    @property
    def mined(self) -> Path:
        return self.folder / "train.mined.json.gz"

    @property
    def alarms(self) -> Path:
        return self.folder / "train.alarms.npz"

    def pictures(self, part: str) -> Dataset:
        """Pictures of `train` or `val` as the data folder labels them."""
        return read_coco(self.data / f"{part}.json.gz")

    def pack(self, part: str, workers: int = 2) -> tuple[Dataset, Pack]:
        """Pictures and their pixels, decoded on the first call."""
        pictures = self.pictures(part)
        return pictures, build_pack(pictures, self.folder / f"pack-{part}", workers)

    def training(self) -> tuple[Dataset, Pack]:
        """What is trained on: the labels that `mine` or else `fuse` wrote, without the held-out split. Raises
        ModelsError where they were written for other annotations than the data folder has now."""
        pictures, pack = self.pack("train")
        for better in (self.mined, self.fused):
            if better.exists():
                pictures = self.labels(better, pictures)
                break
        keep = [i for i, p in enumerate(pictures) if not held_out(p)]
        return [pictures[i] for i in keep], pack.part(keep)

    def validation(self) -> tuple[Dataset, Pack]:
        """The held-out split of people's labels, from the untouched annotations."""
        pictures, pack = self.pack("train")
        keep = [i for i, p in enumerate(pictures) if held_out(p)]
        return [pictures[i] for i in keep], pack.part(keep)

    def digest(self, pictures: Dataset) -> str:
        """`made.digest` with names as the data folder has them."""
        return digest(pictures, self.data)

    def write_labels(self, pictures: Dataset, target: Path, made: Mapping[str, str]) -> None:
        """`pictures` with new labels as `fused` or `mined`; `made`: what it was made from, with the digest of
        the data folder's annotations as `data`."""
        put(target, made, lambda part: write_coco(pictures, part, self.data))

    def labels(self, source: Path, pictures: Dataset) -> Dataset:
        """What `write_labels` wrote for `pictures`, the data folder's now.

        Raises:
            ModelsError: it was written for others, or it is damaged. Files of earlier versions say nothing of
                labels: their pictures' names and sizes must agree.
        """
        step = {self.fused: "fuse", self.mined: "mine"}[source]
        found = read_coco(source, self.data)
        record = made_from(source)
        if record is None:
            same = self._places(found) == self._places(pictures)
        else:
            same = record["data"] == self.digest(pictures)
        if not same:
            raise ModelsError(
                f"{source} was made from other pictures or labels than {self.data}/train.json.gz has now: "
                f"run {step} again."
            )
        return found

    def _places(self, pictures: Dataset) -> list[tuple[str, int, int]]:
        return [(name_of(p, self.data), p.width, p.height) for p in pictures]
