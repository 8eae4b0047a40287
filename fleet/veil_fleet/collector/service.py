"""The collector: one connection, one batch at a time, one thread for the database.

    broker ──▶ Link (waits, bounded, not acknowledged) ──▶ transaction ──▶ receipts to boxes ──▶ acknowledged

What goes wrong on the way leaves messages with the broker: they come again, and are stored once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import aiomqtt
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError

from veil.messages.topics import Topic
from veil_fleet.collector.alarms import AlarmKind, Raised, write_alarms
from veil_fleet.collector.batch import Store
from veil_fleet.collector.gaps import ask_again, ask_for_checkpoints, raise_overdue
from veil_fleet.collector.heard import Received
from veil_fleet.collector.link import Link, tls_context
from veil_fleet.collector.outgoing import Outcome
from veil_fleet.collector.purge import purge
from veil_fleet.settings import FleetSettings
from veil_fleet.store.engine import writing
from veil_fleet.witness import Witness

BATCH = 1_000
LINGER_S = 0.05
"""Waited for company: a transaction costs much the same for one message and for a hundred."""

RETRY_S = (0.5, 5.0)
RECONNECT_S = (1.0, 10.0)
HOUSEKEEPING_S = 1.0
OVERDUE_S = 15.0
SETTLED_S = 60.0
"""After a start or an outage of ours nothing is called overdue for so long."""

PURGE_S = 3_600.0
KEYS_EVERY_S = 10.0
"""A box's keys are not read from the broker more often."""

KEYS_AT_ONCE = 100
"""Boxes; the others repeat their checkpoints."""

T = TypeVar("T")
log = logging.getLogger("veil_fleet.collector")


@dataclass(slots=True)
class Counts:
    """Since the start, for benchmarks and the journal."""

    messages: int = 0
    batches: int = 0
    lines: int = 0
    cosigned: int = 0
    database_s: float = 0.0
    lag_ms: int = 0


