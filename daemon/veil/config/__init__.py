"""The configuration: frozen models, one class per TOML section.

edge-configs/reference.toml is the manual; a test loads it and holds it against these classes. Sections
outside `[camera.NAME]` are defaults for all cameras; the same section inside a camera overrides single keys
(`veil.config_load` merges them). The descriptions here become the manual and edge-configs/schema.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from veil.config.box import BOX_LOG, AgentConfig, BoxConfig, PageConfig, RtspConfig
from veil.config.camera import CameraConfig, CameraSections, public
from veil.config.digest import digest_of
from veil.config.finding import DetectorConfig, ThresholdConfig, TrackerConfig
from veil.config.fleet import FleetConfig
from veil.config.masking import MaskConfig, PolicyConfig, ZoneConfig, polygon_problem
from veil.config.output import EncoderConfig, PreviewConfig, RecorderConfig
from veil.config.section import NAME_PATTERN, SECRET_KEYS, Section, scalar_of
from veil.config.source import CaptureConfig, redact, split_login

__all__ = [
    "BOX_LOG",
    "NAME_PATTERN",
    "SECRET_KEYS",
    "AgentConfig",
    "BoxConfig",
    "CameraConfig",
    "CameraSections",
    "CaptureConfig",
    "Config",
    "DetectorConfig",
    "EncoderConfig",
    "FleetConfig",
    "MaskConfig",
    "PageConfig",
    "PolicyConfig",
    "PreviewConfig",
    "RecorderConfig",
    "RtspConfig",
    "Section",
    "ThresholdConfig",
    "TrackerConfig",
    "ZoneConfig",
    "polygon_problem",
    "redact",
    "scalar_of",
    "split_login",
]


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
        return digest_of(
            {
                "box": self.box.model_dump(mode="json"),
                "rtsp": self.rtsp.model_dump(mode="json"),
                "page": self.page.model_dump(mode="json"),
                "fleet": self.fleet.model_dump(mode="json"),
                "agent": self.agent.model_dump(mode="json"),
                "cameras": {name: public(camera) for name, camera in self.cameras.items()},
            }
        )

    def recordings(self, camera: str) -> Path:
        """The folder of one camera's recordings."""
        recorder = self.cameras[camera].recorder if camera in self.cameras else self.defaults.recorder
        return (recorder.directory or self.box.state_dir / "recordings") / camera

    def camera_for(self, name: str, source: str) -> CameraConfig:
        """A camera with the default sections, for a source that the file does not name."""
        return CameraConfig(name=name, source=source, **dict(self.defaults))
