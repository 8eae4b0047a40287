"""Who is signed in: kept in this process, named by a signed cookie.

The cookie holds a random id and nothing else, so a session ends when the server says so. Nothing is written
to disk: after a restart everybody signs in again.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from itsdangerous import BadSignature, URLSafeSerializer

from veil_fleet.users import Account

IDLE_S: Final = 2 * 3600.0
MAX_SESSIONS: Final = 4096
MAX_COOKIE: Final = 256


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in.

    Attributes:
        csrf: what forms of this session carry.
        fingerprint: of the password it was made with (see `Account`).
        made_s: monotonic.
    """

    id: str
    user: str
    csrf: str
    fingerprint: str
    made_s: float


class Sessions:
    """At most `MAX_SESSIONS`; the one unused for longest goes first. Thread-safe.

    Args:
        monotonic: seconds; never wall clock, which may step.
        lifetime_s: from sign-in until the session ends, used or not.
    """

    def __init__(self, monotonic: Callable[[], float], lifetime_s: float) -> None:
        self._monotonic = monotonic
        self._lifetime_s = lifetime_s
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._secret = secrets.token_bytes(32)
        self._signer = URLSafeSerializer(
            self._secret, salt="session", signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"}
        )

    def start(self, account: Account) -> tuple[Session, str]:
        """A new session, with an id that nobody knew before, and its cookie."""
        now = self._monotonic()
        session = Session(
            secrets.token_urlsafe(32), account.name, secrets.token_urlsafe(24), account.fingerprint, now
        )
        with self._lock:
            self._sessions[session.id] = (session, now)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return session, str(self._signer.dumps(session.id))

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, which counts as used now; None where it is forged, over or ended."""
        if not cookie or len(cookie) > MAX_COOKIE:
            return None
        try:
            identity = self._signer.loads(cookie)
        except BadSignature:
            return None
        now = self._monotonic()
        with self._lock:
            found = self._sessions.get(identity) if isinstance(identity, str) else None
            if found is None:
                return None
            session, used_s = found
            if now - session.made_s > self._lifetime_s or now - used_s > IDLE_S:
                del self._sessions[session.id]
                return None
            self._sessions[session.id] = (session, now)
            self._sessions.move_to_end(session.id)
        return session

    def end(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)

    def form_token(self, nonce: str) -> str:
        """For the sign-in form, which has no session yet: bound to a random cookie."""
        return hmac.new(self._secret, b"form" + nonce.encode(), sha256).hexdigest()
