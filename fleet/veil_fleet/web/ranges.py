"""Times in forms: what a browser's field for date and time sends, taken as UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from veil.audit.event import timestamp


def parse_time(text: str) -> str | None:
    """RFC 3339 with microseconds, as in the store; None for what is no time."""
    try:
        moment = datetime.fromisoformat(text.strip()[:40])
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return None


def field_value(time: str) -> str:
    """For `<input type=datetime-local>`."""
    return time[:16]


def last_day(now_ms: int) -> tuple[str, str]:
    """From 24 hours ago until the next minute."""
    return timestamp((now_ms - 86_400_000) * 1_000_000), timestamp((now_ms + 60_000) * 1_000_000)


def earlier(time: str, by: timedelta) -> str:
    """`by` before `time`, as far as the calendar goes."""
    try:
        moment = datetime.fromisoformat(time) - by
    except (ValueError, OverflowError):
        return time
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
