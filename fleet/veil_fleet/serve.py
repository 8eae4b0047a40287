"""The programs that run: collector and page, or a collector alone, until they are told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from veil.errors import VeilError
from veil.host.sdnotify import Supervisor
from veil_fleet.collector.service import Collector
from veil_fleet.settings import FleetSettings
from veil_fleet.store.engine import open_engine
from veil_fleet.store.schema import check_schema, migrate
from veil_fleet.witness import Witness

log = logging.getLogger("veil_fleet")


def serve(settings: FleetSettings) -> None:
    """Collector and web page in one process."""
    _log_to_stderr()
    with _prepared(settings) as (engine, witness), Collector(settings, engine, witness) as collector:
        asyncio.run(_until_told(collector.run(), _web(settings, engine)))


def collect(settings: FleetSettings) -> None:
    """A collector alone."""
    _log_to_stderr()
    with _prepared(settings) as (engine, witness), Collector(settings, engine, witness) as collector:
        asyncio.run(_until_told(collector.run()))


def bring_up_to_date(settings: FleetSettings) -> None:
    """The database's tables. Raises VeilError where it cannot be reached."""
    engine = open_engine(settings)
    try:
        migrate(engine)
    except OperationalError as error:
        raise _unreachable(error) from None
    finally:
        engine.dispose()


@contextlib.contextmanager
def _prepared(settings: FleetSettings) -> Iterator[tuple[Engine, Witness]]:
    """The database with its tables, and the witness with its key. SQLite's tables are made here."""
    witness = Witness.open(settings)
    engine = open_engine(settings)
    try:
        if engine.dialect.name == "sqlite":
            migrate(engine)
        _check_patiently(engine)
        yield engine, witness
    finally:
        engine.dispose()


def _check_patiently(engine: Engine) -> None:
    """A database that is away at the start is waited for, as later on."""
    wait_s = 0.5
    while True:
        try:
            return check_schema(engine)
        except OperationalError as error:
            log.warning("%s", _unreachable(error).message)
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, 10.0)


async def _web(settings: FleetSettings, engine: Engine) -> None:
    # A collector alone starts quicker without.
    import uvicorn

    from veil_fleet.web.app import create_app

    web = settings.web
    config = uvicorn.Config(
        create_app(settings, engine),
        host=web.address,
        port=web.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        ssl_certfile=str(settings.resolved(web.certificate)) if web.certificate else None,
        ssl_keyfile=str(settings.resolved(web.key)) if web.key else None,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # Not cancelled itself: it closes its connections and the application first.
        server.should_exit = True
        await serving
        raise


async def _until_told(*parts: Coroutine[Any, Any, None]) -> None:
    """Runs the parts until SIGTERM or SIGINT, or until one of them ends or fails."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    tasks = [asyncio.create_task(part) for part in parts]
    waiter = asyncio.create_task(told.wait())
    Supervisor().ready()
    try:
        done, _ = await asyncio.wait([*tasks, waiter], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*tasks, waiter):
            task.cancel()
        await asyncio.gather(*tasks, waiter, return_exceptions=True)
    for task in done - {waiter}:
        _raise_single(task)


def _raise_single(task: asyncio.Task[Any]) -> None:
    """What ended the task; an error of ours without the group that it came in."""
    error = None if task.cancelled() else task.exception()
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if error is not None:
        raise error


def _unreachable(error: OperationalError) -> VeilError:
    told = str(error.orig).strip().split("\n")[0]
    return VeilError(f"The database cannot be reached: {told}.", hint="[database] url names it.")


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("mqtt").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
