"""How far the look-back carries on what it knows little of: tails, what never was sure, candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mask.parts import (
    HEAD,
    HOLD_S,
    LOOKBACK_MS,
    MS,
    held,
    lookback,
    seen,
)
from veil.domain.geometry import Box
from veil.domain.track import Track
from veil.mask.lookback import LookBack

PLACE = Box(100, 100, 140, 140)


def unsure(track: Track) -> Track:
    return replace(track, is_sure=False)


def tails(frames: Sequence[Track | None], blind_from: int = 99) -> list[int]:
    """In which frames, 100 ms apart, something is masked; hold 1 s, look-back 0.5, tails 0.2 and 0.1 s."""
    window = LookBack(LOOKBACK_MS * MS, int(HOLD_S * 1000) * MS, 0.0, tail_ns=200 * MS, unsure_ns=100 * MS)
    masked: list[int] = []
    for number, track in enumerate(frames):
        now = () if track is None else (track,)
        window.push(number, number * 100 * MS, now, without_detector=number >= blind_from)
        masked += [due for due in window.due() if window.take(due)]
    return masked


def test_what_is_not_seen_again_is_masked_for_its_tail_beyond_what_is_known() -> None:
    """Seen at 0; 0.5 s are known: the hold of 1 s asks for half a second more, which is over the tail."""
    lost = [held(1, PLACE, 0)] * 10
    assert tails([seen(1, PLACE, 0), *lost, *[None] * 6]) == [0, 1, 2, 3, 4, 5]


def test_the_tail_is_shorter_for_what_never_was_sure() -> None:
    window = LookBack(500 * MS, 500 * MS, 0.0, tail_ns=200 * MS, unsure_ns=100 * MS)
    first = seen(1, PLACE, 0), unsure(seen(2, PLACE.shifted(300, 0), 0))
    later = held(1, PLACE, 0), unsure(held(2, PLACE.shifted(300, 0), 0))
    window.push(0, 0, first)
    for number in range(1, 12):
        window.push(number, number * 50 * MS, later if number <= 10 else ())
    ids = [[target.track_id for target in window.take(number)] for number in range(6)]
    assert ids == [[1, 2], [1, 2], [1, 2], [1], [1], []]


def test_frames_that_no_detector_saw_do_not_end_a_tail() -> None:
    lost = [held(1, PLACE, 0)] * 10
    assert tails([seen(1, PLACE, 0), *lost, *[None] * 6], blind_from=3) == list(range(11))


def test_a_gap_is_covered_however_unsure_both_ends_are() -> None:
    gone = [unsure(held(1, PLACE, 0))] * 4
    frames = [unsure(seen(1, PLACE, 0)), *gone, unsure(seen(1, PLACE, 500)), *[None] * 6]
    assert tails(frames) == [0, 1, 2, 3, 4, 5]


def test_what_never_was_sure_reaches_less_far_back() -> None:
    coming = [None] * 6
    assert tails([*coming, seen(1, PLACE, 600), *[None] * 6]) == [1, 2, 3, 4, 5, 6]
    assert tails([*coming, unsure(seen(1, PLACE, 600)), *[None] * 6]) == [5, 6]


def test_one_sure_sighting_is_enough_for_the_whole_reach() -> None:
    frames = [None] * 5 + [unsure(seen(1, PLACE, 500)), seen(1, PLACE, 600)] + [None] * 6
    assert tails(frames) == [1, 2, 3, 4, 5, 6], "when frame 0 leaves, the sure one is not known"


def candidate(track: Track) -> Track:
    return replace(track, is_confirmed=False)


def test_a_candidate_masks_only_once_it_is_known_to_be_confirmed() -> None:
    """Candidate in frames 0 and 2, confirmed in 6: frames 0 (too long ago) and what no later frame confirms
    stay open, the rest of its past is covered."""
    window = lookback()
    nowhere = candidate(seen(2, PLACE.shifted(400, 0), 0))
    window.push(0, 0, (candidate(seen(1, PLACE, 0)), nowhere))
    window.push(1, 100 * MS, (candidate(held(1, PLACE, 0)), nowhere))
    window.push(2, 200 * MS, (candidate(seen(1, PLACE, 200)),))
    for number in range(3, 6):
        window.push(number, number * 100 * MS, (candidate(held(1, PLACE, 200)),))
    assert window.take(0) == ()
    window.push(6, 600 * MS, (seen(1, PLACE, 600),))
    for number in range(1, 7):
        assert [target.track_id for target in window.take(number)] == [1], number


def test_a_candidate_of_later_frames_does_not_reach_back() -> None:
    window = lookback()
    window.push(0, 0, ())
    window.push(1, 100 * MS, (candidate(seen(1, PLACE, 100)),))
    assert window.take(0) == ()
    assert window.take(1) == ()


def test_without_look_back_a_candidate_masks_nothing() -> None:
    window = lookback(0)
    window.push(0, 0, (candidate(seen(1, PLACE, 0)), seen(2, PLACE.shifted(300, 0), 0)))
    assert [target.track_id for target in window.take(0)] == [2]


def test_a_head_does_not_hold_the_face_of_a_candidate() -> None:
    window = lookback(0)
    head, face = Box(100, 100, 200, 220), Box(120, 140, 180, 210)
    window.push(0, 0, (seen(1, head, 0, HEAD), candidate(seen(2, face, 0))))
    window.push(1, 33 * MS, (seen(1, head, 33, HEAD),))
    window.take(0)
    assert [target.kind for target in window.take(1)] == [HEAD]
