"""The page in a real browser: it signs in, stays live, fits on a phone, and hands out a bundle."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import update

from veil.audit.verify import Demands, verify
from veil_fleet import users
from veil_fleet.store import tables
from veil_fleet.store.engine import writing
from web_house import PASSWORD, WebHouse

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 30_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Chromium's own sandbox refuses root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield made
        made.close()


@pytest.fixture
def address(house: WebHouse) -> Iterator[str]:
    house.box("kerb-1", names=("front",))
    house.box(
        "kerb-2", site="A site with a name that is rather long, and goes on, 64 signs", bundle="b" * 160
    )
    house.segments("kerb-1", "front", 6)
    house.alarm("kerb-1", text="The box shows another line 7 than before. " + "x" * 200)
    with house.serving() as made:
        yield made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    made = context.new_page()
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on(
        "console",
        lambda message: problems.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield made
    context.close()
    assert problems == []


def enter(page: Page, address: str, name: str, onward: str = "/") -> None:
    page.goto(f"{address}{onward}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}{onward}")


def change(house: WebHouse, **columns: object) -> None:
    with writing(house.engine) as connection:
        connection.execute(update(tables.Device).where(tables.Device.name == "kerb-1").values(columns))


def test_a_change_of_status_is_seen_without_loading_the_page_again(
    house: WebHouse, address: str, page: Page
) -> None:
    enter(page, address, "viewer")
    expect(page.locator("[data-live-state]")).to_have_text("Live", timeout=PATIENCE_MS)
    page.evaluate("window.sameDocument = true")
    place = page.locator('[data-live="status:kerb-1"]')
    row = page.locator("tr", has=place)
    before = row.bounding_box()
    expect(place).to_have_text("online")
    change(house, status_state="offline", status_reason="lost")
    expect(place).to_have_text("lost", timeout=PATIENCE_MS)
    assert page.evaluate("window.sameDocument")
    assert row.bounding_box() == before, "nothing moved"
    page.goto(f"{address}/boxes/kerb-1")
    expect(page.locator('[data-live="status"]')).to_have_text("lost")
    change(house, status_state="online")
    expect(page.locator('[data-live="status"]')).to_have_text("online", timeout=PATIENCE_MS)


def test_a_page_that_is_cut_off_says_so_and_so_does_one_that_was_signed_out(
    house: WebHouse, address: str, page: Page
) -> None:
    enter(page, address, "viewer")
    state = page.locator("[data-live-state]")
    expect(state).to_have_text("Live", timeout=PATIENCE_MS)
    page.context.set_offline(True)
    house.app.state.live.close()
    expect(state).to_contain_text("Not live since", timeout=PATIENCE_MS)
    house.app.state.live._closing = False
    page.context.set_offline(False)
    expect(state).to_have_text("Live", timeout=PATIENCE_MS)
    users.disable_user(house.engine, "viewer")
    expect(state).to_have_text("Signed out", timeout=PATIENCE_MS)


@pytest.mark.parametrize("name", ["auditor", "operator"])
def test_no_page_scrolls_sideways_on_a_phone(address: str, page: Page, name: str) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    enter(page, address, name)
    paths = ["/", "/boxes/kerb-1", "/boxes/kerb-1?span=7d", "/boxes/kerb-2", "/alarms?state=all", "/alarms/1"]
    if name == "auditor":
        paths += ["/segments?device=kerb-1", "/segments/kerb-1/front/3", "/export", "/accesses", "/nothing"]
    for path in paths:
        page.goto(f"{address}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path


def test_the_keyboard_alone_is_enough(address: str, page: Page) -> None:
    page.goto(f"{address}/login")
    # a page has loaded before its first field has the focus
    page.wait_for_function("document.activeElement.matches('input[autofocus]')")
    page.keyboard.type("viewer")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    for control in page.locator("input:not([type=hidden]), select, textarea").all():
        assert control.evaluate("element => element.labels.length"), "every field has a label"


def test_an_auditor_verifies_a_segment_and_takes_a_bundle_that_holds(
    house: WebHouse, address: str, page: Page, tmp_path: Path
) -> None:
    enter(page, address, "auditor", "/segments/kerb-1/front/3")
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_role("status")).to_have_text("Everything holds.")
    page.goto(f"{address}/export?device=kerb-1")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "bundle.zip"
    waiting.value.save_as(file)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "bundle")
    (folder,) = (tmp_path / "bundle").iterdir()
    assert verify(folder, Demands(key=house.keys["kerb-1"].verifier)).ok


def test_an_operator_closes_an_alarm(address: str, page: Page) -> None:
    enter(page, address, "operator", "/alarms/1")
    page.get_by_label("Why it needs nobody any more").fill("The box was replaced.")
    page.get_by_role("button", name="Close the alarm").click()
    expect(page.get_by_text("by operator")).to_be_visible()
    expect(page.get_by_role("button", name="Close the alarm")).to_have_count(0)
