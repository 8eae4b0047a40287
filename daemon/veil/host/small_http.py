"""A small HTTP server in a thread of its own: bounded, quiet, for a few readers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

_Request = socket.socket | tuple[bytes, socket.socket]


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `headers`: beside type and length."""

    kind: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class SmallServer:
    """A context manager. Entering it raises OSError where the address cannot be listened at.

    Args:
        port: 0 for any free one.
        page: what is at a path (decoded, without its query); None: nothing. Called in threads of the server.
        at_once: requests that are worked on; further connections are closed.
        name: of its thread.
    """

    def __init__(
        self, address: str, port: int, page: Callable[[str], Page | None], *, at_once: int, name: str
    ) -> None:
        self._where = address, port
        self._handler = _handler_of(page)
        self._at_once = at_once
        self._name = name

    def __enter__(self) -> Self:
        self._server = _server_at(self._where, self._handler, self._at_once)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=self._name, daemon=True
        )
        self._thread.start()
        return self

    @property
    def port(self) -> int:
        return self._server.server_port

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler_of(page: Callable[[str], Page | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "veil"
        sys_version = ""

        def do_GET(self) -> None:
            found = page(unquote(urlsplit(self.path).path))
            if found is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            length = str(len(found.content))
            self.send_response(HTTPStatus.OK)
            for name, value in {
                "Content-Type": found.kind,
                "Content-Length": length,
                **found.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.content)

        def log_message(self, format: str, *_: object) -> None:
            """Nothing: addresses of visitors are nobody's business."""

    return Handler


def _server_at(
    where: tuple[str, int], handler: type[BaseHTTPRequestHandler], at_once: int
) -> ThreadingHTTPServer:
    free = threading.BoundedSemaphore(at_once)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 16
        address_family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET

        def process_request(self, request: _Request, client_address: object) -> None:
            if free.acquire(blocking=False):
                super().process_request(request, client_address)
            else:
                self.shutdown_request(request)

        def process_request_thread(self, request: _Request, client_address: object) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                free.release()

        def handle_error(self, request: object, client_address: object) -> None:
            """Nothing: a reader that goes away in the middle is no news."""

    return Server(where, handler)
