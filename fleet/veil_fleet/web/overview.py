"""All boxes, a page of them at a time. Counting, sorting and paging happen in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from veil_fleet.store.tables import Alarm, Device
from veil_fleet.web.reading import cameras_value, health_of, names_of, queue_value
from veil_fleet.web.standing import Standing, rank_at, standing_at
from veil_fleet.web.values import NOTHING, Value

PAGE_SIZE: Final = 50
MAX_SITES: Final = 500
E = TypeVar("E", bound=StrEnum)


class Sort(StrEnum):
    STATUS = "status"
    NAME = "name"
    SITE = "site"
    VERSION = "version"
    BUNDLE = "bundle"
    SEEN = "seen"
    ALARMS = "alarms"


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for.

    Attributes:
        text: in the name or the site.
        page: from 1.
    """

    text: str = ""
    site: str = ""
    standing: Standing | None = None
    alarms: bool = False
    sort: Sort = Sort.STATUS
    descending: bool = False
    page: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Filter:
        """From a URL's query; what does not fit is left out."""
        page = query.get("page", "1")
        return cls(
            text=query.get("q", "").strip()[:80],
            site=query.get("site", "")[:64],
            standing=_member(Standing, query.get("status", "")),
            alarms=query.get("alarms") == "open",
            sort=_member(Sort, query.get("sort", "")) or Sort.STATUS,
            descending=query.get("order") == "desc",
            page=min(int(page), 100_000) if page.isascii() and page.isdigit() and page.strip("0") else 1,
        )

    def query(self, **other: str | int) -> dict[str, str | int]:
        """As parameters of a URL, some of them replaced; defaults are left out."""
        made: dict[str, str | int] = {
            "q": self.text,
            "site": self.site,
            "status": self.standing or "",
            "alarms": "open" if self.alarms else "",
            "sort": "" if self.sort is Sort.STATUS else self.sort.value,
            "order": "desc" if self.descending else "",
            "page": self.page if self.page > 1 else "",
        }
        return {key: value for key, value in (made | other).items() if value != ""}


@dataclass(frozen=True, slots=True)
class Row:
    """A box on the overview. Text comes from the box: escape it."""

    name: str
    site: str
    standing: Standing
    version: Value
    bundle: Value
    cameras: Value
    seen: Value
    queue: Value
    alarms: Value

    def values(self) -> dict[str, Value]:
        """What of it changes, by its place on the page."""
        return {
            f"status:{self.name}": Value(self.standing.words, self.standing.value),
            f"version:{self.name}": self.version,
            f"bundle:{self.name}": self.bundle,
            f"cameras:{self.name}": self.cameras,
            f"seen:{self.name}": self.seen,
            f"queue:{self.name}": self.queue,
            f"alarms:{self.name}": self.alarms,
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """A page of boxes.

    Attributes:
        found: boxes that match, on all pages.
        counts: boxes by standing, matching or not.
        open_alarms: of all boxes.
    """

    rows: tuple[Row, ...]
    found: int
    counts: Mapping[Standing, int]
    open_alarms: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.found // PAGE_SIZE))

    def values(self) -> dict[str, Value]:
        made = {
            f"count:{standing}": Value(f"{self.counts.get(standing, 0):,}", standing.value)
            for standing in Standing
        }
        made["count:alarms"] = Value(f"{self.open_alarms:,}", "bad" if self.open_alarms else "ok")
        for row in self.rows:
            made |= row.values()
        return made


def read_overview(connection: Connection, wanted: Filter, now_ms: int) -> Overview:
    """One page; a handful of statements, none of which reads the health of more than a page."""
    standing = standing_at(now_ms)
    counts = connection.execute(select(standing, func.count()).group_by(standing)).all()
    open_alarms = connection.scalar(select(func.count()).where(Alarm.closed_ms.is_(None))) or 0
    alarms = (
        select(Alarm.device, func.count().label("number"))
        .where(Alarm.closed_ms.is_(None))
        .group_by(Alarm.device)
        .subquery()
    )
    conditions = _conditions(wanted, standing)
    if wanted.alarms:
        conditions.append(alarms.c.number > 0)
    chosen = select(Device.name).outerjoin(alarms, alarms.c.device == Device.name).where(*conditions)
    found = connection.scalar(chosen.with_only_columns(func.count())) or 0
    page = _sorted(chosen, wanted, now_ms, alarms.c.number)
    names = connection.scalars(page.limit(PAGE_SIZE).offset((wanted.page - 1) * PAGE_SIZE)).all()
    rows = connection.execute(
        select(
            Device.name,
            Device.site,
            standing.label("standing"),
            Device.version,
            Device.bundle,
            Device.cameras,
            Device.health,
            Device.health_ms,
            Device.status_ms,
            func.coalesce(alarms.c.number, 0).label("alarms"),
        )
        .outerjoin(alarms, alarms.c.device == Device.name)
        .where(Device.name.in_(names))
    )
    made = {row.name: _row(row) for row in rows}
    return Overview(
        rows=tuple(made[name] for name in names if name in made),
        found=found,
        counts={Standing(key): number for key, number in counts},
        open_alarms=open_alarms,
    )


def read_sites(connection: Connection) -> list[str]:
    """For the filter: at most `MAX_SITES`."""
    query = select(Device.site).where(Device.site != "").distinct().order_by(Device.site).limit(MAX_SITES)
    return list(connection.scalars(query))


def _conditions(wanted: Filter, standing: ColumnElement[str]) -> list[ColumnElement[bool]]:
    made: list[ColumnElement[bool]] = []
    if wanted.text:
        made.append(
            or_(
                Device.name.icontains(wanted.text, autoescape=True),
                Device.site.icontains(wanted.text, autoescape=True),
            )
        )
    if wanted.site:
        made.append(Device.site == wanted.site)
    if wanted.standing:
        made.append(standing == wanted.standing.value)
    return made


def _sorted(chosen: Select[Any], wanted: Filter, now_ms: int, alarms: ColumnElement[int]) -> Select[Any]:
    by: ColumnElement[Any]
    match wanted.sort:
        case Sort.STATUS:
            by = rank_at(now_ms)
        case Sort.NAME:
            by = Device.name.expression
        case Sort.SITE:
            by = Device.site.expression
        case Sort.VERSION:
            by = Device.version.expression
        case Sort.BUNDLE:
            by = Device.bundle.expression
        case Sort.SEEN:
            by = func.coalesce(Device.status_ms, 0)
        case Sort.ALARMS:
            by = -func.coalesce(alarms, 0)
    return chosen.order_by(by.desc() if wanted.descending else by.asc(), Device.name)


def _row(row: Any) -> Row:
    health = health_of(row.health)
    standing = Standing(row.standing)
    seen = max(row.status_ms or 0, row.health_ms or 0)
    return Row(
        name=row.name,
        site=row.site,
        standing=standing,
        version=Value(row.version) if row.version else NOTHING,
        bundle=Value(row.bundle) if row.bundle else NOTHING,
        cameras=cameras_value(names_of(row.cameras), health, online=standing is Standing.ONLINE),
        seen=Value("", "", seen) if seen else NOTHING,
        queue=queue_value(health),
        alarms=Value(str(row.alarms), "bad" if row.alarms else "off"),
    )


def _member(kind: type[E], text: str) -> E | None:
    return kind(text) if text in set(kind) else None
