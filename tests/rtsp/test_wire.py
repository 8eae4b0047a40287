"""The protocol between cameras and the RTSP server holds for any cut of the bytes, and refuses the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veil.rtsp_server.wire import LARGEST_PAYLOAD, Hello, Kind, MessageReader, Packet, ProtocolError, message

HELLO = Hello("front", 320, 180, b"sets", (b"one", b"two"))


@given(
    st.lists(st.builds(Packet, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.binary(min_size=1))),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_packets_survive_any_cut_of_the_stream(packets: list[Packet], cuts: list[int]) -> None:
    stream = b"".join(packet.encode() for packet in packets)
    reader, seen, offset, turn = MessageReader(), [], 0, 0
    while offset < len(stream):
        step = cuts[turn % len(cuts)]
        seen += reader.feed(stream[offset : offset + step])
        offset, turn = offset + step, turn + 1
    assert [kind for kind, _ in seen] == [Kind.PACKET] * len(packets)
    assert [Packet.decode(payload) for _, payload in seen] == packets


def test_a_hello_survives() -> None:
    ((kind, payload),) = MessageReader().feed(HELLO.encode())
    assert kind is Kind.HELLO
    assert Hello.decode(payload) == HELLO


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reader = MessageReader()
    try:
        for kind, payload in reader.feed(data):
            (Hello if kind is Kind.HELLO else Packet).decode(payload)
    except ProtocolError:
        return


def test_a_message_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError):
        MessageReader().feed((LARGEST_PAYLOAD + 1).to_bytes(4) + b"\x02")
    with pytest.raises(ProtocolError):
        message(Kind.PACKET, bytes(LARGEST_PAYLOAD + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../etc"},
        {"name": "Front"},
        {"codec": "hevc"},
        {"slates": ["b25l"]},
        {"slates": ["%%%%", "b25l"]},
        {"parameter_sets": ""},
        {"width": "wide"},
        {"height": 0},
        {"slates": None},
    ],
)
def test_a_hello_that_cannot_be_served_is_refused(change: dict[str, object]) -> None:
    ((_, payload),) = MessageReader().feed(HELLO.encode())
    with pytest.raises(ProtocolError):
        Hello.decode(json.dumps(json.loads(payload) | change).encode())
