"""The exception tree: one class per answer a caller can give, each with what the user should do.

`VeilError.exit_code` is what the `veil` command returns (documented in docs/errors.md).
"""

from __future__ import annotations


class VeilError(Exception):
    """Base of everything Veil raises on purpose.

    Args:
        message: what went wrong, in one sentence, without credentials.
        hint: what the user should do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(VeilError):
    """The command line asks for something that cannot be done as asked."""

    exit_code = 2


class ConfigError(VeilError):
    """The configuration does not verify; nothing was started."""

    exit_code = 3


class BundleError(VeilError):
    """A model bundle does not verify or cannot be loaded; nothing was started."""

    exit_code = 4


class RuntimeMissingError(BundleError):
    """An inference runtime or execution provider was asked for by name and is not installed."""


class CaptureError(VeilError):
    """The source cannot be opened or read. Live cameras reconnect; files end here."""

    exit_code = 5


class FrameTooLargeError(CaptureError):
    """The source sends pictures over `capture.max_width` x `capture.max_height`."""


class SourceEndedError(CaptureError):
    """The source has no more frames (end of file)."""


class StreamStalledError(CaptureError):
    """The source is connected and sends nothing."""


class EncoderError(VeilError):
    """The encoder is missing or failed; no video leaves."""

    exit_code = 6


class SinkError(VeilError):
    """A recording or a stream cannot be written."""

    exit_code = 7


class DiskFullError(SinkError):
    """No space for recordings. Recording stops, live goes on."""


class LogError(VeilError):
    """The evidence log cannot be appended to: no log, no video."""

    exit_code = 8


class EvidenceError(VeilError):
    """Evidence does not verify, or cannot be read as what it should be."""

    exit_code = 10


class KeyFormatError(EvidenceError):
    """A key is not written as keys are."""


class NoteError(EvidenceError):
    """A signed note or checkpoint is malformed, or not signed by the key it should be signed by."""


class ProofError(EvidenceError):
    """An inclusion or consistency proof does not show what it should show."""


class MessageError(VeilError):
    """A message of the MQTT link is malformed, too large, or not what its topic carries."""

    exit_code = 11


class CommandError(VeilError):
    """A command of the fleet cannot be carried out, or the box refused it."""

    exit_code = 11


class LinkError(VeilError):
    """The MQTT link cannot be set up: address, certificate, or the broker refuses this box."""

    exit_code = 11


class PipelineError(VeilError):
    """A stage failed in a way that the process answers by ending (the supervisor restarts it)."""

    exit_code = 9


class DetectorError(PipelineError):
    """The detector raised, answered for another frame, or answered with values that are not finite."""


class DetectorStuckError(PipelineError):
    """The detector has not answered for longer than `detector.stuck_after_s`."""


class LeaseError(PipelineError):
    """A frame was used after it had been masked or given back. Always a bug, never recoverable."""


class PainterError(PipelineError):
    """A cover could not be painted; the frame was dropped."""
