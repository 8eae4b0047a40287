"""One camera with all its sections: `[camera.NAME]`."""

from __future__ import annotations

from pydantic import Field, field_validator

from veil.config.digest import digest_of
from veil.config.finding import DetectorConfig, TrackerConfig
from veil.config.masking import MaskConfig
from veil.config.output import EncoderConfig, PreviewConfig, RecorderConfig
from veil.config.section import Name, Section
from veil.config.source import CaptureConfig, is_broken_address, redact

_SOURCE_SCHEMES = ("rtsp", "rtsps")


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
        description="rtsp://HOST/PATH, rtsps://HOST/PATH, /dev/videoN or a video file, begun anew at its end",
        examples=["rtsp://192.0.2.10:554/stream1"],
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in source):
            raise ValueError("source holds control characters")
        if is_broken_address(source):
            raise ValueError(
                "source looks like an address and is not written as one: rtsp://HOST/PATH "
                "(a file of such a name: with its whole path)"
            )
        scheme, separator, rest = source.partition("://")
        if separator and scheme.lower() not in _SOURCE_SCHEMES:
            raise ValueError(f"source starts with an unknown scheme; known are {', '.join(_SOURCE_SCHEMES)}")
        if separator and not rest.split("/")[0].removeprefix("@"):
            raise ValueError("source names no host")
        return source

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of what this camera runs with, for the evidence. Holds no secrets."""
        return digest_of({"camera": public(self)})


def public(camera: CameraConfig) -> dict[str, object]:
    """What the evidence may hold of it: no secrets."""
    values: dict[str, object] = camera.model_dump(
        mode="json", exclude={"capture": {"user", "password", "password_file"}}
    )
    values["source"] = redact(camera.source)
    return values
