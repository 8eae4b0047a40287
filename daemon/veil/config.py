"""The configuration: frozen models, one class per TOML section.

edge-configs/reference.toml is the manual; a test loads it and holds it against these classes. Sections
outside `[camera.NAME]` are defaults for all cameras; the same section inside a camera overrides single keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from veil.domain.detection import ObjectClass

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Points = tuple[tuple[float, float], ...]


class Section(BaseModel):
    """Frozen; unknown keys are refused with the nearest known name."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class BoxConfig(Section):
    """`[box]`: the device."""

    name: Name = "box"
    site: str = ""
    state_dir: Path = Path("/var/lib/veil")
    runtime_dir: Path = Path("/run/veil")


class CaptureConfig(Section):
    """`[capture]`: how sources are read."""

    transport: Literal["tcp", "udp"] = "tcp"
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    connect_timeout_s: float = Field(5.0, ge=0.5, le=60)
    stall_timeout_s: float = Field(5.0, ge=0.5, le=5)
    reconnect_min_s: float = Field(1.0, ge=0.05, le=60)
    reconnect_max_s: float = Field(60.0, ge=0.05, le=60)
    max_width: int = Field(3840, ge=16, le=16384)
    max_height: int = Field(2160, ge=16, le=16384)
    width: int | None = Field(None, ge=16, le=16384)
    height: int | None = Field(None, ge=16, le=16384)
    frame_rate: float | None = Field(None, gt=0, le=240)
    pixel_format: Literal["auto", "yuyv", "mjpeg", "nv12"] = "auto"
    decoder_threads: int = Field(2, ge=1, le=16)


class ThresholdConfig(Section):
    """`[detector.thresholds.CLASS]`: from which score on a detection masks, extends a track, and its size.

    The upper limits are safety limits: nobody can switch masking off by a threshold.
    """

    score: float | None = Field(None, ge=0.01, le=0.6)
    low: float | None = Field(None, ge=0.01, le=0.5)
    min_size: float = Field(0.0, ge=0, le=24, description="pixels of the shorter side, in the frame")


class DetectorConfig(Section):
    """`[detector]`: bundle, runtime and schedule."""

    bundle: str = "veil-s"
    bundle_dir: Path | None = None
    runtime: Literal["onnx", "tflite"] = "onnx"
    provider: Literal["cpu", "openvino", "tensorrt", "cuda"] = "cpu"
    threads: int = Field(1, ge=1, le=16)
    input_width: int = Field(640, ge=160, le=1920)
    input_height: int = Field(384, ge=160, le=1920)
    tiles_per_frame: int = Field(1, ge=0, le=64)
    tile_overlap: int = Field(64, ge=0, le=256)
    time_budget_ms: float = Field(60.0, gt=0, le=1000)
    deadline_ms: float = Field(400.0, gt=0, le=5000)
    stuck_after_s: float = Field(5.0, gt=0, le=30)
    thresholds: dict[ObjectClass, ThresholdConfig] = Field(default_factory=dict)


class TrackerConfig(Section):
    """`[tracker]`: how long and how far a box is carried on without a detection."""

    hold_s: float = Field(1.0, ge=0.2, le=10)
    growth_per_s: float = Field(0.25, ge=0, le=2)
    match_iou: float = Field(0.15, gt=0, lt=1)
    smoothing: float = Field(0.5, ge=0, le=0.95)


class PolicyConfig(Section):
    """`[mask.face]`, `[mask.plate]`, `[mask.head]`, or of a zone: how one class is hidden.

    `margin` is a share of the box's width and height on each side, never negative.
    """

    operator: Literal["solid", "pixelate", "blur"] = "solid"
    margin: float = Field(0.15, ge=0, le=1)
    min_size: int = Field(12, ge=8, le=256)
    cells: int = Field(6, ge=1, le=8)
    resolution: int = Field(6, ge=1, le=8)


class ZoneConfig(Section):
    """`[[mask.zones]]`: a polygon in normalized coordinates.

    `mask = "always"` paints it in each frame; `"policy"` gives the objects whose centre lies
    in it their own policy.
    """

    name: Name
    points: Points
    mask: Literal["always", "policy"] = "always"
    policy: PolicyConfig = PolicyConfig()
    classes: tuple[ObjectClass, ...] = (ObjectClass.FACE, ObjectClass.PLATE, ObjectClass.HEAD)


class MaskConfig(Section):
    """`[mask]`: what is hidden and how. There is no key that switches masking off."""

    lookback_s: float = Field(0.5, ge=0, le=5)
    face: PolicyConfig = PolicyConfig()
    plate: PolicyConfig = PolicyConfig(margin=0.1)
    head: PolicyConfig | None = None
    zones: tuple[ZoneConfig, ...] = ()


class EncoderConfig(Section):
    """`[encoder]`: how masked frames are encoded."""

    codec: Literal["libx264", "h264_qsv", "h264_nvenc", "h264_v4l2m2m", "h264_vaapi"] = "libx264"
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "superfast"
    bit_rate: int = Field(4_000_000, ge=50_000, le=100_000_000)
    keyframe_interval_s: float = Field(2.0, ge=0.2, le=10)
    threads: int = Field(2, ge=1, le=16)
    device: str = ""


class RecorderConfig(Section):
    """`[recorder]`: anonymized recordings."""

    enabled: bool = True
    directory: Path | None = None
    segment_s: float = Field(60.0, ge=1, le=3600)
    fragment_s: float = Field(1.0, ge=0.2, le=10)
    keep_days: float = Field(3.0, gt=0, le=3650)
    keep_gib: float = Field(20.0, gt=0, le=1_000_000)
    min_free_mib: float = Field(512.0, ge=0)


class RtspConfig(Section):
    """`[rtsp]`: the anonymized stream."""

    enabled: bool = True
    address: str = "0.0.0.0"  # noqa: S104  VMSs pull from outside; what they get is masked
    port: int = Field(8554, ge=1, le=65535)
    slate_after_s: float = Field(0.7, ge=0.1, le=1.0)


class PreviewConfig(Section):
    """`[preview]`: masked JPEG snapshots and the small local page."""

    interval_s: float = Field(2.0, ge=0.2, le=3600)
    max_width: int = Field(960, ge=64, le=4096)
    quality: int = Field(80, ge=10, le=95)
    address: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535, description="0: no page")


class CameraConfig(Section):
    """`[camera.NAME]`: one camera with all its sections, defaults merged in."""

    name: Name
    source: str
    capture: CaptureConfig = CaptureConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    mask: MaskConfig = MaskConfig()
    encoder: EncoderConfig = EncoderConfig()
    recorder: RecorderConfig = RecorderConfig()
    preview: PreviewConfig = PreviewConfig()
