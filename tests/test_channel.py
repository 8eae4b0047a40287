"""Latest drops the oldest and says so; Reliable waits and then fails."""

from __future__ import annotations

import threading

import pytest

from veil.channel import ChannelClosedError, ChannelFullError, Latest, Reliable


def test_latest_drops_the_oldest_and_tells() -> None:
    lost: list[int] = []
    channel: Latest[int] = Latest(2, lost.append)
    for number in range(5):
        channel.put(number)
    assert lost == [0, 1, 2]
    assert [channel.get(0), channel.get(0), channel.get(0)] == [3, 4, None]


def test_reliable_fails_after_its_deadline() -> None:
    channel: Reliable[int] = Reliable(1)
    channel.put(1, 0)
    with pytest.raises(ChannelFullError):
        channel.put(2, 0.01)
    assert channel.get(0) == 1


def test_reliable_passes_all_in_order() -> None:
    channel: Reliable[int] = Reliable(2)
    writer = threading.Thread(target=lambda: [channel.put(number, 5) for number in range(100)] and None)
    writer.start()
    assert [channel.get(5) for _ in range(100)] == list(range(100))
    writer.join()


@pytest.mark.parametrize("channel", [Latest[int](1, lambda _: None), Reliable[int](1)])
def test_closed_channel_gives_what_it_holds_and_then_ends(channel: Latest[int] | Reliable[int]) -> None:
    if isinstance(channel, Reliable):
        channel.put(1, 0)
    else:
        channel.put(1)
    channel.close()
    assert channel.get(0) == 1
    with pytest.raises(ChannelClosedError):
        channel.get(0)
    with pytest.raises(ChannelClosedError):
        channel.put(2, 0) if isinstance(channel, Reliable) else channel.put(2)
