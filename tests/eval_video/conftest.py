"""A small clip with truth, made once from what may be shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from veil_eval_video.make import Order, make_clips, props
from veil_eval_video.truth import Truth

ORDER = Order(clips=1, frames=12, width=640, height=384, seed=11)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Folder and truth of one clip: the portrait and rendered plates over a rendered street."""
    folder = tmp_path_factory.mktemp("truth")
    return folder, make_clips(folder, props([], ORDER), ORDER)[0]
