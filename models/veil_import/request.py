"""What the user asks for, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from veil.domain.detection import ObjectClass
from veil_import.classes import Wanted
from veil_import.kinds import PRESETS, Color, Kind, Preset, Sizes, Triple
from veil_import.probe import Size

UNSTATED = "LicenseRef-not-stated"
DEFAULT_SIZE = (640, 384)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One import; None means what is usual for the kind.

    Attributes:
        model: the ONNX file; read, never changed.
        out: the bundle's folder, which must not be there yet.
        size: width, height; for a model of fixed size it may only repeat it.
        thresholds: score and low by class; a class that is missing has the kind's.
        golden: "auto", "astronaut", "none" or a folder.
    """

    model: Path
    kind: Kind
    name: str
    classes: Wanted
    out: Path
    version: str = "1.0.0"
    license: str = UNSTATED
    size: Size | None = None
    sizes: Sizes | None = None
    color: Color | None = None
    mean: Triple | None = None
    scale: float | None = None
    nms_iou: float | None = None
    thresholds: Mapping[ObjectClass, tuple[float, float]] = field(default_factory=dict)
    golden: str = "auto"

    @property
    def preset(self) -> Preset:
        return PRESETS[self.kind]

    @property
    def normalisation(self) -> tuple[Triple, float]:
        """Mean and scale of a float32 input."""
        mean = self.preset.mean if self.mean is None else self.mean
        return mean, self.preset.scale if self.scale is None else self.scale
