"""What becomes of masked frames: `[encoder]`, `[recorder]`, `[preview]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from veil.config.section import Section


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
