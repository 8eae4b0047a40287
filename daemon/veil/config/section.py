"""What all sections have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}$"
SECRET_KEYS = frozenset({"password"})
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Section(BaseModel):
    """Frozen; unknown keys are refused with the nearest known name."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )
