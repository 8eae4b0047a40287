"""Names in URLs: what cannot be one is answered with 404 before anything is asked of the database."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
MAX_NUMBER: Final = 2**53


def _part(key: str) -> object:
    def read(request: Request) -> str:
        name = str(request.path_params[key])
        if not _NAME.fullmatch(name):
            raise HTTPException(404, "There is no such page.")
        return name

    return Depends(read)


def _count(key: str) -> object:
    def read(request: Request) -> int:
        text = str(request.path_params[key])
        if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) >= MAX_NUMBER:
            raise HTTPException(404, "There is no such page.")
        return int(text)

    return Depends(read)


def is_name(text: str) -> bool:
    """Of a box, a camera or a log."""
    return _NAME.fullmatch(text) is not None


DeviceName = Annotated[str, _part("device")]
LogName = Annotated[str, _part("log")]
CameraName = Annotated[str, _part("camera")]
Sequence = Annotated[int, _count("seq")]
AlarmId = Annotated[int, _count("alarm")]
