"""A viewer never gets a picture that needs one it did not get."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from veil.rtsp_server.gate import KeyframeGate


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_every_run_begins_with_a_keyframe(units: list[tuple[bool, bool]]) -> None:
    gate, before, admitted = KeyframeGate(), False, 0
    for index, (keyframe, has_room) in enumerate(units):
        admits = gate.admits(index, keyframe=keyframe, has_room=has_room)
        assert not (admits and not has_room)
        assert not (admits and not before and not keyframe)
        assert admits or not (keyframe and has_room), "a keyframe that fits is never withheld"
        before = admits
        admitted += admits
    assert admitted + gate.dropped <= len(units)


def test_a_stall_lasts_until_something_fits_again() -> None:
    gate = KeyframeGate()
    assert gate.admits(1, keyframe=True, has_room=True)
    assert not gate.admits(2, keyframe=False, has_room=False)
    assert not gate.admits(3, keyframe=False, has_room=True)
    assert not gate.admits(4, keyframe=True, has_room=False)
    assert (gate.stalled_since_ns, gate.dropped) == (2, 3)
    assert gate.admits(5, keyframe=True, has_room=True)
    assert gate.stalled_since_ns is None


def test_what_came_before_a_viewer_began_is_not_counted_as_lost() -> None:
    gate = KeyframeGate()
    assert not gate.admits(1, keyframe=False, has_room=True)
    assert gate.dropped == 0
