"""A small page with the masked pictures of all cameras, for whoever sets a box up."""

from __future__ import annotations

import html
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import quote

from veil.errors import SinkError
from veil.host.small_http import Page, SmallServer

_AT_ONCE: Final = 32
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
_STYLE: Final = (
    "body{font:16px/1.4 system-ui,sans-serif;margin:2rem;background:#1b1b1b;color:#ddd}"
    "main{display:flex;flex-wrap:wrap;gap:2rem}section{max-width:480px}img{width:100%;background:#333}"
    "code{overflow-wrap:anywhere}h2{margin:.2rem 0}"
)


@dataclass(frozen=True, slots=True)
class CameraView:
    """What the page says about one camera. `stream` and `recordings` are shown as text; empty: left out."""

    snapshot: Path
    stream: str
    recordings: str


class PreviewPage:
    """An HTTP server in a thread of its own. A context manager.

    It shows files that hold masked pictures and nothing else; there is no way to any other path.

    Args:
        refresh_s: after how many seconds the page loads itself again.
        port: 0 for any free one; see `url`.

    Raises SinkError where the address cannot be listened at.
    """

    def __init__(
        self, cameras: Mapping[str, CameraView], *, address: str, port: int, refresh_s: float = 2.0
    ) -> None:
        self._cameras = dict(cameras)
        self._refresh_s = max(1, round(refresh_s))
        self._address, self._port = address, port
        self._scope = ExitStack()

    @property
    def url(self) -> str:
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{self._port}/"

    def __enter__(self) -> PreviewPage:
        server = SmallServer(self._address, self._port, self._at, at_once=_AT_ONCE, name="preview")
        try:
            self._port = self._scope.enter_context(server).port
        except OSError as error:
            raise SinkError(
                f"the preview page cannot listen at {self._address}:{self._port}: {error.strerror}.",
                hint="Choose another page.port, or 0 for no page.",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.close()

    def page(self) -> str:
        """The page as HTML."""
        cameras = "".join(self._section(name, view) for name, view in sorted(self._cameras.items()))
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Veil</title>'
            f'<meta name="viewport" content="width=device-width">'
            f'<meta http-equiv="refresh" content="{self._refresh_s}"><style>{_STYLE}</style></head>'
            f"<body><h1>Veil</h1><main>{cameras}</main></body></html>"
        )

    def _section(self, name: str, view: CameraView) -> str:
        shown = html.escape(name)
        picture = (
            f'<img src="/snapshot/{quote(name)}.jpg" alt="masked picture of {shown}">'
            if view.snapshot.is_file()
            else "<p>No picture yet.</p>"
        )
        lines = (("Stream", view.stream), ("Recordings", view.recordings))
        facts = "".join(f"<p>{what}: <code>{html.escape(text)}</code></p>" for what, text in lines if text)
        return f"<section><h2>{shown}</h2>{picture}{facts}</section>"

    def _picture(self, name: str) -> bytes | None:
        view = self._cameras.get(name)
        try:
            return None if view is None else view.snapshot.read_bytes()
        except OSError:
            return None

    def _at(self, path: str) -> Page | None:
        if path == "/":
            return Page("text/html; charset=utf-8", self.page().encode(), _HEADERS)
        name = path.removeprefix("/snapshot/").removesuffix(".jpg")
        picture = self._picture(name) if path == f"/snapshot/{name}.jpg" else None
        return None if picture is None else Page("image/jpeg", picture, _HEADERS)
