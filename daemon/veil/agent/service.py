"""The agent's process (`veil agent`, veil-agent.service): one loop that signs, sends, reports and obeys."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from veil import __version__
from veil.agent.commands import BoxActions, CommandDesk
from veil.agent.evidence import Evidence
from veil.agent.health import HealthWatch
from veil.agent.inbound import CommandWorker, Refusals
from veil.agent.link import Link, LinkSettings
from veil.agent.lock import only_agent
from veil.agent.outbox import Outbox, OutboxDamagedError
from veil.agent.packets import Inbound
from veil.agent.presence import Presence
from veil.agent.prometheus import Exporter
from veil.agent.tls import client_context
from veil.agent.watch import BoxWatch
from veil.audit.event import Event, Value, timestamp
from veil.audit.event import Kind as EventKind
from veil.audit.keys import KeyStore, credential_file
from veil.audit.log import EventLog, note_fault
from veil.audit.note import VerifierKey
from veil.audit.requests import ROTATE_KEY, answer_requests
from veil.audit.witness import keep_witness_keys
from veil.config import BOX_LOG, Config
from veil.domain.clock import NANOSECONDS, Clock, SystemClock
from veil.errors import EvidenceError, LinkError, LogError, MessageError, VeilError
from veil.host.disk import MEBIBYTE
from veil.host.sdnotify import Supervisor
from veil.messages.health import Bundle, Health
from veil.messages.topics import TO_BOX, Kind, Topic, filter_of

TICK_S: Final = 0.25
FOLLOW_EVERY_S: Final = 0.5
MESSAGES_AT_ONCE: Final = 64
LAST_WORDS_S: Final = 3.0
"""At a clean stop: so long evidence and the farewell may take to leave."""

_LOG = logging.getLogger("veil.agent")


def run_agent(
    config: Config,
    until: Callable[[], bool],
    *,
    environ: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
) -> None:
    """Runs until `until()` is true; it is asked several times a second.

    Raises VeilError where the box cannot work at all: another agent runs, the signing key or the box's own
    log cannot be used, [fleet] holds what is no key.
    """
    clock = clock or SystemClock()
    supervisor = Supervisor(environ)
    with ExitStack() as scope:
        beat = _Heartbeat(supervisor)
        agent = Agent(config, environ, clock, beat, scope)
        reason = "asked"
        try:
            supervisor.ready()
            while not until():
                beat()
                agent.step()
        except BaseException as error:
            reason = type(error).__name__
            raise
        finally:
            supervisor.stopping()
            agent.stop(reason)


class _Heartbeat:
    """A sign of life for systemd, as often as it asks for one and not oftener: it has a queue of its own."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._every_s = (supervisor.watchdog_interval_s or 2.0) / 2
        self._next_s = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + self._every_s
            self._supervisor.watchdog()


