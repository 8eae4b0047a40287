"""Boxes and visitors may send anything: it is shown as text, or it is refused."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from veil.messages.health import Health
from veil_fleet.store import tables
from veil_fleet.store.engine import writing
from web_house import WebHouse, box_health, camera_health, csrf_of, make_house

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</td></tr></table><iframe src=javascript:alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    '" autofocus onfocus="alert(1)',
    "\u202e\u2028</style><style>*{display:none}",
)
ANY_TEXT = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=60
)


# What comes with a longer list, or where two texts differ.
GROWS = {("mark", ()), ("nav", ("aria-label", "class")), ("a", ("href", "rel"))}


class Structure(HTMLParser):
    """Tags with the names of their attributes, in order; and what `href` and `src` lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.links += [
            value or "" for name, value in attrs if name in {"href", "src", "action", "formaction"}
        ]


def say_everywhere(house: WebHouse, text: str) -> None:
    """Puts `text` wherever a box, an auditor's file or a wrong sign-in can put one."""
    health = Health(
        device="kerb-1",
        time="2026-11-21T00:00:00.000000Z",
        cameras={"front": camera_health(picture=text[:400], dropped={text[:400]: 3})},
        box=box_health(version=text, system=text, python=text),
    )
    line = json.dumps({"data": {text: text, "file": text, "reason": [text, {text: 1}]}, "kind": text})
    columns = {
        "site": text[:64],
        "version": text[:64],
        "bundle": text[:160],
        "status_reason": text[:16],
        "health": health.encode().decode(),
        "pinned_key": text,
        "camera_states": json.dumps({"front": {"reason": text}}),
    }
    with writing(house.engine) as connection:
        connection.execute(update(tables.Device).where(tables.Device.name == "kerb-1").values(columns))
        connection.execute(update(tables.LogLine).values(line=line, kind=text[:64], time=text[:27]))
        connection.execute(update(tables.Segment).values(file=text, start=text[:27], sha256=text[:64]))
        connection.execute(update(tables.Checkpoint).values(note=text))
        connection.execute(
            update(tables.Alarm).values(
                text=text,
                kind=text[:32],
                log=text[:32],
                device=text[:32],
                closed_by=text,
                evidence=json.dumps([{"received": text, "stored": line, text: text}]),
            )
        )
        connection.execute(update(tables.Access).values(user=text, target=text, address=text))


PAGES = (
    ("auditor", "/"),
    ("auditor", "/boxes/kerb-1"),
    ("operator", "/boxes/kerb-1"),
    ("operator", "/alarms"),
    ("operator", "/alarms/1"),
    ("auditor", "/segments/kerb-1/front/1"),
    ("auditor", "/accesses"),
    ("auditor", "/export"),
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> WebHouse:
    made = make_house(tmp_path_factory.mktemp("hostile"))
    made.add_users()
    made.box("kerb-1", names=("front",))
    made.segments("kerb-1", "front", 2)
    made.alarm("kerb-1")
    return made


@pytest.fixture(scope="module")
def plain_tags(hostile: WebHouse) -> list[set[object]]:
    hostile.clients = {role: hostile.signed_in(role) for role in ("auditor", "operator")}
    say_everywhere(hostile, "plain")
    return [set(Structure(hostile.clients[role].get(page).text).tags) for role, page in PAGES]


@settings(max_examples=10, deadline=None)
@given(ANY_TEXT | st.sampled_from(PAYLOADS))
def test_nothing_that_a_box_says_becomes_markup(
    hostile: WebHouse, plain_tags: list[set[object]], text: str
) -> None:
    say_everywhere(hostile, text)
    for (role, page), plain in zip(PAGES, plain_tags, strict=True):
        other = Structure(hostile.clients[role].get(page).text)
        assert not set(other.tags) - plain - GROWS, (role, page)
        assert all(link.startswith(("/", "#")) or not link for link in other.links), (role, page)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_is_there_to_be_read(hostile: WebHouse, payload: str) -> None:
    from markupsafe import escape

    say_everywhere(hostile, payload)
    page = hostile.signed_in("operator").get("/alarms/1").text
    assert str(escape(payload)) in page
    assert payload not in page or str(escape(payload)) == payload


QUERIES = {
    "/": ("q", "site", "status", "alarms", "sort", "order", "page"),
    "/boxes/kerb-1": ("span",),
    "/alarms": ("state", "device", "before"),
    "/segments": ("device", "camera", "from", "to", "sha256", "after"),
    "/accesses": ("user", "refused", "before"),
    "/export": ("device",),
    "/login": ("next",),
}
SQL = (
    "' OR 1=1 --",
    "'; DROP TABLE devices; --",
    "%' UNION SELECT password FROM users --",
    "\\",
    "%",
    "_",
    "\0",
    "1e9999",
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_query_breaks_a_page_or_the_database(any_sql_house: WebHouse, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(QUERIES)))
    text = st.text(max_size=40) | st.sampled_from(SQL) | st.integers(-(2**70), 2**70).map(str)
    clean = text.map(lambda value: value.encode(errors="replace").decode())
    query = data.draw(st.dictionaries(st.sampled_from(QUERIES[path]), clean))
    answer = any_sql_house.clients["auditor"].get(path, params=query)
    assert answer.status_code in {200, 303}, (path, query, answer.text)
    assert "$argon2" not in answer.text
    with any_sql_house.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.Device)) == 2


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_name_in_a_path_breaks_a_page(any_sql_house: WebHouse, data: st.DataObject) -> None:
    from urllib.parse import quote

    part = st.text(min_size=1, max_size=40).map(lambda value: value.encode(errors="replace").decode())
    parts = [quote(data.draw(part | st.sampled_from(SQL)), safe="") for _ in range(3)]
    path = data.draw(
        st.sampled_from(
            [
                "/boxes/{0}",
                "/live/boxes/{0}",
                "/alarms/{0}",
                "/segments/{0}/{1}/{2}",
                "/{0}",
                "/static/{0}",
                "/static/{0}/{1}",
            ]
        )
    ).format(*parts)
    answer = any_sql_house.clients["auditor"].get(path)
    assert answer.status_code in {200, 303, 307, 404, 405}, (path, answer.status_code)


