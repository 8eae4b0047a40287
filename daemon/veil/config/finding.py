"""How faces and plates are found and followed: `[detector]`, `[tracker]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from veil.config.section import Section
from veil.domain.detection import ObjectClass


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
        description="score a box of 0.3 of the shorter side needs, stills 0.4 of that; unset: the bundle's",
        examples=[0.35],
    )
    sure: float | None = Field(
        None,
        ge=0,
        le=0.6,
        description="score (0..1) from which a box of 0.12 of that side is sure; unset: the bundle's",
        examples=[0.4],
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
        25.0, gt=0, le=1000, description="milliseconds a frame; over it, or late, a frame gets fewer tiles"
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
        0.05, ge=0, le=2, description="share of its size by which such a box grows each second"
    )
    match_iou: float = Field(
        0.15, gt=0, lt=1, description="overlap (0..1) from which a detection continues a track"
    )
    smoothing: float = Field(
        0.5, ge=0, le=0.95, description="share of the past in a box; it never shrinks below the detection"
    )
