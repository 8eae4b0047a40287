"""What the fleet manager says of a box is true within its status's life, whoever lost power meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fleet.boxes import Box
from fleet.store_house import StoreHouse
from veil_fleet.store.queries import Liveness, status_of

NOW = 1_790_000_000_000


def device(state: str, reason: str = "", heard: int | None = NOW) -> SimpleNamespace:
    return SimpleNamespace(status_state=state, status_reason=reason, status_ms=heard, status_expires_s=45)


@pytest.mark.parametrize(
    ("row", "after_s", "expected"),
    [
        (device("online"), 0, Liveness.ONLINE),
        (device("online"), 44.9, Liveness.ONLINE),
        (device("online"), 45, Liveness.SILENT),
        (device("online"), 1e6, Liveness.SILENT),
        # Our own clock stepped back by an hour: an old word from the future proves nothing.
        (device("online"), -3600, Liveness.SILENT),
        (device("offline", "stopped"), 1e6, Liveness.STOPPED),
        (device("offline", "lost"), 0, Liveness.LOST),
        (device("unknown", "", None), 0, Liveness.NEVER),
        (device("unknown"), 0, Liveness.SILENT),
    ],
)
def test_what_holds_of_a_box(row: SimpleNamespace, after_s: float, expected: Liveness) -> None:
    assert status_of(row, NOW + int(after_s * 1000)) is expected


def standing(house: StoreHouse, now_ms: int) -> Liveness:
    return status_of(house.device(), now_ms)


def test_a_box_that_says_so_is_online_until_it_goes_silent(house: StoreHouse) -> None:
    box = Box()
    house.take(box.status())
    row = house.device()
    assert (row.site, row.version, row.cameras) == ("gate", "1.0.0", "[]")
    assert standing(house, box.now_ms + 1000) is Liveness.ONLINE
    assert standing(house, box.now_ms + 46_000) is Liveness.SILENT


def test_goodbyes_and_wills_are_told_apart(house: StoreHouse) -> None:
    box = Box()
    house.take(box.status())
    box.now_ms += 1000
    house.take(box.status("offline", "stopped", expires_s=None))
    assert standing(house, box.now_ms) is Liveness.STOPPED
    box.now_ms += 1000
    house.take(box.status(), box.status("offline", "lost", expires_s=None))
    assert standing(house, box.now_ms) is Liveness.LOST


def test_what_waited_at_the_broker_is_as_old_as_it_is(house: StoreHouse) -> None:
    box = Box()
    house.take(box.status(expires_s=5))
    assert standing(house, box.now_ms + 4_900) is Liveness.ONLINE
    assert standing(house, box.now_ms + 5_100) is Liveness.SILENT


def test_a_kept_online_is_no_sign_of_life(house: StoreHouse) -> None:
    # Power cut of broker and box, and the broker's clock is wrong: it gives the old word as fresh.
    box = Box()
    house.take(box.status())
    box.now_ms += 300_000
    house.take(box.status(retained=True, expires_s=45))
    assert standing(house, box.now_ms) is Liveness.SILENT


def test_a_kept_online_of_a_new_box_is_not_believed_either(house: StoreHouse) -> None:
    box = Box()
    house.take(box.status(retained=True, expires_s=45))
    assert standing(house, box.now_ms) is Liveness.SILENT
    assert house.device().version == "1.0.0"


def test_a_kept_goodbye_is_believed(house: StoreHouse) -> None:
    # It was said while the collector was away.
    box = Box()
    house.take(box.status())
    box.now_ms += 10_000
    house.take(box.status("offline", "stopped", retained=True, expires_s=None))
    assert standing(house, box.now_ms) is Liveness.STOPPED


def test_an_older_word_does_not_replace_a_newer_one(house: StoreHouse) -> None:
    box = Box()
    early = box.status()
    box.now_ms += 2_000
    house.take(box.status("offline", "lost", expires_s=None))
    house.take(early)
    assert standing(house, box.now_ms) is Liveness.LOST


def test_after_our_clock_stepped_back_boxes_are_heard_again(house: StoreHouse) -> None:
    box = Box()
    box.now_ms += 3_600_000
    house.take(box.status())
    box.now_ms -= 3_600_000
    house.take(box.status())
    assert standing(house, box.now_ms + 1000) is Liveness.ONLINE