def test_a_search_for_a_sign_of_like_finds_that_sign(full_house: WebHouse) -> None:
    client = full_house.signed_in("viewer")
    for sign in ("%", "_", "\\"):
        assert "No box matches" in client.get("/", params={"q": sign}).text


def test_every_answer_has_the_security_headers(full_house: WebHouse) -> None:
    client = full_house.signed_in("viewer")
    answers = [
        client.get(path) for path in ("/", "/nothing", "/export", "/healthz", "/static/veil.css", "/login")
    ]
    answers.append(client.post("/logout"))
    answers.append(client.post("/login", content=b"x" * 70_000))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store" or "/static/" in str(answer.url)


def test_pages_hold_no_script_or_style_of_their_own(full_house: WebHouse) -> None:
    for role, page in PAGES:
        structure = Structure(full_house.signed_in(role).get(page).text)
        for tag, attributes in structure.tags:
            assert tag != "style"
            assert tag != "script" or "src" in attributes
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (page, tag)


def test_too_large_a_request_is_refused_before_it_is_read(full_house: WebHouse) -> None:
    client = full_house.client()
    assert client.post("/login", content=b"x" * 70_000).status_code == 413

    def endless() -> object:
        for _ in range(100_000):
            yield b"a=b&" * 250

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/login", content=endless(), headers=kind).status_code == 413  # type: ignore[arg-type]
    assert client.get("/login?next=" + "x" * 9000).status_code == 414


def test_templates_escape_by_default() -> None:
    folder = Path(__file__).resolve().parents[2] / "fleet/veil_fleet/web/templates"
    for path in folder.glob("*.html"):
        text = path.read_text()
        assert "|safe" not in text.replace(" ", ""), path
        assert "autoescape false" not in text, path


def test_an_alarm_is_closed_once_by_an_operator_with_a_reason(house: WebHouse) -> None:
    house.box("kerb-1")
    number = house.alarm("kerb-1")
    client = house.signed_in("operator")
    token = csrf_of(client.get("/").text)
    address = f"/alarms/{number}/close"
    assert client.post(address, data={"csrf": token, "comment": " x "}).status_code == 400
    said = "replaced the box <b>on site</b>\x1b[31m"
    assert client.post(address, data={"csrf": token, "comment": said}).status_code == 303
    assert client.post(address, data={"csrf": token, "comment": "again"}).status_code == 409
    page = client.get(f"/alarms/{number}").text
    assert "replaced the box &lt;b&gt;on site&lt;/b&gt; [31m" in page
    assert "by operator" in page
    assert "No alarm is open" in client.get("/alarms").text