class Agent:
    """All parts of the agent, entered into `scope`. `step` and `stop` are one thread's."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        clock: Clock,
        beat: Callable[[], None],
        scope: ExitStack,
    ) -> None:
        self._config = config
        self._clock = clock
        self._environ = environ
        self._wake = threading.Event()
        self._follow_at_s = 0.0
        self._watch_at_s = 0.0
        self._generation = 0
        self._newest: Health | None = None
        self._adopted: queue.Queue[Config] = queue.Queue(4)
        self._told_problem = ""
        self._dropped_told = 0
        device, folder = config.box.name, config.box.state_dir / "log"
        state = config.box.state_dir / "agent"
        self._outbox_path = state / "outbox.sqlite"
        witnesses = _witnesses(config)
        scope.enter_context(only_agent(state))
        self._log = scope.enter_context(EventLog(folder / BOX_LOG / "events.jsonl", BOX_LOG, clock))
        self._keys = self._open_keys()
        self._health = HealthWatch(config, clock)
        self._log.append(Event(EventKind.AGENT_STARTED, _identity(config, self._health.machine.bundle)))
        self._keys.announce(self._log)
        _keep_witnesses(folder, witnesses, self._log)
        self._outbox = self._open_outbox()
        scope.callback(self._close_outbox)
        self._evidence = scope.enter_context(
            Evidence(
                folder,
                device,
                clock,
                self._outbox,
                self._keys,
                witnesses,
                config.agent.checkpoint_every_s,
                self._log_failed,
                beat,
            )
        )
        since = timestamp(clock.wall_ns())
        self._presence = Presence(config, since, self._health.machine.bundle)
        self._watch = BoxWatch(config, self._log, clock, environ=environ, clock_was_set=self._clock_was_set)
        self._refusals = Refusals(self._log, clock)
        actions = BoxActions(config, clock, self._adopt, environ)
        desk = scope.enter_context(
            CommandDesk(device, config.fleet.command_keys, state, self._log, clock, actions)
        )
        self._commands = scope.enter_context(CommandWorker(desk, device, self._wake.set))
        scope.enter_context(Exporter(config.agent.prometheus_port, lambda: self._newest))
        self._link: Link | None = None
        if config.fleet.enabled:
            self._link = scope.enter_context(Link(self._link_settings(), self._wake.set, _tell))
        else:
            _LOG.info("no broker in [fleet]: logs are signed, nothing is sent")

    def step(self) -> None:
        """One turn; waits up to `TICK_S` where there is nothing to do."""
        now_s = self._now_s()
        busy = False
        try:
            busy = self._turn(now_s)
        except OutboxDamagedError as error:
            self._renew_outbox(error)
        if not busy:
            self._wake.wait(TICK_S)
        self._wake.clear()

    def _turn(self, now_s: float) -> bool:
        while not self._adopted.empty():
            self._use(self._adopted.get_nowait())
        self._receive(now_s)
        self._look(now_s)
        busy = False
        if now_s >= self._follow_at_s:
            busy = self._evidence.step(now_s)
            self._follow_at_s = now_s if busy else now_s + FOLLOW_EVERY_S
        if self._outbox.problem != self._told_problem:
            self._told_problem = self._outbox.problem
            self._fault(self._told_problem or "the outbox takes lines again")
        return self._send(now_s) or busy

    def stop(self, reason: str) -> None:
        """The last event, its signature, and, with a connection, the farewell."""
        try:
            self._log.append(Event(EventKind.AGENT_STOPPED, {"reason": reason}))
            self._evidence.sign_all(self._now_s())
        except (LogError, EvidenceError, OutboxDamagedError) as error:
            _LOG.error("%s", error)
        link = self._link
        if link is None or not link.connected:
            return
        end = time.monotonic() + LAST_WORDS_S
        try:
            while link.connected and time.monotonic() < end and self._send_evidence(link):
                link.drain(0.2)
        except OutboxDamagedError as error:
            _LOG.error("%s", error)
        farewell = self._presence.farewell()
        while link.connected and time.monotonic() < end + LAST_WORDS_S:
            if link.publish(farewell):
                link.drain(LAST_WORDS_S)
                return
            time.sleep(0.05)

    def _send_evidence(self, link: Link) -> bool:
        return self._evidence.send(link, self._now_s())

    def _send(self, now_s: float) -> bool:
        link = self._link
        if link is None:
            return False
        if not link.alive or not self._commands.alive:
            raise LinkError("A thread of the agent ended by itself.", hint="It starts again; report it.")
        if link.connected and link.generation != self._generation:
            self._generation = link.generation
            _LOG.info("connected to the broker")
            self._presence.birth(self._keys.records(), self._health.states(), now_s)
            for payload in self._outbox.take_health():
                link.publish(self._presence.past_health(payload))
            if self._newest is not None:
                self._presence.health(self._newest)
            self._evidence.reconnected(now_s)
        self._presence.refresh_if_due(now_s)
        self._presence.flush(link.publish, link.max_payload)
        self._commands.flush(link.publish, link.max_payload)
        # What is said of now goes before what was: evidence gets what room is left.
        return not self._presence.is_waiting and self._evidence.send(link, now_s) and link.room > 0

    def _look(self, now_s: float) -> None:
        self._presence.cameras(self._health.look(now_s))
        if self._health.is_due(now_s):
            queued = self._evidence.waiting
            self._newest = self._health.health(now_s, queued, self._outbox.line_bytes)
            if self._link is not None and self._link.connected:
                self._presence.health(self._newest)
            elif self._link is not None:
                self._outbox.put_health(self._newest.encode())
        if now_s >= self._watch_at_s:
            self._watch_at_s = now_s + 1.0
            self._refusals.step()
            try:
                self._watch.step()
                self._answer_requests()
            except LogError as error:
                _LOG.error("%s", error)

    def _clock_was_set(self) -> None:
        # Certificates that did not hold by the old time may do now.
        if self._link is not None and not self._link.connected:
            self._link.try_again()

    def _answer_requests(self) -> None:
        """What `veil log` asks for on this machine. Raises LogError; EvidenceError where no key is left."""
        state = self._config.box.state_dir
        try:
            done = answer_requests(state, self._keys, self._log)
        except EvidenceError as error:
            _LOG.error("%s", error)
            # Which of two keys holds is known once they are read again.
            self._keys = self._open_keys()
            self._evidence.keys = self._keys
            return
        if any(request.kind == ROTATE_KEY for request in done):
            self._presence.keys(self._keys.records())

    def _open_keys(self) -> KeyStore:
        box = self._config.box
        return KeyStore.open(box.state_dir / "log", box.name, self._clock, credential_file(self._environ))

    def _receive(self, now_s: float) -> None:
        link = self._link
        if link is None:
            return
        for _ in range(MESSAGES_AT_ONCE):
            message = link.take()
            if message is None:
                break
            self._take(message, now_s)
        if link.dropped != self._dropped_told:
            count, self._dropped_told = link.dropped - self._dropped_told, link.dropped
            self._refusals.note("the link", f"{count} came too fast, or were none.")

    def _take(self, message: Inbound, now_s: float) -> None:
        topic = Topic.parse(message.topic)
        if topic is None or topic.device != self._config.box.name or topic.kind not in TO_BOX:
            self._refusals.note("another topic", "it is not one of this box's.")
            return
        where = f"{topic.kind}/{topic.name}" if topic.name else str(topic.kind)
        try:
            match topic.kind:
                case Kind.COSIGN:
                    self._evidence.cosigned(topic.name, message.payload, now_s)
                case Kind.RESEND:
                    self._evidence.resend(topic.name, message.payload)
                case _:
                    self._commands.submit(message)
        except (MessageError, EvidenceError) as error:
            self._refusals.note(where, error.message)
        except LogError as error:
            _LOG.error("%s", error)

    def _adopt(self, config: Config) -> None:
        """From the thread of commands."""
        try:
            self._adopted.put_nowait(config)
        except queue.Full:
            raise MessageError("The configuration was read again too often.", hint="Try later.") from None
        self._wake.set()

    def _use(self, config: Config) -> None:
        self._config = config
        self._health.use(config)
        self._presence.use(config, self._health.machine.bundle)
        self._watch.use(config)

    def _open_outbox(self) -> Outbox:
        limit = self._config.agent.outbox_max_mib * MEBIBYTE
        try:
            return Outbox.open(self._outbox_path, limit)
        except OutboxDamagedError as error:
            return self._renewed(error)

    def _close_outbox(self) -> None:
        self._outbox.close()

    def _renew_outbox(self, error: OutboxDamagedError) -> None:
        self._outbox.close()
        self._outbox = self._renewed(error)
        self._evidence.use(self._outbox)

    def _renewed(self, error: OutboxDamagedError) -> Outbox:
        outbox, aside = Outbox.renew(self._outbox_path, self._config.agent.outbox_max_mib * MEBIBYTE)
        place = aside.name if aside is not None else "its place"
        self._fault(f"{error.message} It is kept as {place}; a new one is filled from the logs.")
        return outbox

    def _fault(self, text: str) -> None:
        _LOG.warning("%s", text)
        try:
            note_fault(self._log, text)
        except LogError as error:
            _LOG.error("%s", error)

    def _log_failed(self, log: str, error: VeilError) -> None:
        _LOG.error("%s", error)
        try:
            if isinstance(error, EvidenceError):
                said = error.message[:300].encode(errors="replace").decode()
                self._log.append(Event(EventKind.LOG_DAMAGED, {"log": log, "text": said}))
        except LogError as failure:
            _LOG.error("%s", failure)

    def _link_settings(self) -> LinkSettings:
        fleet, device = self._config.fleet, self._config.box.name
        return LinkSettings(
            host=fleet.host,
            port=fleet.port,
            client_id=device,
            keepalive_s=fleet.keepalive_s,
            tls=partial(client_context, fleet, self._environ),
            will=self._presence.will(),
            subscriptions=tuple(filter_of(kind, device) for kind in TO_BOX),
        )

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / NANOSECONDS


def _tell(error: LinkError) -> None:
    _LOG.warning("%s", error)


def _identity(config: Config, bundle: Bundle | None) -> dict[str, Value]:
    data: dict[str, Value] = {
        "software": __version__,
        "config_sha256": config.digest,
        "box": config.box.name,
        "cameras": tuple(config.cameras),
    }
    if bundle is not None:
        data |= {"bundle": bundle.name, "bundle_version": bundle.version, "bundle_sha256": bundle.sha256}
    return data


def _witnesses(config: Config) -> list[VerifierKey]:
    """Raises KeyFormatError."""
    return [VerifierKey.parse(key) for key in config.fleet.witness_keys]


def _keep_witnesses(folder: Path, witnesses: list[VerifierKey], log: EventLog) -> None:
    """For who verifies the logs later. Raises EvidenceError, KeyFormatError for a key of another kind."""
    try:
        keep_witness_keys(folder, witnesses)
    except OSError as error:
        note_fault(log, f"The witnesses' keys cannot be kept beside the logs: {error.strerror}.")
