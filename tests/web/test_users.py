"""`veil-fleet user`: the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from veil.errors import UsageError
from veil_fleet.cli import app
from web_house import PASSWORD


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEIL_FLEET_FOLDER", str(tmp_path))


def user(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["user", *arguments], input=typed)


def test_users_are_added_listed_and_disabled_with_the_password_on_standard_input() -> None:
    assert user("add", "ada", "--role", "auditor", typed=PASSWORD + "\n").exit_code == 0
    again = user("add", "ada", "--role", "viewer", typed=PASSWORD + "\n")
    assert isinstance(again.exception, UsageError)
    assert "already" in str(again.exception)
    assert user("disable", "ada").exit_code == 0
    assert "ada  auditor   disabled" in user("list").output
    assert user("passwd", "ada", typed="another password\n").exit_code == 0
    assert "ada  auditor   since" in user("list").output


def test_a_password_is_never_an_argument_and_never_empty() -> None:
    assert user("add", "ada", PASSWORD, "--role", "viewer").exit_code == 2
    empty = user("add", "ada", "--role", "viewer")
    assert isinstance(empty.exception, UsageError)
    assert "standard input" in str(empty.exception)
    short = user("add", "ada", "--role", "viewer", typed="short\n")
    assert "12 to 256" in str(short.exception)


def test_nobody_is_disabled_who_is_not_there() -> None:
    assert "no user" in str(user("disable", "nobody").exception)
