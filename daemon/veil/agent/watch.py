"""What changes on a box beside its cameras: clock, disk, heat, configuration, bundles. Each one event."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from veil.agent.levels import DiskLevels, Settled, ThermalState, thermal_state
from veil.agent.watched import WatchedFile
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventSink
from veil.bundle_place import MANIFEST, find_bundle
from veil.config import Config
from veil.config_load import load_config
from veil.domain.clock import Clock
from veil.errors import BundleError, ConfigError
from veil.host.clock import StepDetector, clock_state
from veil.host.disk import MEBIBYTE, disk_space, nearest_existing
from veil.host.thermal import THERMAL, temperatures

LEAST_FREE_MIB: Final = 256
"""Below it a disk counts as full even where nothing is recorded: logs and outbox need it."""

_SETTLE_S: Final = 60.0
_MAX_MANIFEST_BYTES: Final = 256 * 1024


class BoxWatch:
    """`step` is to be called once a second. Raises LogError where an event cannot be kept.

    The first steps say whether the clock is synchronised (once that has held for a minute), and what is not
    as it should be. Configuration and bundles are compared with what they were when this was made.

    Args:
        log: the box's own.
        environ: overrides the configuration, as at the agent's start.
        thermal: the kernel's thermal zones.
        clock_was_set: called when the wall clock stepped.
    """

    def __init__(
        self,
        config: Config,
        log: EventSink,
        clock: Clock,
        *,
        environ: Mapping[str, str] = os.environ,
        thermal: Path = THERMAL,
        clock_was_set: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._log = log
        self._clock = clock
        self._thermal = thermal
        self._clock_was_set = clock_was_set
        self._steps = StepDetector(clock)
        self._synchronised: Settled[str] = Settled("", _SETTLE_S)
        self._heat = ThermalState.OK
        self._disks: dict[int, DiskLevels] = {}
        self._file = WatchedFile(lambda: config.path, partial(_digest_of, environ))
        self._bundles = _bundles(config)

    def use(self, config: Config) -> None:
        """Watches what another configuration names. What is known of clock, disk and heat stays."""
        self._config = config
        self._bundles = {name: self._bundles.get(name, watched) for name, watched in _bundles(config).items()}

    def step(self) -> None:
        step_ns = self._steps.step_ns()
        if step_ns:
            self._clock_was_set()
            self._say(Kind.CLOCK_STEPPED, {"ms": step_ns // 1_000_000})
        self._look_at_clock()
        self._look_at_disks()
        self._look_at_heat()
        changed = self._file.changed()
        if changed is not None:
            self._say(Kind.CONFIG_CHANGED, {"what": "file", "old": changed.old, "new": changed.new})
        for name, bundle in self._bundles.items():
            changed = bundle.changed()
            if changed is not None:
                self._say(Kind.BUNDLE_CHANGED, {"bundle": name, "old": changed.old, "new": changed.new})

    def _look_at_clock(self) -> None:
        try:
            state = "synchronised" if clock_state().synchronised else "unsynchronised"
        except OSError:
            state = "unknown"
        if self._synchronised.update(state, self._clock.monotonic_ns()):
            self._say(Kind.CLOCK_STATE, {"state": state})

    def _look_at_disks(self) -> None:
        for disk, need in self._needs().items():
            try:
                space = disk_space(need.folder)
            except OSError:
                continue
            levels = self._disks.setdefault(disk, DiskLevels(need.least_free_mib * MEBIBYTE))
            if levels.update(space.free):
                data: dict[str, Value] = {
                    "state": str(levels.state),
                    "folder": str(need.folder),
                    "free_mib": space.free // MEBIBYTE,
                    "total_mib": space.total // MEBIBYTE,
                }
                self._say(Kind.DISK_STATE, data)

    def _needs(self) -> dict[int, _Need]:
        """By file system, what has to stay free on it. A folder that is not there yet: its parent's."""
        config = self._config
        wanted = [_Need(config.box.state_dir, LEAST_FREE_MIB)]
        wanted += [
            _Need(config.recordings(name), max(LEAST_FREE_MIB, int(camera.recorder.min_free_mib)))
            for name, camera in config.cameras.items()
            if camera.recorder.enabled
        ]
        needs: dict[int, _Need] = {}
        for need in wanted:
            folder = _entered(nearest_existing(need.folder))
            try:
                disk = folder.stat().st_dev
            except OSError:
                continue
            most = max(need.least_free_mib, needs[disk].least_free_mib if disk in needs else 0)
            needs[disk] = _Need(needs[disk].folder if disk in needs else folder, most)
        return needs

    def _look_at_heat(self) -> None:
        zones = temperatures(self._thermal)
        state = thermal_state(self._heat, zones)
        if state is not self._heat:
            self._heat = state
            hottest = max(zones, key=lambda zone: zone.celsius - (zone.limit_celsius or 1000.0), default=None)
            data: dict[str, Value] = {"state": str(state)}
            if hottest is not None:
                data |= {"zone": hottest.zone[:64], "celsius": round(hottest.celsius)}
            self._say(Kind.THERMAL_STATE, data)

    def _say(self, kind: Kind, data: Mapping[str, Value]) -> None:
        self._log.append(Event(kind, data))


def _entered(folder: Path) -> Path:
    """`folder`, or the closest above it that may be entered.

    veil-agent.service hides recordings behind a folder that nobody may enter: it lies on another file system,
    whose space says nothing.
    """
    while not os.access(folder, os.X_OK) and folder != folder.parent:
        folder = folder.parent
    return folder


@dataclass(frozen=True, slots=True)
class _Need:
    folder: Path
    least_free_mib: int


def _bundles(config: Config) -> dict[str, WatchedFile]:
    """The manifests of all bundles that cameras run with, by the bundle's name."""
    wanted = {
        camera.detector.bundle: (camera.detector.bundle, camera.detector.bundle_dir)
        for camera in config.cameras.values()
    }

    def manifest(name: str, folder: Path | None) -> Path | None:
        try:
            return find_bundle(name, folder) / MANIFEST
        except BundleError:
            return None

    return {name: WatchedFile(partial(manifest, *where), _sha256_of) for name, where in wanted.items()}


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_MANIFEST_BYTES + 1)
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest() if len(content) <= _MAX_MANIFEST_BYTES else ""


def _digest_of(environ: Mapping[str, str], path: Path) -> str:
    """Of what the file says, without secrets: the file's own hash could be tried for a password in it."""
    try:
        return load_config(path, environ).digest
    except ConfigError:
        return ""