class Collector:
    """A context manager around one database thread; `run` goes on until it is cancelled.

    Raises at `run`: LinkError where the collector's certificate cannot be used or the broker refuses it the
    subscriptions. A broker or a database that is away is waited for.
    """

    def __init__(self, settings: FleetSettings, engine: Engine, witness: Witness) -> None:
        self._settings = settings
        self._engine = engine
        self._store = Store(witness)
        self._group = witness.group
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._link: Link | None = None
        self._storing_since = time.monotonic()
        self._keys_read: dict[str, float] = {}
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def run(self) -> None:
        context = tls_context(self._settings)
        wait_s = RECONNECT_S[0]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_house())
            while True:
                try:
                    async with self._connected(Link(self._settings, context, self._group)) as link:
                        wait_s = RECONNECT_S[0]
                        await self._follow(link)
                except aiomqtt.MqttError as error:
                    log.warning("broker away: %s", error)
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
                wait_s = min(wait_s * 2, RECONNECT_S[1])

    @contextlib.asynccontextmanager
    async def _connected(self, link: Link) -> AsyncIterator[Link]:
        async with link:
            await link.subscribe_all()
            log.info("connected to %s:%s", self._settings.broker.host, self._settings.broker.port)
            self._link = link
            self._settle()
            try:
                yield link
            finally:
                self._link = None

    async def _follow(self, link: Link) -> None:
        kept = asyncio.create_task(self._read_kept(link))
        try:
            while True:
                batch = await link.next_batch(BATCH, LINGER_S)
                outcome = await self._stored(batch)
                link.check()
                await link.say(outcome.publish)
                link.acknowledge(batch)
                self._count(batch, outcome)
                if outcome.unknown_keys:
                    await self._read_keys(link, outcome.unknown_keys)
        finally:
            kept.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await kept

    async def _read_kept(self, link: Link) -> None:
        with contextlib.suppress(aiomqtt.MqttError):
            await link.read_kept()

    async def _read_keys(self, link: Link, devices: set[str]) -> None:
        now = time.monotonic()
        self._keys_read = {device: at for device, at in self._keys_read.items() if now - at < KEYS_EVERY_S}
        due = sorted(devices - self._keys_read.keys())[:KEYS_AT_ONCE]
        self._keys_read.update(dict.fromkeys(due, now))
        await link.read_keys(due)

    def _count(self, batch: Sequence[Received], outcome: Outcome) -> None:
        self.counts.messages += len(batch)
        self.counts.batches += 1
        self.counts.lines += outcome.lines
        self.counts.cosigned += outcome.cosigned
        self.counts.lag_ms = _wall_ms() - batch[0].received_ms

    async def _stored(self, batch: Sequence[Received]) -> Outcome:
        """The batch in one transaction. A message that the database refuses is found and told of."""
        try:
            return await self._patiently(lambda: self._take(batch))
        except (DataError, IntegrityError):
            if len(batch) == 1:
                return await self._alone(batch[0])
        middle = len(batch) // 2
        outcome = await self._stored(batch[:middle])
        outcome.add(await self._stored(batch[middle:]))
        return outcome

    async def _alone(self, received: Received) -> Outcome:
        try:
            # Once more: a row that we took for granted may have been deleted.
            return await self._patiently(lambda: self._take([received]))
        except (DataError, IntegrityError) as error:
            text = f"The database refused what it says: {type(error.orig).__name__}."
            log.warning("%s", text)
        return await self._patiently(lambda: self._refuse(received, text))

    def _take(self, batch: Sequence[Received]) -> Outcome:
        start = time.monotonic()
        try:
            with writing(self._engine) as connection:
                return self._store.take(connection, batch, _wall_ms())
        except SQLAlchemyError:
            self._store.forget()
            raise
        finally:
            self.counts.database_s += time.monotonic() - start

    def _refuse(self, received: Received, text: str) -> Outcome:
        topic = Topic.parse(received.topic)
        if topic is not None:
            with writing(self._engine) as connection:
                raised = Raised(topic.device, topic.name, AlarmKind.BAD_MESSAGE, text)
                write_alarms(connection, [raised], _wall_ms())
        return Outcome()

    async def _patiently(self, work: Callable[[], T]) -> T:
        """`work` on the database's thread, again and again while the database is away or busy."""
        wait_s = RETRY_S[0]
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            except (OperationalError, InterfaceError) as error:
                log.warning("database away: %s", str(error.orig).split("\n")[0])
            self._settle()
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2, RETRY_S[1])

    def _settle(self) -> None:
        self._storing_since = time.monotonic()

    async def _keep_house(self) -> None:
        """Asks for what lacks, raises what is overdue, throws away what is old."""
        overdue_at = purge_at = time.monotonic()
        more_waits = False
        while True:
            await asyncio.sleep(0 if more_waits else HOUSEKEEPING_S)
            now, more_waits = time.monotonic(), False
            if (link := self._link) is not None:
                outcome = await self._patiently(self._ask)
                more_waits = outcome.more_waits
                with contextlib.suppress(aiomqtt.MqttError):
                    await link.say(outcome.publish)
                    await self._read_keys(link, outcome.unknown_keys)
            if now >= overdue_at and self._link and now - self._storing_since >= SETTLED_S:
                await self._patiently(self._raise)
                overdue_at = now + OVERDUE_S
            if now >= purge_at:
                await self._patiently(self._purge)
                purge_at = now + PURGE_S

    def _ask(self) -> Outcome:
        try:
            with writing(self._engine) as connection:
                outcome = ask_again(connection, self._store, _wall_ms())
                outcome.add(ask_for_checkpoints(connection, _wall_ms()))
                return outcome
        except SQLAlchemyError:
            self._store.forget()
            raise

    def _raise(self) -> None:
        with writing(self._engine) as connection:
            raise_overdue(connection, _wall_ms())

    def _purge(self) -> None:
        purge(self._engine, self._settings.retention, _wall_ms())


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
