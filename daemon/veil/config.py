"""The configuration: frozen models, one class per TOML section.

edge-configs/reference.toml is the manual; a test loads it and holds it against these classes. Sections
outside `[camera.NAME]` are defaults for all cameras; the same section inside a camera overrides single keys
(`veil.config_load` merges them). The descriptions here become the manual and edge-configs/schema.json.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Polygon

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}$"
BOX_LOG = "box"
"""The name of the box's own log; no camera can have it."""
SECRET_KEYS = frozenset({"password"})

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Points = tuple[tuple[float, float], ...]

_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")
_VERIFIER_KEY = re.compile(r"[^\s+\x00-\x1f\x7f]{1,128}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")
_SOURCE_SCHEMES = ("rtsp", "rtsps")
_PASSWORD_IN_QUERY = re.compile(r"(?i)((?:pass(?:word|wd)?|pwd)=)[^&?#]*")


class Section(BaseModel):
    """Frozen; unknown keys are refused with the nearest known name."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class BoxConfig(Section):
    """`[box]`: the device."""

    name: Name = Field("box", description="name of this device, in evidence and in MQTT topics")
    site: str = Field("", max_length=64, description="where it stands, free text, in evidence")
    state_dir: Path = Field(
        Path("/var/lib/veil"), description="what must outlive a restart: logs, recordings, model slots"
    )
    runtime_dir: Path = Field(
        Path("/run/veil"), description="sockets and snapshots; belongs on a memory file system"
    )


class CaptureConfig(Section):
    """`[capture]`: how sources are read."""

    transport: Literal["tcp", "udp"] = Field("tcp", description="how RTSP carries its packets")
    user: str = Field("", description="user name at the camera; empty: none")
    password: SecretStr = Field(
        SecretStr(""),
        description="password at the camera; meant for the environment, use password_file in files",
    )
    password_file: Path | None = Field(
        None,
        description="file whose first line is the password; a systemd credential of the same file name wins",
        examples=["/etc/veil/secrets/front.password"],
    )
    connect_timeout_s: float = Field(
        5.0, ge=0.5, le=60, description="seconds until a camera that does not answer counts as away"
    )
    stall_timeout_s: float = Field(
        5.0, ge=0.5, le=5, description="seconds without a frame until a connected camera counts as away"
    )
    reconnect_min_s: float = Field(
        1.0, ge=0.05, le=60, description="seconds before the first reconnect, with jitter"
    )
    reconnect_max_s: float = Field(
        60.0, ge=0.05, le=60, description="seconds between reconnects at most, with jitter"
    )
    max_width: int = Field(
        3840, ge=16, le=16384, description="pixels; wider pictures are refused before they are decoded"
    )
    max_height: int = Field(
        2160, ge=16, le=16384, description="pixels; higher pictures are refused before they are decoded"
    )
    width: int | None = Field(
        None,
        ge=16,
        le=16384,
        description="pixels to ask a V4L2 device for; unset: what it offers first",
        examples=[1920],
    )
    height: int | None = Field(
        None,
        ge=16,
        le=16384,
        description="pixels to ask a V4L2 device for; unset: what it offers first",
        examples=[1080],
    )
    frame_rate: float | None = Field(
        None,
        gt=0,
        le=240,
        description="frames a second to ask a V4L2 device for; unset: what it offers first",
        examples=[30.0],
    )
    pixel_format: Literal["auto", "yuyv", "mjpeg", "nv12"] = Field(
        "auto", description="what to ask a V4L2 device for; auto: the first that it offers"
    )
    decoder_threads: int = Field(2, ge=1, le=16, description="threads of the video decoder")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reconnect_min_s > self.reconnect_max_s:
            raise ValueError(
                f"reconnect_min_s ({self.reconnect_min_s:g}) is over "
                f"reconnect_max_s ({self.reconnect_max_s:g})"
            )
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together: set both or neither")
        if self.width is not None and self.width > self.max_width:
            raise ValueError(f"width ({self.width}) is over max_width ({self.max_width})")
        if self.height is not None and self.height > self.max_height:
            raise ValueError(f"height ({self.height}) is over max_height ({self.max_height})")
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("password and password_file are both set; keep one")
        return self


class ThresholdConfig(Section):
    """`[detector.thresholds.CLASS]`: from which score on a detection masks, extends a track, and its size.

    The upper limits are safety limits: nobody can switch masking off by a threshold.
    """

    score: float | None = Field(
        None,
        ge=0.01,
        le=0.6,
        description="score (0..1) from which a detection masks; unset: the bundle's",
        examples=[0.35],
    )
    low: float | None = Field(
        None,
        ge=0.01,
        le=0.5,
        description="score (0..1) from which it extends a track; unset: the bundle's",
        examples=[0.1],
    )
    large: float | None = Field(
        None,
        ge=0,
        le=0.6,
        description="score (0..1) that a box of a fifth of a video's height needs; unset: the bundle's",
        examples=[0.35],
    )
    min_size: float = Field(
        0.0, ge=0, le=24, description="pixels of the shorter side, in the frame; smaller ones are ignored"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low is not None and self.score is not None and self.low > self.score:
            raise ValueError(f"low ({self.low:g}) is over score ({self.score:g})")
        return self


class DetectorConfig(Section):
    """`[detector]`: bundle, runtime and schedule."""

    bundle: str = Field(
        "veil-s",
        min_length=1,
        max_length=1024,
        description="name of the model bundle, or its folder with a / in it",
    )
    bundle_dir: Path | None = Field(
        None,
        description="folder with bundles; unset: the installed slot, else those that ship with Veil",
        examples=["/var/lib/veil/bundles"],
    )
    runtime: Literal["onnx", "tflite"] = Field("onnx", description="what runs the model")
    provider: Literal["cpu", "openvino", "tensorrt", "cuda"] = Field(
        "cpu", description="ONNX Runtime's execution provider; refused where missing, never replaced"
    )
    threads: int = Field(1, ge=1, le=16, description="threads of the detector")
    input_width: int = Field(640, ge=160, le=1920, description="pixels the whole frame is scaled to")
    input_height: int = Field(384, ge=160, le=1920, description="pixels the whole frame is scaled to")
    tiles_per_frame: int = Field(
        1, ge=0, le=64, description="tiles at native scale looked at each frame, in rotation; 0: none"
    )
    tile_overlap: int = Field(64, ge=0, le=256, description="pixels that neighbouring tiles share")
    time_budget_ms: float = Field(
        25.0, gt=0, le=1000, description="milliseconds a frame; over it a frame gets fewer tiles"
    )
    deadline_ms: float = Field(
        400.0, gt=0, le=5000, description="milliseconds; a later answer hides the whole frame"
    )
    stuck_after_s: float = Field(
        5.0, gt=0, le=30, description="seconds without an answer until the process ends and is restarted"
    )
    thresholds: dict[ObjectClass, ThresholdConfig] = Field(
        default_factory=dict, description="per class; unset: the bundle's"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.provider != "cpu" and self.runtime != "onnx":
            raise ValueError(f'provider "{self.provider}" needs runtime "onnx"')
        if self.deadline_ms > self.stuck_after_s * 1000:
            raise ValueError(
                f"deadline_ms ({self.deadline_ms:g}) is over stuck_after_s ({self.stuck_after_s:g} s)"
            )
        if self.tile_overlap * 2 > min(self.input_width, self.input_height):
            raise ValueError(f"tile_overlap ({self.tile_overlap}) is over half of the input's size")
        return self


class TrackerConfig(Section):
    """`[tracker]`: how long and how far a box is carried on without a detection."""

    hold_s: float = Field(0.5, ge=0.2, le=10, description="seconds a track that is not seen stays masked")
    growth_per_s: float = Field(
        0.1, ge=0, le=2, description="share of its size by which such a box grows each second"
    )
    match_iou: float = Field(
        0.15, gt=0, lt=1, description="overlap (0..1) from which a detection continues a track"
    )
    smoothing: float = Field(
        0.5, ge=0, le=0.95, description="share of the past in a box; it never shrinks below the detection"
    )


class PolicyConfig(Section):
    """`[mask.face]`, `[mask.plate]`, `[mask.head]`, or of a zone: how one class is hidden."""

    operator: Literal["solid", "pixelate", "blur"] = Field(
        "solid", description="solid reveals nothing; pixelate and blur keep a rest of the picture"
    )
    margin: float = Field(
        0.1, ge=0, le=1, description="share of the box's width and height added on each side"
    )
    min_size: int = Field(12, ge=8, le=256, description="pixels; smaller masks are enlarged to this")
    cells: int = Field(6, ge=1, le=8, description="pixelate: cells along the longer side at most")
    resolution: int = Field(6, ge=1, le=8, description="blur: samples left along the longer side at most")


class ZoneConfig(Section):
    """`[[mask.zones]]`: a polygon in normalized coordinates."""

    name: Name = Field(description="name of the zone, in evidence", examples=["clock"])
    points: Points = Field(
        description="corners [x, y], 0..1 of the picture's width and height, no crossing edges",
        examples=[[[0.0, 0.0], [1.0, 0.0], [1.0, 0.12], [0.0, 0.12]]],
    )
    mask: Literal["always", "policy"] = Field(
        "always",
        description="always: painted in each frame; policy: objects with their centre in it get this policy",
    )
    policy: PolicyConfig = Field(PolicyConfig(), description="how this zone, or what is in it, is hidden")
    classes: tuple[ObjectClass, ...] = Field(
        (ObjectClass.FACE, ObjectClass.PLATE, ObjectClass.HEAD),
        min_length=1,
        description='classes that the policy is for; of no meaning with "always"',
    )

    @field_validator("points")
    @classmethod
    def _check_points(cls, points: Points) -> Points:
        polygon = Polygon(points)
        problem = polygon_problem(polygon)
        if problem:
            raise ValueError(problem)
        return points


class MaskConfig(Section):
    """`[mask]`: what is hidden and how. There is no key that switches masking off."""

    lookback_s: float = Field(
        0.5, ge=0, le=5, description="seconds a frame waits, so that new tracks cover the frames before"
    )
    face: PolicyConfig = Field(PolicyConfig(), description="how faces are hidden")
    # A plate is a few pixels high: a box that is one off leaves characters at its edge.
    plate: PolicyConfig = Field(PolicyConfig(margin=0.15), description="how licence plates are hidden")
    head: PolicyConfig | None = Field(
        None, description="how heads are hidden; unset: heads only keep face tracks alive"
    )
    zones: tuple[ZoneConfig, ...] = Field(
        (), max_length=64, description="areas; the list of a camera replaces the default list"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [zone.name for zone in self.zones]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"zones with the same name: {', '.join(twice)}")
        return self


class EncoderConfig(Section):
    """`[encoder]`: how masked frames are encoded."""

    codec: Literal["libx264", "h264_qsv", "h264_nvenc", "h264_v4l2m2m", "h264_vaapi"] = Field(
        "libx264", description="encoder; refused where missing, never replaced"
    )
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = Field(
        "superfast", description="libx264's trade of speed against size; other encoders map it or ignore it"
    )
    bit_rate: int = Field(4_000_000, ge=50_000, le=100_000_000, description="bits a second at most")
    keyframe_interval_s: float = Field(
        2.0, ge=0.2, le=10, description="seconds between keyframes; a late viewer waits this long"
    )
    threads: int = Field(
        1, ge=1, le=16, description="of libx264; with 1 alone, equal pictures give equal bytes"
    )
    device: str = Field("", max_length=128, description="device of a hardware encoder; empty: the first one")


class RecorderConfig(Section):
    """`[recorder]`: anonymized recordings."""

    enabled: bool = Field(default=True, description="whether recordings are written")
    directory: Path | None = Field(
        None,
        description="each camera writes into its folder NAME in here; unset: STATE_DIR/recordings",
        examples=["/srv/recordings"],
    )
    segment_s: float = Field(60.0, ge=1, le=3600, description="seconds a file, cut at the next keyframe")
    fragment_s: float = Field(1.0, ge=0.2, le=10, description="seconds a fragment: what a power cut can cost")
    keep_days: float = Field(3.0, gt=0, le=3650, description="days after which a file is deleted")
    keep_gib: float = Field(
        20.0, gt=0, le=1_000_000, description="GiB of this camera's files, the oldest go first"
    )
    min_free_mib: float = Field(
        512.0, ge=0, le=1_000_000, description="MiB that stay free on the disk; below it recording stops"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fragment_s > self.segment_s:
            raise ValueError(f"fragment_s ({self.fragment_s:g}) is over segment_s ({self.segment_s:g})")
        return self


class PreviewConfig(Section):
    """`[preview]`: a masked JPEG picture every few seconds."""

    interval_s: float = Field(2.0, ge=0.2, le=3600, description="seconds between pictures")
    max_width: int = Field(960, ge=64, le=4096, description="pixels; wider pictures are scaled down")
    quality: int = Field(80, ge=10, le=95, description="JPEG quality")


class RtspConfig(Section):
    """`[rtsp]`: the anonymized streams, `rtsp://box:PORT/NAME`."""

    enabled: bool = Field(default=True, description="whether streams are served")
    address: str = Field(
        "0.0.0.0",  # noqa: S104  VMSs pull from outside; what they get is masked
        description="address to listen at",
    )
    port: int = Field(8554, ge=1, le=65535, description="TCP port")
    slate_after_s: float = Field(
        0.7, ge=0.1, le=1.0, description="seconds without a masked frame until the slate is sent"
    )


class PageConfig(Section):
    """`[page]`: the small local page with the pictures of all cameras."""

    address: str = Field("127.0.0.1", description="address to listen at; the page asks for no password")
    port: int = Field(0, ge=0, le=65535, description="TCP port; 0: no page")


class FleetConfig(Section):
    """`[fleet]`: the fleet manager's MQTT broker, and whom the box trusts there. Without a host: no link."""

    host: str = Field(
        "",
        max_length=253,
        description="the broker, as named in its certificate; empty: no link, logs are still signed",
    )
    port: int = Field(8883, ge=1, le=65535, description="TCP port of the broker")
    tls: Literal["on", "off"] = Field(
        "on", description="off is refused unless the host is this machine: for development"
    )
    ca: Path | None = Field(
        None,
        description="file with the certificate that signed the broker's (PEM)",
        examples=["/etc/veil/fleet/ca.pem"],
    )
    certificate: Path | None = Field(
        None,
        description="file with this box's certificate (PEM), named as box.name",
        examples=["/etc/veil/fleet/box.pem"],
    )
    key: Path | None = Field(
        None,
        description="file with its private key (PEM); a systemd credential of the same file name wins",
        examples=["/etc/veil/secrets/fleet.key"],
    )
    command_keys: tuple[str, ...] = Field(
        (),
        max_length=16,
        description="verifier keys (NAME+ID+BASE64) whose commands are taken; none: no commands",
    )
    witness_keys: tuple[str, ...] = Field(
        (), max_length=16, description="verifier keys (NAME+ID+BASE64) whose receipts empty the outbox"
    )
    keepalive_s: int = Field(15, ge=5, le=60, description="seconds of MQTT's keep alive")

    @property
    def enabled(self) -> bool:
        """Whether there is a broker to talk to."""
        return bool(self.host)

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if host and not _HOST.fullmatch(host):
            raise ValueError("host is a name or an address, without scheme, port and spaces")
        return host

    @field_validator("command_keys", "witness_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for number, key in enumerate(keys, 1):
            if not _VERIFIER_KEY.fullmatch(key):
                raise ValueError(f"entry {number} is no verifier key; they have the form NAME+ID+BASE64")
        return keys

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tls == "off" and self.host and not _is_loopback(self.host):
            raise ValueError(
                'tls = "off" is for a broker on this machine alone (localhost, 127.0.0.1 or ::1)'
            )
        if self.enabled and self.tls == "on":
            missing = [name for name in ("ca", "certificate", "key") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"host needs {', '.join(missing)} too: enrol the box (veil-fleet enroll)")
        return self


class AgentConfig(Section):
    """`[agent]`: what the box tells of itself, and how much evidence it keeps ready to send."""

    health_every_s: int = Field(
        30, ge=5, le=300, description="seconds between health messages; changes are told at once"
    )
    checkpoint_every_s: int = Field(
        60, ge=1, le=60, description="seconds at most until new log lines are signed"
    )
    outbox_max_mib: int = Field(
        1024,
        ge=16,
        le=65536,
        description="MiB of log lines kept ready until the fleet manager's receipt; others stay in the logs",
    )
    prometheus_port: int = Field(
        0, ge=0, le=65535, description="TCP port for metrics on this machine; 0: none"
    )
    home_assistant: bool = Field(
        default=False, description="whether Home Assistant is told of the cameras (MQTT discovery)"
    )
    home_assistant_prefix: str = Field(
        "homeassistant",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="first part of Home Assistant's discovery topics",
    )


class CameraSections(Section):
    """The sections that a camera has: at the top of the file they are the defaults of all cameras."""

    capture: CaptureConfig = Field(CaptureConfig(), description="how sources are read")
    detector: DetectorConfig = Field(DetectorConfig(), description="bundle, runtime and schedule")
    tracker: TrackerConfig = Field(TrackerConfig(), description="how boxes are carried on")
    mask: MaskConfig = Field(MaskConfig(), description="what is hidden and how")
    encoder: EncoderConfig = Field(EncoderConfig(), description="how masked frames are encoded")
    recorder: RecorderConfig = Field(RecorderConfig(), description="anonymized recordings")
    preview: PreviewConfig = Field(PreviewConfig(), description="masked pictures")


class CameraConfig(CameraSections):
    """`[camera.NAME]`: one camera with all its sections, defaults merged in.

    `source` never holds credentials: the loader moves them into `capture`.
    """

    name: Name = Field(description="from the section's header")
    source: str = Field(
        min_length=1,
        max_length=2048,
        description="rtsp://HOST/PATH, rtsps://HOST/PATH, /dev/videoN, a file or a folder",
        examples=["rtsp://192.0.2.10:554/stream1"],
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in source):
            raise ValueError("source holds control characters")
        scheme, separator, rest = source.partition("://")
        if separator and scheme.lower() not in _SOURCE_SCHEMES:
            raise ValueError(f"source starts with an unknown scheme; known are {', '.join(_SOURCE_SCHEMES)}")
        if separator and not rest.split("/")[0]:
            raise ValueError("source names no host")
        return source

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of what this camera runs with, for the evidence. Holds no secrets."""
        return _digest({"camera": _public(self)})


@dataclass(frozen=True, slots=True)
class Config:
    """All that a box runs with, checked and resolved.

    Attributes:
        defaults: the camera sections at the top of the file, for sources that have no section.
        cameras: by name, in the order of the file.
        warnings: what works but should be changed, one line each.
        path: the file it came from, None for defaults and environment alone.
    """

    box: BoxConfig
    rtsp: RtspConfig
    page: PageConfig
    fleet: FleetConfig
    agent: AgentConfig
    defaults: CameraSections
    cameras: Mapping[str, CameraConfig]
    warnings: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the whole resolved configuration without secrets, canonical JSON."""
        return _digest(
            {
                "box": self.box.model_dump(mode="json"),
                "rtsp": self.rtsp.model_dump(mode="json"),
                "page": self.page.model_dump(mode="json"),
                "fleet": self.fleet.model_dump(mode="json"),
                "agent": self.agent.model_dump(mode="json"),
                "cameras": {name: _public(camera) for name, camera in self.cameras.items()},
            }
        )

    def recordings(self, camera: str) -> Path:
        """The folder of one camera's recordings."""
        recorder = self.cameras[camera].recorder if camera in self.cameras else self.defaults.recorder
        return (recorder.directory or self.box.state_dir / "recordings") / camera

    def camera_for(self, name: str, source: str) -> CameraConfig:
        """A camera with the default sections, for a source that the file does not name."""
        return CameraConfig(name=name, source=source, **dict(self.defaults))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def redact(source: str) -> str:
    """A source as it may be shown and logged: without user, password and password-like query values."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return _PASSWORD_IN_QUERY.sub(r"\1***", f"{scheme}://{host}{slash}{path}")


def polygon_problem(polygon: Polygon) -> str:
    """Why a polygon cannot be a zone, or "". Where edges cross, the even-odd rule leaves holes."""
    points = polygon.points
    count = len(points)
    if len(set(points)) != count:
        return "a polygon names a corner twice (it closes by itself)"
    edges = [(points[i], points[(i + 1) % count]) for i in range(count)]
    for i, (a, b) in enumerate(edges):
        for j in range(i + 2, count):
            if i == 0 and j == count - 1:
                continue
            if _cross(a, b, *edges[j]):
                return f"edges {i + 1} and {j + 1} of a polygon cross: part of it would stay uncovered"
    area = abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in edges)) / 2
    if area < 1e-6:
        return "a polygon has no area"
    return ""


def _side(a: tuple[float, float], b: tuple[float, float], point: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def _cross(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]
) -> bool:
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _public(camera: CameraConfig) -> dict[str, object]:
    values: dict[str, object] = camera.model_dump(
        mode="json", exclude={"capture": {"user", "password", "password_file"}}
    )
    values["source"] = redact(camera.source)
    return values


def _digest(value: dict[str, object]) -> str:
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()  # type: ignore[arg-type]
