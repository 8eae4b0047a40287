"""The keys of boxes: pinned at first sight or at enrolment, then chained; a second chain is an alarm."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from veil.audit.canonical import NotCanonicalError
from veil.audit.keyring import Keyring, RecordError
from veil.messages.evidence import Keys
from veil_fleet.collector.alarms import AlarmKind, Raised

MAX_CACHED = 20_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """What to keep: newline-separated records, and the first key."""

    lines: str
    pinned: str


def check_keys(device: str, message: Keys, known: str, pinned: str | None) -> Accepted | Raised | None:
    """Records that go on from the `known` ones; None where they say nothing new.

    Args:
        known: the records accepted so far, newline-separated.
        pinned: the verifier key that the first record must bring; None: whatever it brings.
    """
    have = known.split("\n") if known else []
    come = list(message.records)
    common = min(len(have), len(come))
    if have[:common] != come[:common]:
        at = next(number for number in range(common) if have[number] != come[number])
        return Raised(
            device,
            "",
            AlarmKind.FORK,
            f"The box shows another record {at + 1} of its keys than before.",
            {"stored": have[at], "received": come[at]},
        )
    if len(come) == common:
        return None
    try:
        ring = Keyring.of(record.encode(errors="surrogatepass") for record in come)
    except (RecordError, NotCanonicalError) as error:
        text = error.message if isinstance(error, RecordError) else str(error)
        return Raised(
            device, "", AlarmKind.BAD_SIGNATURE, f"The box's keys do not hold: {text}", {"received": come[-1]}
        )
    first = str(ring.records[0].new)
    if ring.device != device:
        return Raised(
            device, "", AlarmKind.BAD_SIGNATURE, "The keys are another box's.", {"received": come[0]}
        )
    if pinned is not None and first != pinned:
        return Raised(
            device,
            "",
            AlarmKind.UNKNOWN_KEY,
            "The box's first key is not the one that it was enrolled with.",
            {"pinned": pinned, "received": come[0]},
        )
    return Accepted("\n".join(come), first)


class Keyrings:
    """The keys of the boxes heard lately: parsed and verified once."""

    def __init__(self) -> None:
        self._rings: OrderedDict[str, tuple[str, Keyring]] = OrderedDict()

    def get(self, device: str) -> Keyring | None:
        """As it was last given; None where that is long ago."""
        found = self._rings.get(device)
        return found[1] if found else None

    def put(self, device: str, lines: str) -> Keyring:
        """The ring of records that were accepted before."""
        found = self._rings.get(device)
        if found is None or found[0] != lines:
            ring = Keyring.of(line.encode() for line in lines.split("\n")) if lines else Keyring()
            found = self._rings[device] = (lines, ring)
        self._rings.move_to_end(device)
        while len(self._rings) > MAX_CACHED:
            self._rings.popitem(last=False)
        return found[1]

    def forget(self) -> None:
        """After a transaction that was rolled back."""
        self._rings.clear()
