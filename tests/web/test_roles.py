"""Who may do what: every route says it, and every access is written down."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import func, select

from veil_fleet import users
from veil_fleet.roles import Role
from veil_fleet.store.tables import Access
from veil_fleet.web.app import create_app, needs_of, routes
from veil_fleet.web.throttle import Throttle
from web_house import PASSWORD, WebHouse, csrf_of, sign_in

# Every route, with whom it lets in. A new route must be added here, and so be thought about.
EVERYBODY = {"", "viewer", "operator", "auditor"}
KNOWN = {"viewer", "operator", "auditor"}
ROUTES: dict[tuple[str, str], set[str]] = {
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): KNOWN,
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/"): KNOWN,
    ("GET", "/live/boxes"): KNOWN,
    ("GET", "/boxes/{device}"): KNOWN,
    ("GET", "/live/boxes/{device}"): KNOWN,
    ("POST", "/boxes/{device}/ping"): {"operator"},
    ("POST", "/boxes/{device}/reload"): {"operator"},
    ("POST", "/boxes/{device}/cameras/{camera}/restart"): {"operator"},
    ("POST", "/boxes/{device}/cameras/{camera}/snapshot"): {"operator"},
    ("POST", "/boxes/{device}/cameras/{camera}/manifest"): {"operator"},
    ("GET", "/alarms"): KNOWN,
    ("GET", "/alarms/{alarm}"): KNOWN,
    ("POST", "/alarms/{alarm}/close"): {"operator"},
    ("GET", "/segments"): {"auditor"},
    ("GET", "/segments/{device}/{camera}/{seq}"): {"auditor"},
    ("POST", "/segments/{device}/{camera}/{seq}/verify"): {"auditor"},
    ("GET", "/export"): {"auditor"},
    ("POST", "/export"): {"auditor"},
    ("GET", "/accesses"): {"auditor"},
}
VALUES = {"device": "kerb-1", "camera": "front", "seq": "1", "alarm": "1"}


def test_every_route_is_in_the_matrix() -> None:
    assert {(method, route.path) for route in routes() for method in route.methods} == set(ROUTES)


def test_a_route_that_came_in_another_way_is_closed(house: WebHouse) -> None:
    house.app.get("/open")(lambda: "everything")
    with pytest.raises(ValueError, match="/open must say once"):
        house.client().get("/open")


def test_an_application_with_a_route_that_needs_nothing_named_is_refused(
    house: WebHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veil_fleet.web import page_health

    router = type(page_health.router)()
    router.get("/open")(lambda: None)
    monkeypatch.setattr(page_health, "router", router)
    with pytest.raises(ValueError, match="/open must say once what it needs"):
        create_app(house.settings, house.engine)


@pytest.mark.parametrize("role", ["", *Role])
def test_a_role_gets_exactly_what_is_its_own(full_house: WebHouse, role: str) -> None:
    client = full_house.signed_in(role) if role else full_house.client()
    token = csrf_of(client.get("/").text) if role else "none"
    for (method, path), allowed in sorted(ROUTES.items()):
        if path in {"/login", "/logout"} or path.startswith("/live/"):
            continue  # the ways in and out, and streams without an end: tests of their own
        address = path.format(**VALUES)
        answer = client.request(method, address, data={"csrf": token} if method == "POST" else None)
        if role in allowed:
            assert answer.status_code not in {303, 401, 403}, (role, method, path)
        elif role:
            assert answer.status_code == 403, (role, method, path)
        elif method == "GET":
            assert answer.headers["location"].startswith("/login?next="), (method, path)
        else:
            assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("path", ["/live/boxes", "/live/boxes/kerb-1"])
def test_a_stranger_gets_no_stream(full_house: WebHouse, path: str) -> None:
    assert full_house.client().get(path).status_code == 401


@pytest.mark.parametrize(("method", "path"), [key for key in sorted(ROUTES) if key[0] == "POST"])
def test_nothing_is_changed_without_the_token_of_the_session(
    full_house: WebHouse, method: str, path: str
) -> None:
    allowed = ROUTES[method, path]
    if path == "/login":
        answer = full_house.client().post(path, data={"name": "viewer", "password": PASSWORD})
        assert answer.status_code == 400
        return
    client = full_house.signed_in(sorted(allowed)[0])
    stolen = csrf_of(full_house.signed_in("viewer").get("/").text)
    for sent in ({}, {"csrf": ""}, {"csrf": stolen}, {"csrf": "x\ud800".encode("utf-8", "replace").decode()}):
        assert client.post(path.format(**VALUES), data=sent).status_code == 403, (path, sent)


def test_a_form_of_another_site_is_refused_even_with_the_token(full_house: WebHouse) -> None:
    client = full_house.signed_in("operator")
    token = csrf_of(client.get("/").text)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        assert client.post("/logout", data={"csrf": token}, headers=headers).status_code == 403
    assert client.get("/").status_code == 200


def test_every_access_is_written_down_with_who_and_whether(house: WebHouse) -> None:
    house.box("kerb-1")
    client = house.signed_in("viewer")
    client.get("/boxes/kerb-1")
    client.get("/segments?device=kerb-1")
    house.client(address="192.0.2.7").get("/boxes/kerb-1")
    query = select(Access.user, Access.address, Access.action, Access.target, Access.allowed).order_by(
        Access.id
    )
    with house.engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    assert rows == [
        ("viewer", "127.0.0.1", "sign in", "/login", True),
        ("viewer", "127.0.0.1", "box", "/boxes/kerb-1", True),
        ("viewer", "127.0.0.1", "segments", "/segments?device=kerb-1", False),
        ("", "192.0.2.7", "box", "/boxes/kerb-1", False),
    ]


def test_what_cannot_be_written_down_does_not_happen(house: WebHouse) -> None:
    house.box("kerb-1")
    client = house.signed_in("viewer")
    with house.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accesses RENAME TO gone")
    answer = client.get("/boxes/kerb-1")
    assert answer.status_code == 503
    assert "Depot North" not in answer.text


def test_strangers_cannot_fill_the_list_of_accesses(house: WebHouse) -> None:
    few = Throttle(20, 3600, time.monotonic)
    object.__setattr__(house.app.state.house, "strangers", few)
    client = house.client()
    for _ in range(40):
        assert client.get("/").status_code == 303
    with house.engine.connect() as connection:
        assert (connection.scalar(select(func.count()).select_from(Access)) or 0) == 20


def test_a_disabled_user_is_out_with_the_next_request(house: WebHouse) -> None:
    client = house.signed_in("operator")
    users.disable_user(house.engine, "operator")
    assert client.get("/").status_code == 303
    assert sign_in(client, "operator", PASSWORD) == 401


def test_another_password_ends_the_sessions(house: WebHouse) -> None:
    client = house.signed_in("operator")
    users.set_password(house.engine, "operator", "another password")
    assert client.get("/").status_code == 303
    assert sign_in(client, "operator", "another password") == 303


def test_auditors_read_the_list_of_accesses(house: WebHouse) -> None:
    house.signed_in("viewer").get("/export")
    page = house.signed_in("auditor").get("/accesses?refused=1").text
    assert "export page" in page
    assert "refused" in page


def test_every_route_says_what_its_access_is_called() -> None:
    for route in routes():
        assert needs_of(route).action
