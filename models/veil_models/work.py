"""Where things lie: a data folder given by the caller, a work folder for everything that can be made
again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veil_models.dataset import Dataset, held_out
from veil_models.pack import Pack, build_pack
from veil_models.readers.coco import read_coco


@dataclass(frozen=True, slots=True)
class Work:
    """`data` holds train.json.gz, val.json.gz and images/; `folder` takes packs, answers, labels and runs."""

    data: Path
    folder: Path

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
        """What is trained on: the labels that `mine` or else `fuse` wrote, without the held-out split."""
        pictures, pack = self.pack("train")
        for better in (self.mined, self.fused):
            if better.exists():
                pictures = read_coco(better, self.data)
                break
        keep = [i for i, p in enumerate(pictures) if not held_out(p)]
        return [pictures[i] for i in keep], pack.part(keep)

    def validation(self) -> tuple[Dataset, Pack]:
        """The held-out split of people's labels, from the untouched annotations."""
        pictures, pack = self.pack("train")
        keep = [i for i, p in enumerate(pictures) if held_out(p)]
        return [pictures[i] for i in keep], pack.part(keep)
