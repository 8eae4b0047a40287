"""The machine: interpreter, processor, clock, temperature, disks, ports."""

from __future__ import annotations

import getpass
import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import veil
from veil.config import Config
from veil.doctor.finding import Finding, fail, ok, warn
from veil.domain.clock import NANOSECONDS, SystemClock
from veil.host.clock import CLOCK_WAS_SET_NS, clock_state
from veil.host.disk import (
    MEBIBYTE,
    MEMORY_FILE_SYSTEMS,
    NETWORK_FILE_SYSTEMS,
    disk_space,
    file_system,
    in_the_way,
    nearest_existing,
    takes_files,
    write_speed,
)
from veil.host.thermal import temperatures
from veil.places import CameraPlaces

_GIBIBYTE = 1 << 30
_PROBE_BYTES = 32 * MEBIBYTE
_RTSP_TIMEOUT_S = 2.0
# What the detector's matrix products lean on.
_CPU_FEATURES = {"x86_64": ("avx2",), "aarch64": ("asimd",)}


def check_python(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del config, environ
    yield ok(
        "python",
        f"Veil {veil.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()} {platform.machine()}, user {_user()}",
    )


def check_cpu(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del environ
    cores = len(os.sched_getaffinity(0))
    features = _cpu_features()
    missing = [feature for feature in _CPU_FEATURES.get(platform.machine(), ()) if feature not in features]
    if missing:
        yield warn(
            "cpu",
            f"{cores} cores without {', '.join(missing)}: detection is slow here.",
            "Use a newer processor.",
        )
    else:
        yield ok("cpu", f"{cores} cores")
    wanted = max((camera.detector.threads for camera in config.cameras.values()), default=1)
    if wanted > cores:
        yield warn("cpu", f"detector.threads is {wanted} on {cores} cores.", f"Set it to {cores} or less.")


def check_clock(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del config, environ
    now_ns = SystemClock().wall_ns()
    if now_ns < CLOCK_WAS_SET_NS:
        yield fail(
            "clock",
            f"The clock says {datetime.fromtimestamp(now_ns // NANOSECONDS, UTC):%Y-%m-%d}: it was not set. "
            "Times in the evidence are wrong, and no certificate holds.",
            "Enable a time service: timedatectl set-ntp true (or chrony); look at the clock's battery.",
        )
        return
    try:
        state = clock_state()
    except OSError as error:
        yield warn("clock", f"The kernel does not say whether the clock is right: {error.strerror}.")
        return
    if state.synchronised:
        yield ok("clock", f"synchronised, within {state.max_error_us / 1000:.0f} ms")
    else:
        yield warn(
            "clock",
            "The clock is not synchronised: times in the evidence may be wrong.",
            "Enable a time service: timedatectl set-ntp true (or install chrony).",
        )


def check_temperature(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del config, environ
    found = temperatures()
    for zone in found:
        if zone.is_hot:
            yield warn(
                "temperature",
                f"{zone.zone}: {zone.celsius:.0f} °C, its limit is {zone.limit_celsius:.0f} °C.",
                "Look at fan, dust and sun; a throttled box drops frames.",
            )
    if found and not any(zone.is_hot for zone in found):
        hottest = max(found, key=lambda zone: zone.celsius)
        yield ok("temperature", f"{hottest.zone}: {hottest.celsius:.0f} °C")


def check_disks(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del environ
    yield from _check_folder("state", config.box.state_dir, needed_bytes=256 * MEBIBYTE, bit_rate=0)
    problems = list(_check_writable("runtime", config.box.runtime_dir))
    yield from problems or [ok("runtime", str(config.box.runtime_dir))]
    folders: dict[Path, list[str]] = {}
    for name, camera in config.cameras.items():
        if camera.recorder.enabled:
            folders.setdefault(CameraPlaces.of(config, name).recordings.parent, []).append(name)
    for folder, names in folders.items():
        cameras = [config.cameras[name] for name in names]
        free = max(camera.recorder.min_free_mib for camera in cameras) * MEBIBYTE
        yield from _check_folder(
            "recordings",
            folder,
            needed_bytes=free,
            bit_rate=sum(camera.encoder.bit_rate for camera in cameras),
        )
        kept = sum(camera.recorder.keep_gib for camera in cameras) * _GIBIBYTE
        total = disk_space(nearest_existing(folder)).total
        if kept + free > total:
            yield warn(
                "recordings",
                f"recorder.keep_gib of {', '.join(names)} comes to {kept / _GIBIBYTE:.0f} GiB, "
                f"the disk has {total / _GIBIBYTE:.0f}.",
                "Lower recorder.keep_gib; otherwise recording stops at recorder.min_free_mib.",
            )


def check_ports(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del environ
    if config.rtsp.enabled:
        is_ours = partial(_is_our_server, config.box.runtime_dir / "rtsp.sock")
        yield _check_port("rtsp port", config.rtsp.address, config.rtsp.port, is_ours)
    if config.page.port:
        yield _check_port("page port", config.page.address, config.page.port, _is_nobody)


def _check_writable(name: str, folder: Path) -> Iterator[Finding]:
    wrong = in_the_way(folder)
    if wrong is not None:
        yield fail(name, f"{wrong} is no folder.", "Remove it, or name another folder in the configuration.")
        return
    there = nearest_existing(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        yield fail(
            name,
            f"{there} cannot be written by {_user()}.",
            f"Run Veil as the folder's owner, or: sudo install -d -o {_user()} -m 0750 {folder}",
        )
        return
    try:
        takes_files(there)
    except OSError as error:
        yield fail(name, f"{there} takes no files: {error.strerror}.", "Name another folder.")
        return
    if there.stat().st_mode & 0o002 and not there.stat().st_mode & 0o1000:
        yield warn(name, f"{there} can be written by everybody.", f"chmod o-w {there}")


def _check_folder(name: str, folder: Path, *, needed_bytes: float, bit_rate: int) -> Iterator[Finding]:
    """Rights, space, kind and speed of the disk under `folder`, which may be yet to be made."""
    problems = list(_check_writable(name, folder))
    yield from problems
    if any(problem.level == "fail" for problem in problems):
        return
    there = nearest_existing(folder)
    kind = file_system(there)
    if kind in MEMORY_FILE_SYSTEMS:
        yield warn(name, f"{there} is in memory ({kind}): a restart empties it.", "Name a folder on a disk.")
    if kind in NETWORK_FILE_SYSTEMS:
        yield warn(
            name,
            f"{there} is on the network ({kind}): durability depends on the server.",
            "Name a folder on a local disk.",
        )
    space = disk_space(there)
    if space.free < needed_bytes + _PROBE_BYTES:
        yield fail(
            name,
            f"{there}: {space.free / _GIBIBYTE:.1f} GiB free, "
            f"{needed_bytes / _GIBIBYTE:.1f} GiB have to stay free.",
            "Add space, or lower recorder.min_free_mib.",
        )
        return
    try:
        speed = write_speed(there, _PROBE_BYTES)
    except OSError as error:
        yield fail(name, f"{there} takes no data: {error.strerror}.", "Check the disk: dmesg, smartctl.")
        return
    said = f"{folder}: {space.free / _GIBIBYTE:.1f} GiB free, {speed / 1e6:.0f} MB/s, {kind or 'unknown'}"
    # Four times over: a disk at its limit delays every other write.
    if speed * 8 < 4 * bit_rate:
        yield warn(name, f"{said}; too slow for {bit_rate / 1e6:.0f} Mbit/s.", "Use a faster disk.")
    else:
        yield ok(name, said)


def _check_port(name: str, address: str, port: int, is_ours: Callable[[], bool]) -> Finding:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
    except PermissionError:
        return fail(name, f"{address}:{port} may not be used by {_user()}.", "Choose a port from 1024 on.")
    except OSError as error:
        if is_ours() and _speaks_rtsp(address, port):
            return ok(name, f"{address}:{port} is served already")
        return fail(
            name,
            f"{address}:{port} cannot be used: {error.strerror}.",
            f"See who has it: ss -ltnp 'sport = :{port}'; or change the port in the configuration.",
        )
    return ok(name, f"{address}:{port} is free")


def _is_nobody() -> bool:
    return False


def _is_our_server(path: Path) -> bool:
    """Whether something listens where cameras hand over their packets. Without the right to ask: yes."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(_RTSP_TIMEOUT_S)
            channel.connect(str(path))
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _speaks_rtsp(address: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104  compared, not bound
    try:
        with socket.create_connection((host, port), _RTSP_TIMEOUT_S) as channel:
            channel.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            return channel.recv(8) == b"RTSP/1.0"
    except OSError:
        return False


def _cpu_features() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
