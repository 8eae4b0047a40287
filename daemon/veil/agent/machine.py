"""The machine's part of health, from /proc and the kernel; needs no rights."""

from __future__ import annotations

import hashlib
import os
import platform
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from veil import __version__
from veil.bundle_place import MANIFEST, find_bundle
from veil.config import Config
from veil.errors import BundleError
from veil.host.clock import clock_state
from veil.host.disk import MEBIBYTE, disk_space, nearest_existing
from veil.host.thermal import temperatures
from veil.messages.health import BoxHealth, Bundle

PROC: Final = Path("/proc")
_MAX_MANIFEST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _CpuTimes:
    """Ticks since the start of the machine."""

    busy: int
    total: int


class Machine:
    """Asked at intervals: the CPU's use is that since the last time."""

    def __init__(self, config: Config, proc: Path = PROC) -> None:
        self._config = config
        self._proc = proc
        self._cpu = _cpu_times(proc)
        self.bundle = bundle_of(config)

    def use(self, config: Config) -> None:
        """After the configuration was read again."""
        self._config = config
        self.bundle = bundle_of(config)

    def look(self, queue_events: int, queue_bytes: int) -> BoxHealth:
        before, self._cpu = self._cpu, _cpu_times(self._proc)
        ticks = self._cpu.total - before.total
        memory = _memory_kib(self._proc)
        try:
            disk = disk_space(nearest_existing(self._config.box.state_dir))
            free_mib, total_mib = disk.free // MEBIBYTE, disk.total // MEBIBYTE
        except OSError:
            free_mib = total_mib = 0
        try:
            clock = clock_state()
            synchronised, error_ms = clock.synchronised, round(clock.max_error_us / 1000, 1)
        except OSError:
            synchronised, error_ms = False, None
        total_kib, available_kib = memory.get("MemTotal", 0), memory.get("MemAvailable", 0)
        return BoxHealth(
            cpu_percent=round(100 * (self._cpu.busy - before.busy) / ticks, 1) if ticks > 0 else 0.0,
            memory_used_mib=max(0, total_kib - available_kib) // 1024,
            memory_total_mib=total_kib // 1024,
            disk_free_mib=free_mib,
            disk_total_mib=total_mib,
            temperature_c=max((zone.celsius for zone in temperatures()), default=None),
            clock_synchronised=synchronised,
            clock_offset_ms=error_ms if synchronised else None,
            uptime_s=_uptime_s(self._proc),
            version=__version__,
            python=platform.python_version(),
            system=system_name(),
            config_sha256=self._config.digest,
            bundle=self.bundle,
            queue_events=queue_events,
            queue_bytes=queue_bytes,
        )


def bundle_of(config: Config) -> Bundle | None:
    """The bundle that the first camera runs with; None where it is not there. Its manifest is not verified:
    the camera's process does that, and does not start where it fails."""
    detector = next(iter(config.cameras.values()), config.defaults).detector
    try:
        path = find_bundle(detector.bundle, detector.bundle_dir) / MANIFEST
        with path.open("rb") as file:
            content = file.read(_MAX_MANIFEST_BYTES)
        manifest = tomllib.loads(content.decode())
    except (BundleError, OSError, ValueError):
        return None
    name, version = manifest.get("name"), manifest.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        return None
    return Bundle(name=name[:400], version=version[:400], sha256=hashlib.sha256(content).hexdigest())


def system_name() -> str:
    """Distribution, kernel and processor, as one line."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = "Linux"
    return f"{name}, {platform.release()}, {platform.machine()}"[:400]


def _cpu_times(proc: Path) -> _CpuTimes:
    try:
        first = (proc / "stat").read_text(encoding="ascii").splitlines()[0].split()
        # user nice system idle iowait irq softirq steal; what follows is part of user and nice.
        ticks = [int(word) for word in first[1:9]]
    except (OSError, ValueError, IndexError):
        return _CpuTimes(0, 0)
    return _CpuTimes(sum(ticks) - sum(ticks[3:5]), sum(ticks))


def _memory_kib(proc: Path) -> dict[str, int]:
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        return {
            name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest
        }
    except (OSError, ValueError, IndexError):
        return {}


def _uptime_s(proc: Path) -> int:
    try:
        return int(float((proc / "uptime").read_text(encoding="ascii").split()[0]))
    except (OSError, ValueError, IndexError):
        return int(os.times().elapsed)
