"""Boxes that hold lines of which nothing came: their last messages were lost, none since shows the gap."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from veil.messages.evidence import Resend
from veil.messages.health import Health
from veil.messages.topics import Kind, Topic
from veil_fleet.collector.heard import Heard
from veil_fleet.collector.outgoing import Outgoing
from veil_fleet.store.tables import Log

PATIENCE_MS = 60_000
MAX_LINES = 1_000
MAX_BOXES = 50_000
BOX_LOG = "box"


class Nudge:
    """Remembers, for boxes whose health reports lines that are not cosigned, since when it does."""

    def __init__(self) -> None:
        self._since_ms: dict[str, int] = {}

    def look(self, connection: Connection, heard: Sequence[Heard], now_ms: int) -> list[Outgoing]:
        """What to ask of boxes whose logs all look cosigned here and are not there."""
        suspects: dict[str, Health] = {}
        for message in heard:
            if isinstance(message.body, Health) and not message.source.retained:
                if not message.body.box.queue_events:
                    self._since_ms.pop(message.device, None)
                    continue
                if len(self._since_ms) >= MAX_BOXES:
                    self._since_ms.clear()
                since = self._since_ms.setdefault(message.device, now_ms)
                if now_ms - since >= PATIENCE_MS:
                    suspects[message.device] = message.body
        if not suspects:
            return []
        sizes: dict[str, dict[str, int]] = {name: {} for name in suspects}
        rows = connection.execute(
            select(Log.device, Log.name, Log.cosigned_size, Log.behind_ms).where(Log.device.in_(suspects))
        )
        busy = set()
        for row in rows:
            sizes[row.device][row.name] = row.cosigned_size
            if row.behind_ms is not None:
                busy.add(row.device)
        asked = []
        for device, health in suspects.items():
            self._since_ms[device] = now_ms
            if device in busy:
                continue
            for log in {BOX_LOG, *health.cameras, *sizes[device]}:
                wanted = Resend(log=log, first=sizes[device].get(log, 0), count=MAX_LINES)
                asked.append(Outgoing(str(Topic(device, Kind.RESEND, log)), wanted.encode()))
        return asked
