"""Lines of keys in a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from veil.config_lines import KeyLines

TEXT = '''\
[a]  # first
x = 1
long = """
y = 2
"""
"quoted key" = 3
[a.b]
c.d = 4
[[list]]
k = 1
[[list]]
k = 2
[list.sub]
m = 3
'''


def test_each_key_is_found_where_it_stands() -> None:
    lines = KeyLines(TEXT)
    assert lines.find(("a",)) == 1
    assert lines.find(("a", "x")) == 2
    assert lines.find(("a", "quoted key")) == 6
    assert lines.find(("a", "b", "c", "d")) == 8
    assert lines.find(("list", 0, "k")) == 10
    assert lines.find(("list", 1, "k")) == 12
    assert lines.find(("list", 1, "sub", "m")) == 14


def test_text_inside_a_string_is_no_key() -> None:
    assert KeyLines(TEXT).find(("a", "y")) == 1


def test_the_nearest_thing_around_is_named() -> None:
    assert KeyLines(TEXT).find(("a", "missing")) == 1
    assert KeyLines(TEXT).find(("nothing",)) is None


@given(st.text())
def test_any_text_is_read_to_its_end(text: str) -> None:
    KeyLines(text).find(("a",))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(), min_size=1))
def test_plain_keys_are_all_found(values: dict[str, Any]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in values.items())
    assert tomllib.loads(text) == values
    assert [KeyLines(text).find((key,)) for key in values] == list(range(1, len(values) + 1))
