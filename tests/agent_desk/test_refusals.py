"""What is no command for this box is refused, with a reason, and nothing happens."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from agent_desk.house import DEVICE, KEY, NOON, SECOND, STRANGER, Counting, Desk, body_text, command, signed
from veil.agent.commands import Reason
from veil.agent.commands.refusals import SINGLE_EVENTS, WINDOW_S
from veil.audit.event import timestamp
from veil.audit.note import COSIGNATURE_V1, SigningKey
from veil.messages.command import SIGNATURE_PREFIX

_WITNESS = SigningKey.from_seed("fleet/command", bytes(range(32)), COSIGNATURE_V1)
_OTHER_NAME = SigningKey.from_seed("somebody/else", bytes(range(32)))


def _flipped(payload: bytes) -> bytes:
    message = json.loads(payload)
    raw = bytearray(base64.b64decode(message["signature"]))
    raw[7] ^= 1
    return json.dumps(message | {"signature": base64.b64encode(raw).decode()}).encode()


def _unprefixed() -> bytes:
    text = body_text()
    return signed(text, signature=base64.b64encode(KEY.sign(text.encode())).decode())


def _rewritten() -> bytes:
    """The same values, other bytes."""
    message = json.loads(command())
    return json.dumps(message | {"body": json.dumps(json.loads(message["body"]), indent=1)}).encode()


def _times(issued_s: float, life_s: float) -> bytes:
    return command(issued_s=issued_s, life_s=life_s)


_CASES: list[tuple[Reason, str, bytes]] = [
    (Reason.OVERSIZED, "long", b" " * 8193),
    (Reason.OVERSIZED, "2 MB", b"[" * 2_000_000),
    (Reason.MALFORMED, "empty", b""),
    (Reason.MALFORMED, "no JSON", b"\xff\xfe ping"),
    (Reason.MALFORMED, "deep", b"[" * 8000),
    (Reason.MALFORMED, "an extra key", signed(body_text(), extra=1)),
    (Reason.MALFORMED, "an extra key inside", signed(body_text(root=1))),
    (Reason.MALFORMED, "another version", signed(body_text(v=2))),
    (Reason.MALFORMED, "a body that is no JSON", signed("ping")),
    (Reason.MALFORMED, "a lone surrogate", signed(body_text()).replace(b"ping", b"\\ud800")),
    (Reason.MALFORMED, "a number as a text", signed(body_text(nonce=1))),
    (Reason.MALFORMED, "a day that is none", signed(body_text(issued="2026-02-31T00:00:00.000000Z"))),
    (Reason.MALFORMED, "year 0", signed(body_text(issued="0000-01-01T00:00:00.000000Z"))),
    (Reason.MALFORMED, "a short nonce", signed(body_text(nonce="ab"))),
    (Reason.MALFORMED, "no camera", signed(body_text(command="snapshot"))),
    (Reason.MALFORMED, "no times", signed(body_text(command="manifest", arguments={"camera": "front"}))),
    (Reason.MALFORMED, "a path as a camera", signed(body_text(arguments={"camera": "../../etc"}))),
    (Reason.MALFORMED, "no key's form", signed(body_text(), key="fleet")),
    (Reason.MALFORMED, "a damaged key", signed(body_text(), key=str(KEY.verifier).replace("+", "x+", 1))),
    (Reason.MALFORMED, "a short signature", signed(body_text(), signature="AAAA")),
    (Reason.MALFORMED, "no base64", signed(body_text(), signature="?" * 88)),
    (Reason.UNSIGNED, "no signature", signed(body_text(), signature=None)),
    (Reason.UNSIGNED, "an empty signature", signed(body_text(), signature="")),
    (Reason.UNSIGNED, "a bare body", body_text().encode()),
    (Reason.UNKNOWN, "a command that is none", signed(body_text(command="reboot"))),
    (Reason.WRONG_DEVICE, "another box", signed(body_text(device="box-8"))),
    (Reason.UNTRUSTED, "another key of the same name", signed(body_text(), STRANGER)),
    (Reason.UNTRUSTED, "the same key as a witness", signed(body_text(), _WITNESS)),
    (Reason.UNTRUSTED, "the same key with another name", signed(body_text(), _OTHER_NAME)),
    (Reason.BAD_SIGNATURE, "one bit", _flipped(command())),
    (Reason.BAD_SIGNATURE, "without the prefix", _unprefixed()),
    (Reason.BAD_SIGNATURE, "other bytes with the same meaning", _rewritten()),
    (
        Reason.BAD_SIGNATURE,
        "a stranger's, with our key named",
        signed(body_text(), STRANGER, key=str(KEY.verifier)),
    ),
    (Reason.LIFETIME, "a day", _times(0, 86_400)),
    (Reason.LIFETIME, "a second too long", _times(0, 301)),
    (Reason.LIFETIME, "backwards", _times(0, -1)),
    (Reason.LIFETIME, "no time", _times(0, 0)),
    (Reason.NOT_YET_VALID, "from the future", _times(31, 60)),
    (Reason.EXPIRED, "a minute old", _times(-60, 60)),
    (Reason.EXPIRED, "from 1970", signed(body_text(issued=timestamp(0), expires=timestamp(60 * SECOND)))),
]


@pytest.mark.parametrize(
    ("reason", "payload"), [pytest.param(r, p, id=f"{r}: {what}") for r, what, p in _CASES]
)
def test_it_is_refused_with_its_reason_and_nothing_is_done(
    reason: Reason, payload: bytes, tmp_path: Path
) -> None:
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        response = house.handle(payload)
        (event,) = house.events("command_refused")
    assert response.error.startswith(f"{reason}: ")
    assert response.result is None
    assert event["reason"] == reason
    assert actions.ran == []


@pytest.mark.parametrize("issued_s", [-59, 0, 30])
def test_a_good_command_is_done_within_its_time(issued_s: float, tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        response = house.handle(command(issued_s=issued_s))
        (event,) = house.events("command_done")
    assert (response.error, response.nonce) == ("", f"{1:032x}")
    assert event == {
        "command": "ping",
        "key": KEY.verifier.id.hex(),
        "nonce": f"{1:032x}",
        "outcome": "done",
    }


def test_the_signature_is_over_the_bytes_as_they_came(tmp_path: Path) -> None:
    text = "  " + body_text().replace(", ", " ,\t").replace('"ping"', '"\\u0070ing"') + "\n"
    with Desk(tmp_path) as house:
        assert house.handle(signed(text)).error == ""


def test_size_comes_before_everything_and_time_after_the_signature(tmp_path: Path) -> None:
    old_and_strange = signed(body_text(issued=timestamp(0), expires=timestamp(SECOND)), STRANGER)
    old_and_forged = _flipped(command(issued_s=-1000))
    with Desk(tmp_path) as house:
        assert house.handle(command() + b" " * 8192).error.startswith("oversized")
        assert house.handle(old_and_strange).error.startswith("untrusted")
        assert house.handle(old_and_forged).error.startswith("bad_signature")


def test_a_refusal_repeats_nothing_of_the_payload(tmp_path: Path) -> None:
    secret = "hunter2"
    payloads = [
        secret.encode(),
        signed(body_text(command=secret)),
        signed(body_text(device=secret)),
        signed(body_text(**{secret: secret})),
        signed(body_text(), key=f"{secret}+00000000+AAAA"),
    ]
    with Desk(tmp_path) as house:
        said = [house.handle(payload).error for payload in payloads]
        log = house.log.path.read_text()
    # A key that is not known is named by pydantic, values never are.
    assert [text for text in said if secret in text] in ([], [said[3]])
    assert secret not in log


def test_a_flood_of_refusals_costs_a_bounded_number_of_events(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        for number in range(3000):
            house.handle(b"x" if number % 3 else signed(body_text(device="box-8")))
        assert len(house.events("command_refused")) == SINGLE_EVENTS
        house.clock.run(WINDOW_S)
        house.desk.step()
        told = house.events("command_refused")
    assert len(told) == SINGLE_EVENTS + 2
    assert sum(event["count"] for event in told) == 3000
    by_reason = {event["reason"]: event["count"] for event in told[SINGLE_EVENTS:]}
    assert by_reason.keys() == {"malformed", "wrong_device"}


def test_what_was_counted_is_told_at_a_clean_end_too(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        for _ in range(50):
            house.handle(b"x")
    assert sum(event["count"] for event in house.events("command_refused")) == 50


def test_a_clock_set_back_does_not_stop_the_summary(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        for _ in range(50):
            house.handle(b"x")
        house.clock.set_by(-86_400)
        house.clock.run(WINDOW_S)
        house.desk.step()
        assert len(house.events("command_refused")) == SINGLE_EVENTS + 1


def test_without_trusted_keys_nobody_is_obeyed(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        house.desk.trust([])
        assert house.handle(command()).error.startswith("untrusted")
        house.desk.trust([str(STRANGER.verifier)])
        assert house.handle(signed(body_text(), STRANGER)).error == ""


def test_the_prefix_keeps_commands_apart_from_other_signatures() -> None:
    assert SIGNATURE_PREFIX == b"veil-command/v1\n"
    assert NOON // SECOND == 1_795_262_400
    assert DEVICE == "box-7"
