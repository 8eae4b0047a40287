"""What all messages share: frozen, strict, bounded; anything else is refused with one clear error."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from veil.errors import MessageError

MAX_PAYLOAD_BYTES = 64 * 1024 - 512
"""Of a message's payload; with its topic and properties it stays under 64 KiB."""

MAX_ERRORS_TOLD = 3

DeviceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
LogName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=400)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SignedNote = Annotated[str, Field(max_length=8192)]
KeyText = Annotated[str, Field(max_length=300)]


class Message(BaseModel):
    """One payload.

    Attributes:
        v: version of the schema. Readers refuse what they do not know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    MAX_BYTES: ClassVar[int] = MAX_PAYLOAD_BYTES

    v: Literal[1] = 1

    def encode(self) -> bytes:
        """Raises MessageError for a message that is over the limit."""
        payload = self.model_dump_json(exclude_none=True).encode()
        if len(payload) > self.MAX_BYTES:
            raise MessageError(f"A {type(self).__name__} of {len(payload)} bytes is over {self.MAX_BYTES}.")
        return payload

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises MessageError; its text never repeats the payload."""
        if len(payload) > cls.MAX_BYTES:
            raise MessageError(f"A payload of {len(payload)} bytes is over {cls.MAX_BYTES}.")
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            told = "; ".join(
                f"{'.'.join(str(part)[:40] for part in item['loc'][:4]) or 'message'}: {item['type']}"
                for item in error.errors(include_url=False, include_context=False, include_input=False)[
                    :MAX_ERRORS_TOLD
                ]
            )
            raise MessageError(f"Not a {cls.__name__}: {told}.") from None
        except (ValueError, RecursionError) as error:
            raise MessageError(f"Not a {cls.__name__}: {type(error).__name__}.") from None


class Part(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
