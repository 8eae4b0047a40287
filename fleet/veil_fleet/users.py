"""Who may look at the fleet's page: names, roles, passwords (Argon2id)."""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from veil.errors import UsageError
from veil_fleet.roles import Role
from veil_fleet.store.engine import writing
from veil_fleet.store.tables import User

MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def make_hasher() -> PasswordHasher:
    """Argon2id with 64 MiB and three passes, over what OWASP asks for at least (19 MiB, two)."""
    return PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)


_HASHER = make_hasher()


@cache
def _of_nobody() -> str:
    """Verified where there is no such user, so that the answer takes as long as for one that exists."""
    return _HASHER.hash("a password that nobody has")


def prepare() -> None:
    """Makes what the first `authenticate` needs, so that it does not take longer than the others."""
    _of_nobody()


@dataclass(frozen=True, slots=True)
class Account:
    """A user who is not disabled.

    Attributes:
        fingerprint: changes with the password; sessions made under another one are over.
    """

    name: str
    role: Role
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A user as `veil-fleet user list` shows it; times are POSIX milliseconds."""

    name: str
    role: str
    created_ms: int
    disabled_ms: int | None


def add_user(engine: Engine, name: str, role: Role, password: str) -> None:
    """Raises UsageError for a name that is taken or malformed and for a password that is too short."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no name of a user.", hint="Letters, digits and . _ @ -, at most 64 of them."
        )
    row = {"name": name, "role": str(role), "password": hashed(password), "created_ms": _now_ms()}
    try:
        with writing(engine) as connection:
            connection.execute(insert(User).values(row))
    except IntegrityError as error:
        raise UsageError(
            f"There is a user {name!r} already.", hint="veil-fleet user passwd sets another password."
        ) from error


def set_password(engine: Engine, name: str, password: str) -> None:
    """Ends the user's sessions too, and lets a disabled user in again. Raises UsageError."""
    _change(engine, name, password=hashed(password), disabled_ms=None)


def disable_user(engine: Engine, name: str) -> None:
    """The user is out with the next request. Raises UsageError for an unknown name."""
    _change(engine, name, disabled_ms=_now_ms())


def list_users(engine: Engine) -> list[Listed]:
    """In the order of their names."""
    query = select(User.name, User.role, User.created_ms, User.disabled_ms).order_by(User.name)
    with engine.connect() as connection:
        return [Listed(*row) for row in connection.execute(query)]


def account_of(connection: Connection, name: str) -> Account | None:
    """None for a user who is not there or disabled."""
    row = connection.execute(
        select(User.role, User.password, User.disabled_ms).where(User.name == name)
    ).one_or_none()
    if row is None or row.disabled_ms is not None or row.role not in set(Role):
        return None
    return Account(name, Role(row.role), _fingerprint(row.password))


def authenticate(engine: Engine, name: str, password: str) -> Account | None:
    """The account where name and password fit. Takes 100 ms and 64 MiB, user or no user."""
    password = password[: MAX_PASSWORD + 1]
    with engine.connect() as connection:
        row = connection.execute(select(User.password).where(User.name == name[:64])).one_or_none()
    stored = row.password if row else _of_nobody()
    try:
        _HASHER.verify(stored, _normal(password))
    except (VerificationError, InvalidHashError):
        return None
    if row is None:
        return None
    if _HASHER.check_needs_rehash(stored):
        stored = _HASHER.hash(_normal(password))
        with writing(engine) as connection:
            connection.execute(update(User).where(User.name == name).values(password=stored))
    with engine.connect() as connection:
        return account_of(connection, name)


def _change(engine: Engine, name: str, **values: object) -> None:
    with writing(engine) as connection:
        if connection.execute(update(User).where(User.name == name).values(values)).rowcount == 0:
            raise UsageError(f"There is no user {name[:80]!r}.", hint="veil-fleet user list shows them.")


def hashed(password: str) -> str:
    """As the table keeps it. Raises UsageError for a password that is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise UsageError(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    return _HASHER.hash(_normal(password))


def _normal(password: str) -> str:
    # The same characters typed on another keyboard must be the same password. Lone surrogates are none.
    return unicodedata.normalize("NFKC", password).encode(errors="replace").decode()


def _fingerprint(stored: str) -> str:
    return sha256(stored.encode()).hexdigest()[:32]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
