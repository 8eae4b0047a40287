"""A bundle's golden pictures as a data folder to label or train on."""

from __future__ import annotations

import shutil
from pathlib import Path

from veil_models.dataset import Dataset, Picture
from veil_models.picture_file import read_rgb
from veil_models.readers.coco_out import write_coco


def golden_as_data(folder: Path, bundle: Path, labelled: frozenset[str]) -> Dataset:
    """Writes images/ and train.json.gz, without any label; `labelled`: of which classes that is the truth."""
    images = folder / "images"
    images.mkdir()
    pictures = []
    for path in sorted((bundle / "golden").glob("*.png")):
        copy = Path(shutil.copy(path, images))
        height, width = read_rgb(copy).shape[:2]
        pictures.append(Picture(copy, width, height, "street", labelled))
    write_coco(pictures, folder / "train.json.gz", folder)
    return pictures
