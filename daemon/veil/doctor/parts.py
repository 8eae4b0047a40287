"""The parts of the way, each really tried: bundle and self-test, encoder, RTSP server, secrets, cameras."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from veil.capture.open import open_source
from veil.capture.source import DropReason, Source
from veil.config import CameraConfig, CameraSections, Config, EncoderConfig, redact
from veil.config_secrets import CREDENTIALS_VARIABLE, with_password
from veil.detect.bundle import find_bundle, load_bundle
from veil.detect.detector import open_detector
from veil.detect.selftest import run_selftest
from veil.doctor.finding import Finding, fail, failed, ok, warn
from veil.domain.clock import SystemClock
from veil.encode.encoder import Encoder
from veil.errors import VeilError
from veil.frames.picture import ColorInfo, FrameInfo
from veil.frames.pool import SlotPool
from veil.mask.masker import SlateMaker
from veil.origin import not_found, policies_of

# The distribution's: gi belongs to it, not to a virtual environment.
SYSTEM_PYTHON = Path("/usr/bin/python3")
_GSTREAMER_PROBE = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
missing = [name for name in ("appsrc", "h264parse", "rtph264pay") if not Gst.ElementFactory.find(name)]
print(Gst.version_string(), *missing, sep="|")
"""
_PACKAGES = (
    "sudo apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
_CAMERAS_AT_ONCE = 4
_SLACK_S = 3.0


def check_rtsp_server(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del environ
    if not config.rtsp.enabled:
        return
    try:
        result = subprocess.run(
            [SYSTEM_PYTHON, "-c", _GSTREAMER_PROBE], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield fail("rtsp server", f"{SYSTEM_PYTHON} does not run: {type(error).__name__}.", _PACKAGES)
        return
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield fail("rtsp server", f"gst-rtsp-server is missing under {SYSTEM_PYTHON}: {reason}", _PACKAGES)
        return
    version, *missing = result.stdout.strip().split("|")
    if missing:
        yield fail("rtsp server", f"{version} has no {', '.join(missing)}.", _PACKAGES)
    else:
        yield ok("rtsp server", f"{version} with gst-rtsp-server")


def check_bundles(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del environ
    alike: dict[str, dict[str, CameraSections]] = {}
    for name, camera in config.cameras.items():
        alike.setdefault(camera.detector.model_dump_json(), {})[name] = camera
    for cameras in alike.values() or [{"defaults": config.defaults}]:
        yield from _check_bundle(cameras)


def _check_bundle(cameras: Mapping[str, CameraSections]) -> Iterator[Finding]:
    """Of cameras that have one detector."""
    config = next(iter(cameras.values())).detector
    names = ", ".join(cameras)
    name = f"detector ({names})"
    try:
        bundle = load_bundle(find_bundle(config.bundle, config.bundle_dir))
    except VeilError as error:
        yield failed(name, error)
        return
    wanted = {kind for camera in cameras.values() for kind in policies_of(camera.mask)}
    if missing := wanted - set(bundle.manifest.classes):
        yield warn(f"hidden ({names})", *not_found(bundle.identity, missing))
    try:
        with open_detector(bundle, config) as detector:
            result = run_selftest(detector)
            ran = detector.runtime
    except VeilError as error:
        yield failed(name, error)
        return
    said = (
        f"{bundle.identity} on {ran}: self-test found {result.found} of {result.expected}, "
        f"{result.median_ms:.0f} ms a picture"
    )
    if result.median_ms > config.deadline_ms:
        yield fail(
            name,
            f"{said}, over detector.deadline_ms ({config.deadline_ms:g}).",
            "Lower detector.input_width and input_height, or use a faster provider.",
        )
    elif result.median_ms > config.time_budget_ms:
        yield warn(
            name,
            f"{said}, over detector.time_budget_ms ({config.time_budget_ms:g}): no tiles.",
            "Use more threads, a smaller input or a faster provider.",
        )
    else:
        yield ok(name, said)


def check_encoders(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    del environ
    settings: dict[EncoderConfig, list[str]] = {}
    for name, camera in config.cameras.items():
        settings.setdefault(camera.encoder, []).append(name)
    for encoder, cameras in (settings or {config.defaults.encoder: ["defaults"]}).items():
        yield _check_encoder(encoder, ", ".join(cameras))


def _check_encoder(config: EncoderConfig, cameras: str) -> Finding:
    """One slate through the real encoder."""
    name, width, height = f"encoder ({cameras})", 640, 360
    info = FrameInfo(0, 0, Fraction(1, 90_000), 0, 0, width, height)
    slates = SlateMaker(width, height, ("VEIL DOCTOR",))
    try:
        with Encoder(
            config,
            width=width,
            height=height,
            time_base=info.time_base,
            frame_rate=25,
            color=ColorInfo(),
            epoch=0,
            clock=SystemClock(),
        ) as encoder:
            packets = [*encoder.encode(slates.slate(info)), *encoder.flush()]
    except VeilError as error:
        return failed(name, error)
    if not packets:
        return fail(name, f"{config.codec} took a frame and gave nothing.", "Set encoder.codec to libx264.")
    return ok(name, f"{config.codec}: one frame, {len(packets[0].data)} bytes")


def check_secrets(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    for name, camera in config.cameras.items():
        file = camera.capture.password_file
        if file is None or environ.get(CREDENTIALS_VARIABLE):
            continue
        try:
            mode = file.stat().st_mode
        except OSError:
            continue  # said by the camera's own check
        if mode & 0o077:
            yield warn(
                f"secret ({name})",
                "The file that capture.password_file names can be read by others than its owner.",
                f"chmod 0400 {file}",
            )


def check_cameras(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    with ThreadPoolExecutor(_CAMERAS_AT_ONCE, thread_name_prefix="doctor") as pool:
        yield from pool.map(lambda camera: _check_camera(camera, environ), config.cameras.values())


@dataclass(slots=True)
class _Probe:
    """Pools and observer in one: keeps what the source says until its first frame."""

    errors: list[VeilError] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)
    frame_rate: float = 0.0

    def pool(self, width: int, height: int, frame_rate: float) -> SlotPool:
        self.frame_rate = frame_rate
        return SlotPool(width, height, 3)

    def connected(self, width: int, height: int, frame_rate: float) -> None:
        del width, height
        self.frame_rate = frame_rate

    def disconnected(self, error: VeilError, retry_in_s: float) -> None:
        del retry_in_s
        self.errors.append(error)
        self.told.set()

    def dropped(self, reason: DropReason) -> None:
        del reason


def _check_camera(camera: CameraConfig, environ: Mapping[str, str]) -> Finding:
    """Opens the source and waits for one frame; never for a second attempt."""
    name = f"camera ({camera.name})"
    probe = _Probe()
    try:
        source = open_source(with_password(camera, environ), probe, probe, SystemClock())
    except VeilError as error:
        return failed(name, error)
    sizes: queue.SimpleQueue[FrameInfo] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_one, args=(source, probe, sizes), name=name, daemon=True)
    reader.start()
    patience_s = camera.capture.connect_timeout_s + camera.capture.stall_timeout_s + _SLACK_S
    probe.told.wait(patience_s)
    source.close()
    reader.join(_SLACK_S)
    if not sizes.empty():
        info = sizes.get()
        return ok(
            name, f"{redact(camera.source)}: {info.width}x{info.height}, {probe.frame_rate:.4g} frames/s"
        )
    if probe.errors:
        return failed(name, probe.errors[0])
    return fail(
        name,
        f"{redact(camera.source)}: no frame within {patience_s:.0f} s.",
        "Check address, path and credentials with another player, and the network between.",
    )


def _read_one(source: Source, probe: _Probe, sizes: queue.SimpleQueue[FrameInfo]) -> None:
    try:
        for raw in source.frames():
            with raw:
                sizes.put(raw.info)
            break
    except VeilError as error:
        probe.errors.append(error)
    finally:
        probe.told.set()
