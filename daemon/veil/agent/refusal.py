"""Why a connection did not come about or ended: one line that says what to do."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime

from veil.errors import LinkError

_ENROL = "Check the box's certificate with the fleet manager, or enrol the box again (veil-fleet enroll)."
_WAIT = "The box tries again by itself."
# Of OpenSSL: X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED.
_NOT_YET, _ENDED = 9, 10
_CODES = {
    0x80: ("an error that it does not name", _WAIT),
    0x82: ("a protocol error", "Update Veil and the broker."),
    0x84: ("no MQTT 5", "Use a broker that speaks MQTT 5."),
    0x85: ("the client identifier is not taken", _ENROL),
    0x86: ("the identity is not known", _ENROL),
    0x87: ("the box is not authorised", _ENROL),
    0x88: ("the broker is not available", _WAIT),
    0x89: ("the broker is busy", _WAIT),
    0x8A: ("the box is banned", _ENROL),
    0x8B: ("the broker shuts down", _WAIT),
    0x8D: ("it heard nothing for the keep alive", _WAIT),
    0x8E: (
        "another program connected as this box",
        "Two boxes or two agents have one name: give each its own certificate.",
    ),
    0x93: ("too many messages in flight", "Report it: the broker's receive maximum was not kept."),
    0x95: ("a packet was too large", "Raise max_packet_size of the broker to 64 KiB."),
    0x97: ("a quota is exceeded", "Raise the broker's limits (max_connections, quotas)."),
    0x9F: ("connections come too fast", _WAIT),
}


def refused(code: int, where: str) -> LinkError:
    """For a reason code of CONNACK or DISCONNECT."""
    reason, hint = _CODES.get(code, (f"reason code 0x{code:02x}", _WAIT))
    return LinkError(f"The broker {where} ends the connection: {reason}.", hint=hint)


def lost(where: str) -> LinkError:
    """A connection that had been good ended without a word."""
    return LinkError(f"The connection to the broker {where} was lost.", hint=_WAIT)


def lost_soon(where: str) -> LinkError:
    """Likewise, but it had just been made: some brokers do not say that another client took the place."""
    return LinkError(
        f"The connection to the broker {where} was lost as soon as it was made.",
        hint="If that repeats, another program connects as this box: give each its own certificate.",
    )


def too_small(packet_bytes: int, where: str) -> LinkError:
    """The broker takes smaller packets than a box may have to send."""
    return LinkError(
        f"The broker {where} takes packets of {packet_bytes} bytes only: long log lines cannot be sent.",
        hint="Raise its max_packet_size to 64 KiB.",
    )


def silent(where: str) -> LinkError:
    """The connection ended before the broker's answer: with TLS 1.3 that is how a certificate is refused."""
    return LinkError(f"The broker {where} closed the connection without an answer.", hint=_ENROL)


def unreachable(error: Exception, where: str) -> LinkError:
    """For what connecting raised. The text holds nothing of the configuration but the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in {_NOT_YET, _ENDED}:
            return _by_the_clock(error.verify_code, where)
        return LinkError(
            f"The certificate of the broker {where} does not verify: {error.verify_message}.",
            hint="Check fleet.host (a name in it), fleet.ca (must have signed it) and the box's clock.",
        )
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "handshake failed").lower().replace("_", " ")
        return LinkError(f"TLS with the broker {where} fails: {reason}.", hint=_ENROL)
    if isinstance(error, socket.gaierror):
        return LinkError(
            f"The address of the broker {where} is not known.", hint="Check fleet.host and the DNS."
        )
    if isinstance(error, TimeoutError):
        return LinkError(f"The broker {where} does not answer.", hint="Check the network and fleet.port.")
    said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return LinkError(f"The broker {where} cannot be reached: {said}.", hint="Check the network and [fleet].")


def _by_the_clock(code: int, where: str) -> LinkError:
    # The day alone: a line of the journal that changed with each try would be told with each try.
    state = "is not valid yet" if code == _NOT_YET else "has ended"
    message = (
        f"The certificate of the broker {where} {state} by this box's clock, which says "
        f"{datetime.now(UTC):%Y-%m-%d}."
    )
    if code == _NOT_YET:
        hint = (
            "Set the clock: timedatectl set-ntp true. Recording goes on and events are kept; the box "
            "connects by itself once the clock is right."
        )
    else:
        hint = "Where that is wrong, set the clock (timedatectl set-ntp true); else: veil-fleet renew broker."
    return LinkError(message, hint=hint)
