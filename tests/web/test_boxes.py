"""The overview and the page of a box: what they say is true, and stays true while they are open."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, insert, select, update

from veil_fleet import users
from veil_fleet.store import tables
from veil_fleet.store.engine import writing
from veil_fleet.store.queries import status_of
from veil_fleet.web.box import read_box, told
from veil_fleet.web.house import wall_ms
from veil_fleet.web.live import MAX_STREAMS, MAX_STREAMS_OF_A_SESSION, Live, TooManyStreamsError
from veil_fleet.web.overview import PAGE_SIZE, Filter, Sort, read_overview
from veil_fleet.web.plot import Line, draw
from veil_fleet.web.points import Span, read_points
from veil_fleet.web.reading import cameras_value
from veil_fleet.web.standing import Standing, rank_at, standing_at
from veil_fleet.web.values import Value, changes
from web_house import PASSWORD, WebHouse, camera_health, sign_in

NOW = 1_800_000_000_000


@pytest.fixture(scope="module")
def bare_engine() -> Engine:
    engine = create_engine("sqlite://")
    tables.Table.metadata.create_all(engine)
    return engine


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["online", "offline", "unknown", "odd"]),
    st.sampled_from(["", "stopped", "lost", "odd"]),
    st.none() | st.integers(NOW - 200_000, NOW + 20_000),
    st.integers(1, 120),
)
def test_a_box_is_what_the_store_says_it_is(
    bare_engine: Engine, state: str, reason: str, heard: int | None, expires_s: int
) -> None:
    given_row = {
        "status_state": state,
        "status_reason": reason,
        "status_ms": heard,
        "status_expires_s": expires_s,
    }
    with bare_engine.connect() as connection, connection.begin() as transaction:
        connection.execute(insert(tables.Device).values(name="a", **given_row))
        row: Any = connection.execute(select(tables.Device.__table__)).one()
        found = connection.scalar(select(standing_at(NOW)))
        rank = connection.scalar(select(rank_at(NOW)).select_from(tables.Device))
        transaction.rollback()
    assert found == status_of(row, NOW).value
    assert list(Standing)[rank or 0] == found


def test_online_holds_only_until_it_expires(any_house: WebHouse) -> None:
    now = wall_ms()
    any_house.box("kerb-1", status_ms=now - 44_000)
    with any_house.engine.connect() as connection:
        assert read_overview(connection, Filter(), now).rows[0].standing is Standing.ONLINE
        assert read_overview(connection, Filter(), now + 1_000).rows[0].standing is Standing.SILENT
        # The fleet manager's own clock was set back by an hour: what it heard then proves nothing now.
        assert read_overview(connection, Filter(), now - 3_600_000).rows[0].standing is Standing.SILENT


def test_boxes_are_found_sorted_and_paged(any_house: WebHouse) -> None:
    now = wall_ms()
    for number in range(PAGE_SIZE + 5):
        away = {"status_state": "offline", "status_reason": "lost"} if number == 7 else {}
        any_house.box(f"kerb-{number:03}", site="Museum" if number % 2 else "Depot", **away)
    any_house.alarm("kerb-009")
    any_house.alarm("kerb-009", kind="late")
    any_house.alarm("kerb-010", closed_ms=now)

    def names(**query: str) -> list[str]:
        with any_house.engine.connect() as connection:
            return [row.name for row in read_overview(connection, Filter.parse(query), now).rows]

    assert names()[0] == "kerb-007", "what is worst stands on top"
    assert len(names()) == PAGE_SIZE
    assert names(sort="name", page="2") == [f"kerb-{number:03}" for number in range(PAGE_SIZE, PAGE_SIZE + 5)]
    assert names(sort="name", order="desc")[0] == f"kerb-{PAGE_SIZE + 4:03}"
    assert names(q="KERB-01", sort="name") == [f"kerb-{number:03}" for number in range(10, 20)]
    assert names(q="muse", sort="name")[0] == "kerb-001"
    assert names(site="Museum", status="lost") == ["kerb-007"]
    assert names(alarms="open") == ["kerb-009"]
    assert names(sort="alarms")[0] == "kerb-009"
    assert names(page="7") == []
    for sort in Sort:
        assert len(names(sort=sort.value)) == PAGE_SIZE
    with any_house.engine.connect() as connection:
        overview = read_overview(connection, Filter(site="Museum"), now)
    assert (overview.found, overview.open_alarms) == (27, 2)
    assert overview.counts == {Standing.ONLINE: PAGE_SIZE + 4, Standing.LOST: 1}


def test_of_a_box_that_is_away_no_camera_is_called_well() -> None:
    assert cameras_value(("front",), None, online=False) == Value("–/1", "off")


def test_health_that_cannot_be_read_is_not_shown_and_breaks_nothing(house: WebHouse) -> None:
    house.box("kerb-1", health='{"v":', cameras='{"odd":1}', camera_states="[1]")
    client = house.signed_in("viewer")
    assert client.get("/").status_code == 200
    assert client.get("/boxes/kerb-1").status_code == 200


def test_a_box_shows_its_cameras_machine_logs_and_alarms(full_house: WebHouse) -> None:
    page = full_house.signed_in("viewer").get("/boxes/kerb-1").text
    for text in (
        "25.0 in, 24.9 out",
        "561 / 640 ms",
        "88 detector behind",
        "58 °C",
        "within 12 ms",
        "fork",
        "segment closed",
    ):
        assert text in page, text
    assert str(full_house.keys["kerb-1"].verifier).replace("+", "+") in page
    with full_house.engine.connect() as connection:
        box = read_box(connection, "kerb-1", wall_ms())
    assert box is not None
    values = box.values()
    assert values["stored@front"].text == values["cosigned@front"].text.replace("17", "18") == "18"
    assert values["open@front"].text == "1"


def test_counters_that_begin_anew_do_not_draw_a_fall(any_house: WebHouse) -> None:
    any_house.box("kerb-1")
    now = NOW - NOW % Span.HOUR.step_ms
    counts = [100, 130, 5, 9]
    with writing(any_house.engine) as connection:
        for number, count in enumerate(counts):
            at = now - (len(counts) - number) * Span.HOUR.step_ms
            row = {
                "device": "kerb-1",
                "camera": "front",
                "time_ms": at,
                "fps_in": 25.0,
                "fps_out": 20.0 + number,
                "latency_p99_ms": 600.0,
                "detector_p50_ms": 24.0,
                "dropped": count,
                "whole_frames": 0,
            }
            connection.execute(insert(tables.HealthPoint).values(row))
    with any_house.engine.connect() as connection:
        points = read_points(connection, "kerb-1", Span.HOUR, now)["front"]
        week = read_points(connection, "kerb-1", Span.WEEK, now)["front"]
    assert [point.dropped for point in points] == [None, 30, 5, 4]
    assert [point.fps_out for point in points] == [20.0, 21.0, 22.0, 23.0]
    assert len(week) in {1, 2}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.none() | st.floats(allow_nan=False)), max_size=40))
def test_a_plot_is_drawn_of_any_numbers(points: list[tuple[int, float | None]]) -> None:
    svg = draw("<a>", [Line("x", sorted(points, key=lambda point: point[0]))], 0, 10**6, 1000)
    assert svg.startswith("<svg")
    assert "<a>" not in svg
    assert "nan" not in svg
    assert "inf" not in svg


@given(st.text(max_size=200))
def test_any_line_can_be_told(line: str) -> None:
    assert len(told(line)) <= 240


def test_only_what_changed_is_sent() -> None:
    before = {"a": Value("1"), "b": Value("2", "ok")}
    assert changes(before, {"a": Value("1"), "b": Value("2", "bad"), "c": Value("", "", 5)}) == {
        "b": {"t": "2", "s": "bad"},
        "c": {"t": "", "s": "", "a": 5},
    }


def test_streams_are_bounded() -> None:
    live = Live()
    places = [live.place(f"session-{number}") for number in range(MAX_STREAMS)]
    for place in places:
        place.__enter__()
    with pytest.raises(TooManyStreamsError), live.place("one more"):
        pass
    places[0].__exit__(None, None, None)
    with live.place("one more"):
        assert live.open == MAX_STREAMS
    for place in places[1:]:
        place.__exit__(None, None, None)
    mine = [live.place("mine") for _ in range(MAX_STREAMS_OF_A_SESSION)]
    for place in mine:
        place.__enter__()
    with pytest.raises(TooManyStreamsError), live.place("mine"):
        pass
    assert live.open == MAX_STREAMS_OF_A_SESSION


@dataclass
class Heard:
    """What a stream said, read on a thread of its own."""

    messages: list[dict[str, Any]]
    ended: threading.Event
    said_bye: bool = False

    def values(self) -> dict[str, Any]:
        return {key: value for message in self.messages for key, value in message.get("values", {}).items()}

    def wait(self, key: str, text: str) -> None:
        deadline = time.monotonic() + 15
        while self.values().get(key, {}).get("t") != text:
            assert time.monotonic() < deadline, (key, text, self.values().get(key))
            time.sleep(0.05)


def listen(client: httpx.Client, path: str) -> Heard:
    heard = Heard([], threading.Event())

    def read() -> None:
        with client.stream("GET", path, timeout=30) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    heard.messages.append(json.loads(line[6:]))
                elif line == "event: bye":
                    heard.said_bye = True
        heard.ended.set()

    threading.Thread(target=read, daemon=True).start()
    return heard


def test_a_stream_says_changes_and_ends_when_the_user_is_disabled(house: WebHouse) -> None:
    house.box("kerb-1")
    house.box("kerb-2")
    with house.serving() as address, httpx.Client(base_url=address) as client:
        assert sign_in(client, "viewer", PASSWORD) == 303  # type: ignore[arg-type]
        heard, box = listen(client, "/live/boxes?sort=name"), listen(client, "/live/boxes/kerb-1")
        heard.wait("status:kerb-1", "online")
        box.wait("fps:front", "25.0 in, 24.9 out")
        first = len(heard.messages)
        with writing(house.engine) as connection:
            away = {"status_state": "offline", "status_reason": "lost"}
            connection.execute(update(tables.Device).where(tables.Device.name == "kerb-1").values(away))
        heard.wait("status:kerb-1", "lost")
        box.wait("status", "lost")
        later = {key for message in heard.messages[first:] for key in message["values"]}
        assert later == {"status:kerb-1", "cameras:kerb-1", "count:online", "count:lost"}
        users.disable_user(house.engine, "viewer")
        assert heard.ended.wait(15)
        assert box.ended.wait(15)
        assert heard.said_bye
    assert house.app.state.live.open == 0


def test_of_a_box_that_is_not_there_there_is_no_stream(full_house: WebHouse) -> None:
    assert full_house.signed_in("viewer").get("/live/boxes/nobody").status_code == 404


def test_a_camera_that_is_covered_is_not_counted_as_well(house: WebHouse) -> None:
    from veil.messages.health import Health
    from web_house import box_health

    health = Health(
        device="kerb-1",
        time="2026-11-21T00:00:00.000000Z",
        cameras={"front": camera_health(), "yard": camera_health(picture="covered")},
        box=box_health(),
    )
    house.box("kerb-1", health=health.encode().decode())
    with house.engine.connect() as connection:
        row = read_overview(connection, Filter(), wall_ms()).rows[0]
    assert row.cameras == Value("1/2", "bad")


def test_a_stream_whose_visitor_left_at_once_gives_its_place_back(house: WebHouse) -> None:
    with house.serving() as address, httpx.Client(base_url=address) as client:
        assert sign_in(client, "viewer", PASSWORD) == 303  # type: ignore[arg-type]
        for _ in range(MAX_STREAMS_OF_A_SESSION):
            with client.stream("GET", "/live/boxes", timeout=30) as answer:
                assert answer.status_code == 200
        deadline = time.monotonic() + 20
        while house.app.state.live.open:
            assert time.monotonic() < deadline, "places are still taken"
            time.sleep(0.1)
        with client.stream("GET", "/live/boxes", timeout=30) as answer:
            assert answer.status_code == 200
