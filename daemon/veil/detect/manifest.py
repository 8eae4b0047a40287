"""`bundle.toml`: what a bundle says about itself. docs/bundle-format.md is the specification."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from veil.domain.detection import ObjectClass

SCHEMA = 1
MAX_SCORE = 0.6
MAX_LOW = 0.5

Size = tuple[Annotated[int, Field(ge=32, le=4096)], Annotated[int, Field(ge=32, le=4096)]]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]


DecoderKind = Literal[
    "ltrb_grid", "yunet", "centerface", "scrfd", "retinaface", "yolov5_face", "yolov5_face_raw", "yolov8"
]
STRIDES: dict[DecoderKind, tuple[tuple[int, ...], ...]] = {
    "scrfd": ((8, 16, 32), (8, 16, 32, 64, 128)),
    "retinaface": ((8, 16, 32),),
    "yolov5_face_raw": ((8, 16, 32),),
}
"""Of the kinds whose anchors are known for certain strides alone."""


class _Table(BaseModel):
    """Frozen; unknown keys, wrong types and values that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InputTable(_Table):
    """`[input]`: what the model's picture tensor holds.

    `mean` and `scale` are for float32 inputs alone: (pixel 0..255 - mean) * scale. `size` and `tflite_size`
    are width, height. `brighten`: dark pictures are brightened first (`veil.detect.exposure`).
    """

    color: Literal["rgb", "bgr"]
    dtype: Literal["uint8", "float32"]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = Field(1.0, gt=0)
    multiple: int = Field(32, ge=2, le=256)
    size: Size
    onnx_dynamic: bool = False
    tflite_size: Size | None = None
    brighten: bool = False

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.multiple % 2:
            raise ValueError("multiple must be even")
        for size in (self.size, self.tflite_size):
            if size is not None and (size[0] % self.multiple or size[1] % self.multiple):
                raise ValueError(f"{size[0]}x{size[1]} is not a multiple of {self.multiple}")
        if self.dtype == "uint8" and (any(self.mean) or self.scale != 1.0):
            raise ValueError("mean and scale are for float32 inputs")
        return self


class DecoderTable(_Table):
    """`[decoder]`: how the outputs become boxes.

    `outputs` says what model.onnx calls an output where that is not the decoder's name for it. `channels` and
    `values` are for yolov8 alone: which class of the model each of the bundle's is, and the numbers of a box.
    `box_of` is for ltrb_grid alone: which of a cell's boxes each class has; empty where all share one.
    """

    kind: DecoderKind
    strides: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(min_length=1, max_length=8)
    nms_iou: float = Field(gt=0, lt=1)
    outputs: dict[str, Annotated[str, Field(min_length=1, max_length=256)]] = Field({}, max_length=32)
    channels: tuple[Annotated[int, Field(ge=0, le=4095)], ...] = ()
    values: int = Field(0, ge=0, le=8192)
    box_of: tuple[Annotated[int, Field(ge=0, le=15)], ...] = ()

    @model_validator(mode="after")
    def _belongs_to_the_kind(self) -> Self:
        known = STRIDES.get(self.kind)
        if known is not None and self.strides not in known:
            raise ValueError(f"strides: {self.kind} has {' or '.join(map(str, known))}")
        if self.kind == "yolov8":
            if not self.channels or self.values < 5 + max(self.channels):
                raise ValueError("yolov8 needs channels, and values of at least 5 + the highest of them")
        elif self.channels or self.values:
            raise ValueError("channels and values are for yolov8")
        if self.box_of and self.kind != "ltrb_grid":
            raise ValueError("box_of is for ltrb_grid")
        return self


class ThresholdTable(_Table):
    """`[thresholds.CLASS]`, within the same safety limits as the configuration."""

    score: float = Field(gt=0, le=MAX_SCORE)
    low: float = Field(gt=0, le=MAX_LOW)
    large: float = Field(0.0, ge=0, le=MAX_SCORE)
    sure: float = Field(0.0, ge=0, le=MAX_SCORE)

    @model_validator(mode="after")
    def _low_is_lower(self) -> Self:
        if self.low > self.score:
            raise ValueError("low is above score")
        return self


class SelftestTable(_Table):
    """`[selftest]`: floors that the golden pictures must reach."""

    min_recall: Share = 0.9


class Manifest(_Table):
    """All of bundle.toml."""

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.+-]{1,32})?$")
    license: str = Field(min_length=1, max_length=200)
    classes: tuple[ObjectClass, ...] = Field(min_length=1)
    input: InputTable
    decoder: DecoderTable
    thresholds: dict[ObjectClass, ThresholdTable]
    selftest: SelftestTable = SelftestTable()
    files: dict[str, Sha256] = Field(min_length=1, max_length=1024)

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: each class once")
        if set(self.thresholds) != set(self.classes):
            raise ValueError("thresholds: one table for each class, and no other")
        match self.decoder.kind:
            case "ltrb_grid":
                if self.decoder.box_of and len(self.decoder.box_of) != len(self.classes):
                    raise ValueError("decoder.box_of: one for each class")
            case "yolov8":
                if len(self.decoder.channels) != len(self.classes):
                    raise ValueError("decoder.channels: one for each class")
            case kind:
                if len(self.classes) != 1:
                    raise ValueError(f"classes: {kind} has one class")
        return self
