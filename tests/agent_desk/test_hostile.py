"""Whatever arrives, the desk answers, and nothing unsigned is done. VEIL_HOSTILE: how many tries."""

from __future__ import annotations

import json
import os
import random
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_desk.box_house import Box, jpeg
from agent_desk.house import DEVICE, KEY, Counting, HandClock, body_text, command, signed
from hostile_pool import Pool, drawn
from veil.agent.commands import Actions, CommandDesk, Done
from veil.audit.log import Unlogged
from veil.messages.command import CommandBody, Response, Result

_EXAMPLES = int(os.environ.get("VEIL_HOSTILE", "100"))
_OFTEN = settings(max_examples=drawn(_EXAMPLES), deadline=None, suppress_health_check=list(HealthCheck))

_TEXT = st.text(max_size=60)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)
_FIELDS = ("v", "device", "command", "arguments", "issued", "expires", "nonce", "body", "key", "signature")
_NEAR = st.dictionaries(st.sampled_from(_FIELDS) | _TEXT, _JSON, max_size=10)
_DEEP = st.builds(
    lambda depth, opening: (opening * depth).encode(),
    st.integers(1, 4000),
    st.sampled_from(["[", '{"a":', '[{"body":']),
)
_BIG = st.builds(
    lambda size, fill: fill * size, st.integers(8000, 2_000_000), st.binary(min_size=1, max_size=1)
)


@contextmanager
def _desk(actions: Actions) -> Iterator[CommandDesk]:
    with (
        tempfile.TemporaryDirectory() as folder,
        CommandDesk(DEVICE, [str(KEY.verifier)], Path(folder), Unlogged(), HandClock(), actions) as desk,
    ):
        yield desk


@pytest.fixture(scope="module")
def desk() -> Iterator[CommandDesk]:
    with _desk(_Forbidden()) as made:
        yield made


@pytest.fixture(scope="module")
def counting_desk() -> Iterator[CommandDesk]:
    with _desk(Counting()) as made:
        yield made


_BODY = CommandBody.decode(json.loads(command())["body"].encode())


class _Unchanged:
    """Carries out the one command that was signed, and no other."""

    def run(self, body: CommandBody) -> Done:
        assert body == _BODY
        return Done(Result())


@pytest.fixture(scope="module")
def unchanged_desk() -> Iterator[CommandDesk]:
    with _desk(_Unchanged()) as made:
        yield made


class _Forbidden:
    """Nothing in these tests may get as far as this."""

    def run(self, body: CommandBody) -> Done:
        raise AssertionError(f"{body.command} was carried out")


def _answers(desk: CommandDesk, payload: bytes) -> Response:
    response = desk.handle(payload)
    assert len(response.encode()) < 4096
    return response


def test_what_is_no_command_is_answered(desk: CommandDesk) -> None:
    pool = Pool()

    @_OFTEN
    @given(st.binary(max_size=300) | _DEEP | _BIG | _JSON.map(lambda value: json.dumps(value).encode()))
    def give(payload: bytes) -> None:
        pool.add(payload)
        assert _answers(desk, payload).error

    give()
    for payload in pool.more(_EXAMPLES):
        assert _answers(desk, payload).error


def test_what_looks_like_a_command_is_answered(desk: CommandDesk) -> None:
    pool = Pool()

    @_OFTEN
    @given(_NEAR)
    def give(message: dict[str, object]) -> None:
        payload = json.dumps(message).encode()
        pool.add(payload)
        assert _answers(desk, payload).error

    give()
    for payload in pool.more(_EXAMPLES):
        assert _answers(desk, payload).error


def test_no_change_of_a_signed_command_is_obeyed(unchanged_desk: CommandDesk) -> None:
    chance = random.Random(1)
    for _ in range(_EXAMPLES):
        payload = bytearray(command())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(payload))
            match chance.randrange(4):
                case 0:
                    payload[at] ^= 1 << chance.randrange(8)
                case 1:
                    payload = payload[: max(1, at)]
                case 2:
                    payload[at:at] = chance.randbytes(chance.randint(1, 3))
                case _:
                    del payload[at : at + chance.randint(1, 5)]
            payload = payload or bytearray(b"{")
        # What is around the signed body may change without changing it: white space, a version left out.
        response = unchanged_desk.handle(bytes(payload))
        assert response.error or response.nonce == _BODY.nonce, bytes(payload)


def test_a_trusted_key_cannot_make_it_fall_over(counting_desk: CommandDesk) -> None:
    pool = Pool()

    def give(text: str) -> None:
        response = counting_desk.handle(signed(text))
        assert len(response.encode()) <= Response.MAX_BYTES

    @_OFTEN
    @given(
        st.dictionaries(st.sampled_from(("camera", "start", "end", "after")) | _TEXT, _JSON, max_size=5),
        st.sampled_from(["ping", "reload", "restart_camera", "snapshot", "manifest"]) | _TEXT,
        _NEAR,
    )
    def draw(arguments: dict[str, object], name: str, changes: dict[str, object]) -> None:
        body = {"command": name, "arguments": arguments, "nonce": secrets.token_hex(16), **changes}
        pool.add(body_text(**body).encode())
        give(body_text(**body))

    draw()
    for payload in pool.more(_EXAMPLES):
        text = payload.decode(errors="replace")
        if '"nonce": "' in text:  # as a command that was not heard before, where it would be one
            start, _, end = text.partition('"nonce": "')
            text = f'{start}"nonce": "{secrets.token_hex(16)}"' + end.partition('"')[2]
        give(text)


_NAMES = st.sampled_from(["front", "yard", "box", "a", "none"])
_TIMES = st.sampled_from(
    ["2026-11-21T12:00:00.000000Z", "1970-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"]
)


@settings(max_examples=max(12, drawn(_EXAMPLES) // 5), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ping", "reload", "restart_camera", "snapshot", "manifest"]),
            _NAMES,
            _TIMES,
            _TIMES,
            st.none() | st.integers(0, 2**53 - 1),
            st.binary(max_size=200) | st.just(jpeg(64, 64)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_box_survives_any_order_of_good_commands(
    orders: list[tuple[str, str, str, str, int | None, bytes]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder))
        with _desk(box.actions) as desk:
            for number, (name, camera, start, end, after, content) in enumerate(orders):
                box.show(content)
                arguments = {"camera": camera, "start": start, "end": end, "after": after}
                given = {key: value for key, value in arguments.items() if value is not None}
                response = desk.handle(command(number, command=name, arguments=given))
                assert response.nonce == f"{number:032x}"
                assert len(response.encode()) <= Response.MAX_BYTES
