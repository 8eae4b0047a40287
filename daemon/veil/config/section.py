"""What all sections have in common."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}$"
SECRET_KEYS = frozenset({"password"})
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Section(BaseModel):
    """Frozen; unknown keys are refused with the nearest known name, and so is true where a number belongs, or
    text where a number or true belongs."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _check_kind(cls, value: Any, info: ValidationInfo) -> Any:
        kind = scalar_of(cls.model_fields[str(info.field_name)].annotation)
        if kind is bool and not isinstance(value, bool):
            raise PydanticCustomError("bool_type", "Input should be true or false")
        if kind is int and isinstance(value, bool | str):
            raise PydanticCustomError("int_type", "Input should be a whole number")
        if kind is float and isinstance(value, bool | str):
            raise PydanticCustomError("float_type", "Input should be a number")
        if kind is None and _holds_truth(value):
            raise ValueError("holds true or false where something else belongs")
        return value


def scalar_of(annotation: object) -> type[bool] | type[int] | type[float] | None:
    """The kind of a field that holds a number or true and false, and perhaps nothing."""
    kinds = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    return next((kind for kind in (bool, int, float) if kind in kinds), None)


def _holds_truth(value: object) -> bool:
    """In a list: pydantic would take true for 1 there."""
    return isinstance(value, list) and any(isinstance(part, bool) or _holds_truth(part) for part in value)
