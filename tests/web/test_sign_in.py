"""Signing in: nobody guesses, nobody rides on a session that is not theirs."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veil.errors import UsageError
from veil_fleet import users
from veil_fleet.roles import Role
from veil_fleet.users import Account
from veil_fleet.web.access import local_path
from veil_fleet.web.sessions import IDLE_S, MAX_SESSIONS, Sessions
from veil_fleet.web.throttle import MAX_KEYS, Throttle, network_of
from web_house import PASSWORD, WebHouse, csrf_of, sign_in

ACCOUNT = Account("somebody", Role.VIEWER, "f")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_cookie_is_for_this_site_and_no_script(house: WebHouse) -> None:
    client = house.client()
    sign_in(client, "viewer", PASSWORD)
    page = client.get("/login")
    assert page.status_code == 303
    answer = house.client()
    token = re.search(r'name="token" value="([^"]+)"', answer.get("/login").text)
    assert token
    sent = {"name": "viewer", "password": PASSWORD, "token": token[1]}
    cookies = answer.post("/login", data=sent).headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("veil="))
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(session.split("; "))
    assert "Secure" not in session


def test_away_from_this_machine_the_cookie_needs_encryption(house: WebHouse) -> None:
    client = house.client()
    client.base_url = "https://fleet.example"  # type: ignore[assignment]
    sign_in(client, "viewer", PASSWORD)
    assert client.get("/").status_code == 200
    cookie = next(each for each in client.cookies.jar if each.name == "__Host-veil")
    assert cookie.secure
    client.base_url = "http://fleet.example"  # type: ignore[assignment]
    page = client.get("/login")
    assert "not encrypted" in page.text
    assert all("Secure" in each for each in page.headers.get_list("set-cookie"))


def test_signing_in_ends_the_session_that_was_planted(house: WebHouse) -> None:
    planted = house.signed_in("viewer").cookies["veil"]
    victim = house.client()
    page = victim.get("/login")
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token is not None
    form = f"veil-form={victim.cookies['veil-form']}; veil={planted}"
    sent = {"name": "auditor", "password": PASSWORD, "token": token[1]}
    bare = house.client()
    answer = bare.post("/login", data=sent, headers={"Cookie": form})
    assert answer.status_code == 303
    assert planted not in answer.headers["set-cookie"]
    thief = house.client()
    thief.cookies.set("veil", planted)
    assert thief.get("/").status_code == 303


def test_signing_out_ends_the_session_on_the_server(house: WebHouse) -> None:
    client = house.signed_in("viewer")
    cookie = client.cookies["veil"]
    client.post("/logout", data={"csrf": csrf_of(client.get("/").text)})
    again = house.client()
    again.cookies.set("veil", cookie)
    assert again.get("/").status_code == 303


@given(st.text(max_size=300))
def test_a_forged_cookie_is_nobody(text: str) -> None:
    sessions = Sessions(Clock(), 3600)
    session, cookie = sessions.start(ACCOUNT)
    assert sessions.find(cookie) == session
    assert sessions.find(text) is None
    assert sessions.find(session.id) is None
    assert Sessions(Clock(), 3600).find(cookie) is None


def test_a_session_ends_by_itself_used_or_not() -> None:
    clock = Clock()
    sessions = Sessions(clock, 3 * IDLE_S)
    idle, used = sessions.start(ACCOUNT)[1], sessions.start(ACCOUNT)[1]
    for _ in range(3):
        clock.now += IDLE_S - 1
        assert sessions.find(used)
    assert sessions.find(idle) is None
    clock.now += 4
    assert sessions.find(used) is None


def test_sessions_are_bounded() -> None:
    sessions = Sessions(Clock(), 3600)
    first = sessions.start(ACCOUNT)[1]
    last = [sessions.start(ACCOUNT)[1] for _ in range(MAX_SESSIONS)][-1]
    assert sessions.find(first) is None
    assert sessions.find(last)


def test_guessing_one_name_is_stopped_and_the_right_password_is_too(house: WebHouse) -> None:
    answers = [sign_in(house.client(address=f"192.0.2.{n}"), "viewer", f"wrong {n}") for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert sign_in(house.client(address="198.51.100.1"), "Viewer", PASSWORD) == 429
    assert sign_in(house.client(address="198.51.100.1"), "auditor", PASSWORD) == 303


def test_guessing_from_one_address_is_stopped(house: WebHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veil_fleet.web.page_sign_in.authenticate", lambda *_: None)
    client = house.client(address="2001:db8::1")
    answers = [sign_in(client, f"name-{number}", "wrong password") for number in range(31)]
    assert answers == [401] * 30 + [429]
    assert sign_in(house.client(address="2001:db8::2:7"), "viewer", PASSWORD) == 429, "the same network"
    assert sign_in(house.client(address="2001:db9::1"), "viewer", PASSWORD) == 401


def test_who_signs_in_rightly_is_not_counted(house: WebHouse) -> None:
    client = house.client(address="192.0.2.1")
    assert {sign_in(client, "viewer", PASSWORD) for _ in range(32) if not client.cookies.clear()} == {303}


def test_tries_come_back_with_time() -> None:
    clock = Clock()
    throttle = Throttle(2, 60, clock)
    assert [throttle.take("a") for _ in range(3)] == [True, True, False]
    assert throttle.wait_s("a") == pytest.approx(30)
    clock.now += 30
    assert throttle.take("a")
    assert not throttle.take("a")
    clock.now += 1e6
    assert [throttle.take("a") for _ in range(3)] == [True, True, False]


def test_the_memory_for_tries_is_bounded() -> None:
    throttle = Throttle(2, 60, Clock())
    for number in range(MAX_KEYS + 500):
        throttle.take(str(number))
    assert len(throttle._buckets) == MAX_KEYS


def test_a_name_that_is_not_there_costs_a_guesser_the_same_work(
    house: WebHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    class Hasher:
        def verify(self, stored: str, password: str) -> bool:
            checked.append(stored[:30])
            raise users.VerificationError

    monkeypatch.setattr(users, "_HASHER", Hasher())
    assert users.authenticate(house.engine, "viewer", PASSWORD) is None
    assert users.authenticate(house.engine, "nobody-at-all", PASSWORD) is None
    assert checked[0] == checked[1], "the same parameters"


@given(
    st.text(max_size=60)
    | st.sampled_from(["//evil.example", "/\\evil.example", "https:/evil.example", "javascript:x"])
)
def test_signing_in_leads_to_this_site_alone(path: str) -> None:
    onward = local_path(path)
    assert re.match(r"/([^/\\]|$)", onward)
    assert onward.isprintable()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_with_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_passwords_are_kept_as_argon2id_only(house: WebHouse) -> None:
    users.add_user(house.engine, "somebody", Role.VIEWER, "a long password")
    with house.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT password FROM users").scalars().all()
    assert all(row.startswith("$argon2id$") for row in rows)
    assert users.make_hasher().hash("x").startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    with pytest.raises(UsageError, match="12 to 256"):
        users.add_user(house.engine, "other", Role.VIEWER, "short")
    with pytest.raises(UsageError, match="already"):
        users.add_user(house.engine, "somebody", Role.VIEWER, "a long password")


def test_the_same_password_from_another_keyboard_fits(house: WebHouse) -> None:
    users.add_user(house.engine, "j", Role.VIEWER, "K\u00f6nigsstra\u00dfe 12")
    assert users.authenticate(house.engine, "j", "Ko\u0308nigsstra\u00dfe 12") is not None


def test_an_account_is_a_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ACCOUNT.role = Role.AUDITOR  # type: ignore[misc]
