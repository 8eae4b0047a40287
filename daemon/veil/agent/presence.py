"""What a box says of itself: status with an expiry, keys, cameras; all of it anew after a reconnect."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from veil import __version__
from veil.agent.home_assistant import discovery
from veil.agent.packets import Outgoing
from veil.config import Config
from veil.messages.base import MAX_PAYLOAD_BYTES
from veil.messages.evidence import Keys
from veil.messages.health import EXPIRES_S, REFRESH_S, Bundle, CameraState, Health, Status
from veil.messages.topics import Kind, Topic

_LOG = logging.getLogger("veil.agent")
_MOST_KEYS: Final = 256
_MOST_CAMERAS: Final = 64


class Presence:
    """The messages that wait to be published, the newest of each topic; so their number is bounded.

    Args:
        since: start of the agent, RFC 3339.
    """

    def __init__(self, config: Config, since: str, bundle: Bundle | None) -> None:
        self._config = config
        self._since = since
        self._session = secrets.token_hex(8)
        self._bundle = bundle
        self._waiting: dict[str, Outgoing] = {}
        self._refresh_at_s = 0.0

    def use(self, config: Config, bundle: Bundle | None) -> None:
        """Another configuration: the next refresh says so."""
        self._config, self._bundle = config, bundle
        self._refresh_at_s = 0.0

    def will(self) -> Outgoing:
        """What the broker says when the connection is lost. It never expires."""
        return self._status("offline", "lost", None)

    def farewell(self) -> Outgoing:
        """What the agent says when it is stopped. It never expires."""
        return self._status("offline", "stopped", None)

    def birth(self, key_records: Sequence[str], states: Sequence[CameraState], now_s: float) -> None:
        """Everything retained, after a connection was made."""
        self._waiting.clear()
        self.refresh(now_s)
        self._put(Kind.KEYS, "", newest_keys(key_records).encode())
        self.cameras(states)
        for topic, payload in discovery(self._config):
            self._waiting[topic] = Outgoing(topic, payload, retain=True)

    def refresh_if_due(self, now_s: float) -> None:
        if now_s >= self._refresh_at_s:
            self.refresh(now_s)

    def refresh(self, now_s: float) -> None:
        """The status holds for `EXPIRES_S` more."""
        self._refresh_at_s = now_s + REFRESH_S
        status = self._status("online", None, EXPIRES_S)
        self._waiting[status.topic] = status

    def keys(self, records: Sequence[str]) -> None:
        self._put(Kind.KEYS, "", newest_keys(records).encode())

    def cameras(self, states: Sequence[CameraState]) -> None:
        for state in states:
            self._put(Kind.CAMERA, state.camera, state.encode())

    def health(self, health: Health) -> None:
        topic = str(Topic(self._config.box.name, Kind.HEALTH))
        self._waiting[topic] = Outgoing(topic, health.encode(), qos=0, retain=True)

    def past_health(self, payload: bytes) -> Outgoing:
        """Of a time without a connection: for plots, not what is true now."""
        return Outgoing(str(Topic(self._config.box.name, Kind.HEALTH)), payload, qos=0)

    def flush(self, publish: Callable[[Outgoing], bool], max_payload: int) -> None:
        """As much as the link takes; the rest waits. What the broker never takes holds up nothing."""
        for topic, message in list(self._waiting.items()):
            if len(message.payload) > max_payload:
                _LOG.warning("%s: %d bytes are too many for the broker", topic, len(message.payload))
            elif not publish(message):
                return
            del self._waiting[topic]

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def _put(self, kind: Kind, name: str, payload: bytes) -> None:
        topic = str(Topic(self._config.box.name, kind, name))
        self._waiting[topic] = Outgoing(topic, payload, retain=True)

    def _status(self, state: str, reason: str | None, expiry_s: int | None) -> Outgoing:
        status = Status.model_validate(
            {
                "device": self._config.box.name,
                "state": state,
                "reason": reason,
                "session": self._session,
                "since": self._since,
                "version": __version__,
                "site": self._config.box.site,
                "cameras": tuple(self._config.cameras)[:_MOST_CAMERAS],
                "bundle": self._bundle,
            }
        )
        topic = str(Topic(self._config.box.name, Kind.STATUS))
        return Outgoing(topic, status.encode(), retain=True, expiry_s=expiry_s)


def newest_keys(records: Sequence[str]) -> Keys:
    """As many of the newest records as a message takes; a fleet manager keeps the older ones."""
    room = MAX_PAYLOAD_BYTES - 64
    taken: list[str] = []
    for record in reversed(records[-_MOST_KEYS:]):
        room -= len(record.encode()) + record.count('"') + record.count("\\") + 3
        if room < 0:
            break
        taken.insert(0, record)
    return Keys(records=tuple(taken))
