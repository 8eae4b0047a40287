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


class _Table(BaseModel):
    """Frozen; unknown keys, wrong types and values that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InputTable(_Table):
    """`[input]`: what the model's picture tensor holds.

    `mean` and `scale` are for float32 inputs alone: (pixel 0..255 - mean) * scale. `size` and `tflite_size`
    are width, height.
    """

    color: Literal["rgb", "bgr"]
    dtype: Literal["uint8", "float32"]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = Field(1.0, gt=0)
    multiple: int = Field(32, ge=2, le=256)
    size: Size
    onnx_dynamic: bool = False
    tflite_size: Size | None = None

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
    """`[decoder]`: how the outputs become boxes."""

    kind: Literal["ltrb_grid", "yunet", "centerface"]
    strides: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(min_length=1, max_length=8)
    nms_iou: float = Field(gt=0, lt=1)


class ThresholdTable(_Table):
    """`[thresholds.CLASS]`, within the same safety limits as the configuration."""

    score: float = Field(gt=0, le=MAX_SCORE)
    low: float = Field(gt=0, le=MAX_LOW)

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
        if self.decoder.kind != "ltrb_grid" and len(self.classes) != 1:
            raise ValueError(f"classes: {self.decoder.kind} has one class")
        return self
