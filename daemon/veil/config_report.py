"""Collects everything that is wrong with a configuration and says it in short lines with their place.

Values are shown only where a number belongs: where text belongs, a number can be a secret without its quotes.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from veil.config import SECRET_KEYS
from veil.config_lines import KeyLines, Loc
from veil.errors import ConfigError

Tree = Mapping[str, Any]

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a section",
    "model": "a section",
    "path": "a path",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("over", "gt"),
    "less_than": ("under", "lt"),
}


class Report:
    """Problems and warnings of one configuration.

    Args:
        path, text, file: the TOML file (None, "", {} without one) and its tree.
        prefix: what environment variables of the configuration start with.
    """

    def __init__(self, path: Path | None, text: str, file: Tree, prefix: str) -> None:
        self.warnings: list[str] = []
        self.environment: Tree = {}
        self._path = path
        self._lines = KeyLines(text)
        self._file = file
        self._prefix = prefix
        self._problems: list[str] = []

    def problem(self, loc: Loc, message: str) -> None:
        """Notes what is wrong at `loc`, e.g. `("camera", "front", "detector", "threads")`."""
        line = f"{self._place(loc)}: {message}"
        if line not in self._problems:
            self._problems.append(line)

    def unknown(self, loc: Loc, known: Iterable[str], elsewhere: Mapping[str, str]) -> None:
        """Notes a key that nobody knows; `elsewhere` says for a key in which section it would be right."""
        kind = "section" if len(loc) == 1 else "key"
        self.problem(loc, f"unknown {kind}{_suggestion(str(loc[-1]), known, elsewhere)}")

    def unknown_variable(self, variable: str, section: str, known: Iterable[str]) -> None:
        self._problems.append(f"environment {variable}: unknown section{_suggestion(section, known, {})}")

    def invalid(
        self, error: ValidationError, loc: Loc, model: type[BaseModel], root: type[BaseModel]
    ) -> None:
        """Notes each finding of a validation of `model`, whose values stand below `loc`."""
        for detail in error.errors(include_url=False):
            inner = tuple(part for part in detail["loc"] if part != "[key]")
            if detail["type"] == "extra_forbidden":
                known = keys_at(model, inner[:-1])
                self.unknown((*loc, *inner), known, _homes(root, str(inner[-1])))
            else:
                self.problem((*loc, *inner), _say(detail))

    def raise_if_any(self) -> None:
        """Raises ConfigError with all problems."""
        if not self._problems:
            return
        count = len(self._problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        where = str(self._path) if self._path else "the environment"
        lines = "\n".join(f"  {problem}" for problem in self._problems)
        raise ConfigError(
            f"{where}: {head} in the configuration, nothing was started.\n{lines}\n",
            hint="edge-configs/reference.toml lists every key with its meaning and limits.",
        )

    def _place(self, loc: Loc) -> str:
        """The source that decides the value at `loc`: a camera's own before a default's."""
        candidates = [loc]
        if len(loc) > 2 and loc[0] == "camera":
            candidates.append(loc[2:])
        best: tuple[int, str] = (0, "")
        for candidate in candidates:
            offset = len(loc) - len(candidate)
            for tree, say in ((self.environment, self._variable), (self._file, self._line)):
                depth = _depth(tree, candidate)
                # A camera's bare header says nothing about a key that a default section sets.
                floor = 2 if offset == 0 and len(candidates) == 2 else 0
                if depth > floor and depth + offset > best[0]:
                    best = (depth + offset, say(candidate))
        return best[1] or self._line(loc)

    def _variable(self, loc: Loc) -> str:
        name = "__".join(str(part).replace("-", "_").upper() for part in loc)
        return f"environment {self._prefix}{name}"

    def _line(self, loc: Loc) -> str:
        number = self._lines.find(loc)
        place = f"{self._path.name}:{number} " if self._path and number else ""
        if len(loc) == 1:
            return f"{place}[{loc[0]}]"
        section = ".".join(str(part) for part in loc[:-1] if isinstance(part, str))
        return f"{place}[{section}] {loc[-1]}"


def keys_at(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    """The names that are known inside `model` at `loc`."""
    annotation: object = model
    for part in loc:
        annotation = inside(annotation, part)
    found = _model(annotation)
    return tuple(found.model_fields) if found else ()


def inside(annotation: object, part: str | int) -> object:
    """The annotation of what is called `part` (or has that number) inside of something; None for nothing."""
    found = _model(annotation)
    if found and isinstance(part, str) and part in found.model_fields:
        return found.model_fields[part].annotation
    arguments = [argument for argument in get_args(annotation) if argument is not ...]
    if get_origin(annotation) is dict:
        return arguments[1]
    return arguments[0] if arguments else None


def _model(annotation: object) -> type[BaseModel] | None:
    if get_origin(annotation) in {Union, types.UnionType}:
        return next((found for found in map(_model, get_args(annotation)) if found), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _homes(root: type[BaseModel], key: str) -> dict[str, str]:
    """`{key: "[a] or [b]"}` for a key that other sections know."""
    homes = [
        f"[{name}]"
        for name, field in root.model_fields.items()
        if (section := _model(field.annotation)) and key in section.model_fields
    ]
    return {key: " or ".join(homes)} if homes else {}


def _suggestion(key: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    if key in elsewhere:
        return f"; it belongs into {elsewhere[key]}"
    return f"; known are {', '.join(names)}" if names else ""


def _say(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_public = kind in _BOUNDS or kind.split("_")[0] in {"int", "float", "bool"}
    is_secret = bool(SECRET_KEYS.intersection(detail["loc"]))
    shown = f", not {value}" if is_number and is_public and not is_secret else ""
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]}{shown}"
    match kind:
        case "missing":
            return "is missing"
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "finite_number":
            return "must be a finite number"
        case _:
            expected = _KINDS.get(kind.split("_")[0])
            if expected and kind.endswith(("_type", "_parsing", "_from_float")):
                return f"must be {expected}{shown}"
            return detail["msg"]


def _depth(tree: object, loc: Loc) -> int:
    """How many parts of `loc` exist in `tree`."""
    for depth, part in enumerate(loc):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[str(part)]
        elif isinstance(tree, list | tuple) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return depth
    return len(loc)
