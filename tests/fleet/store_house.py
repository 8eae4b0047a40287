"""A store with a witness, fed without a broker: one call is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Row, select

from veil.audit.note import COSIGNATURE_V1, SigningKey
from veil.messages.evidence import CheckpointNote
from veil_fleet.collector.batch import Store
from veil_fleet.collector.gaps import ask_again, raise_overdue
from veil_fleet.collector.heard import Received
from veil_fleet.collector.outgoing import Outcome
from veil_fleet.store.engine import writing
from veil_fleet.store.tables import Alarm, Device, Log, LogLine, Segment, Table
from veil_fleet.witness import Witness


class StoreHouse:
    """The tables are there, and empty."""

    def __init__(self, engine: Engine, key: SigningKey | None = None) -> None:
        self.engine = engine
        self.witness = Witness(key or SigningKey.generate("fleet.example", COSIGNATURE_V1))
        self.store = Store(self.witness)

    def take(self, *batch: Received, now_ms: int | None = None) -> Outcome:
        with writing(self.engine) as connection:
            return self.store.take(connection, batch, now_ms or batch[-1].received_ms)

    def ask(self, now_ms: int) -> Outcome:
        with writing(self.engine) as connection:
            return ask_again(connection, self.store, now_ms)

    def overdue(self, now_ms: int) -> None:
        with writing(self.engine) as connection:
            raise_overdue(connection, now_ms)

    def rows(self, table: type[Table]) -> Sequence[Row[Any]]:
        with self.engine.connect() as connection:
            return connection.execute(select(*table.__table__.columns)).all()

    def log(self, name: str = "front") -> Any:
        return next(row for row in self.rows(Log) if row.name == name)

    def device(self) -> Any:
        return self.rows(Device)[0]

    def alarms(self) -> list[str]:
        return sorted(row.kind for row in self.rows(Alarm) if row.closed_ms is None)

    def lines(self, log: str = "front") -> list[str]:
        rows = [row for row in self.rows(LogLine) if row.log == log]
        return [row.line for row in sorted(rows, key=lambda row: row.seq)]

    def segments(self) -> list[Any]:
        return sorted(self.rows(Segment), key=lambda row: row.seq)


def receipts(outcome: Outcome) -> list[str]:
    """The notes that are given back on cosign/NAME."""
    return [CheckpointNote.decode(item.payload).note for item in outcome.publish if "/cosign/" in item.topic]
