"""Server-sent events: the values of a page that have changed, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from veil_fleet.web.access import Visitor, visitor_of
from veil_fleet.web.house import House, house_of
from veil_fleet.web.values import Values, changes

EVERY_S: Final = 2.0
HEARTBEAT_S: Final = 15.0
MAX_STREAMS: Final = 128
MAX_STREAMS_OF_A_SESSION: Final = 12
MAX_AGE_S: Final = 3600.0
"""A stream ends then; the page's script opens another."""


class TooManyStreamsError(Exception):
    """The page says so, and asks again later."""


class Live:
    """The streams of a process, all in one event loop.

    Streams that show the same share one reading of the database, at most one every `EVERY_S`.
    """

    def __init__(self) -> None:
        self._streams: Counter[str] = Counter()
        self._readings: OrderedDict[str, tuple[float, asyncio.Task[Values]]] = OrderedDict()
        self._closing = False

    @property
    def open(self) -> int:
        """Streams that are open now."""
        return self._streams.total()

    def close(self) -> None:
        """Ends all streams, so that a server that waits for its connections can stop."""
        self._closing = True

    @contextmanager
    def place(self, session: str) -> Iterator[None]:
        """One of the places for streams. Raises TooManyStreamsError."""
        if self.open >= MAX_STREAMS or self._streams[session] >= MAX_STREAMS_OF_A_SESSION:
            raise TooManyStreamsError
        self._streams[session] += 1
        try:
            yield
        finally:
            self._streams[session] -= 1
            self._streams += Counter()  # forgets sessions without streams

    async def latest(self, key: str, read: Callable[[], Values]) -> Values:
        """What `read` gives, at most `EVERY_S` old."""
        now = asyncio.get_running_loop().time()
        known = self._readings.get(key)
        if known is None or (known[1].done() and now - known[0] >= EVERY_S * 0.9):
            task = asyncio.create_task(run_in_threadpool(read))
            self._readings[key] = known = (now, task)
            self._readings.move_to_end(key)
            while len(self._readings) > 2 * MAX_STREAMS:
                self._readings.popitem(last=False)
        return await asyncio.shield(known[1])

    async def wait(self) -> bool:
        """Until the next reading is due; False when all streams are to end."""
        for _ in range(8):
            if self._closing:
                return False
            await asyncio.sleep(EVERY_S / 8)
        return not self._closing


def live_of(request: Request) -> Live:
    live = request.app.state.live
    if not isinstance(live, Live):
        raise TypeError("the application was not made by create_app")
    return live


def stream(request: Request, visitor: Visitor, key: str, read: Callable[[], Values]) -> StreamingResponse:
    """A stream of what changes in `read()`; `key` names what it reads. Raises TooManyStreamsError."""
    house, live = house_of(request), live_of(request)
    held = ExitStack()
    held.enter_context(live.place(visitor.session.id))
    return _Stream(
        held,
        _changes(request, house, live, key, read),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


class _Stream(StreamingResponse):
    """Gives its place back however it ends, even where the visitor left before the first word."""

    def __init__(self, held: ExitStack, content: AsyncIterator[str], **options: Any) -> None:
        super().__init__(content, **options)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


async def _changes(
    request: Request, house: House, live: Live, key: str, read: Callable[[], Values]
) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    started = said = clock()
    before: Values = {}
    yield "retry: 3000\n\n"
    while clock() - started < MAX_AGE_S:
        try:
            if await run_in_threadpool(visitor_of, request) is None:
                yield "event: bye\ndata: {}\n\n"
                return
            after = await live.latest(key, read)
        except SQLAlchemyError:
            return  # the page says that it is not live, and comes back
        changed = changes(before, after)
        if changed:
            said = clock()
            yield f"data: {json.dumps({'now': house.now_ms(), 'values': changed})}\n\n"
        elif clock() - said >= HEARTBEAT_S:
            said = clock()
            yield f"data: {json.dumps({'now': house.now_ms(), 'values': {}})}\n\n"
        before = after
        if not await live.wait():
            return
