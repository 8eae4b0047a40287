"""The tables. Times are POSIX milliseconds of the fleet manager's clock, unless they are named otherwise."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Big = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where a key's type is INTEGER."""


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Device(Table):
    """A box: enrolled, or first heard of through a certificate that the broker accepted.

    Attributes:
        pinned_key: the first verifier key of the box's keys.jsonl; everything later must be chained to it.
        keys: the lines of keys.jsonl, as accepted so far, newline-separated.
        status_state: what the box or the broker said last (`online`, `offline`); `status_ms` is when we heard
            it. `online` is true only until `status_ms` + `status_expires_s`.
        health: the newest Health message, JSON.
        camera_states: the newest CameraState of each camera, JSON: an object by name.
    """

    __tablename__ = "devices"
    # Status and health are written a few times a minute: room for the new row beside the old one.
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    site: Mapped[str] = mapped_column(String(64), default="")
    enrolled_ms: Mapped[int | None] = mapped_column(Big)
    revoked_ms: Mapped[int | None] = mapped_column(Big)
    certificate: Mapped[str] = mapped_column(String(80), default="")
    pinned_key: Mapped[str | None] = mapped_column(String(300))
    keys: Mapped[str] = mapped_column(Text, default="")
    status_state: Mapped[str] = mapped_column(String(16), default="unknown")
    status_reason: Mapped[str] = mapped_column(String(16), default="")
    status_session: Mapped[str] = mapped_column(String(16), default="")
    status_ms: Mapped[int | None] = mapped_column(Big)
    status_expires_s: Mapped[int] = mapped_column(Integer, default=45)
    version: Mapped[str] = mapped_column(String(64), default="")
    bundle: Mapped[str] = mapped_column(String(160), default="")
    cameras: Mapped[str] = mapped_column(Text, default="[]")
    health: Mapped[str | None] = mapped_column(Text)
    health_ms: Mapped[int | None] = mapped_column(Big)
    camera_states: Mapped[str] = mapped_column(Text, default="{}")


GAP = text("gap_ms IS NOT NULL")


class Log(Table):
    """One log of a box, and how far the witness has seen it.

    Attributes:
        stored_size: lines 0 .. stored_size - 1 are all in `events`, each naming the one before it.
        head: leaf hash of line `stored_size` - 1, 32 bytes; empty without lines.
        seen_size: what the box has shown or signed, in lines; over `stored_size` there is a gap.
        gap_ms: since when there is one.
        asks: how often the lines that lack were asked for, since the last one came.
        behind_ms: since when there are lines that are not cosigned.
        cosigned_size: size of the newest cosigned checkpoint.
        peaks: of the tree of `cosigned_size` leaves, 32 bytes each, the largest subtree first.
        cosigned: that checkpoint's note with our cosignature.
        pending: the newest signed note that waits for lines or for a key; empty when none does.
    """

    __tablename__ = "logs"

    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    stored_size: Mapped[int] = mapped_column(Big, default=0)
    head: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    seen_size: Mapped[int] = mapped_column(Big, default=0)
    cosigned_size: Mapped[int] = mapped_column(Big, default=0)
    peaks: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    cosigned: Mapped[str] = mapped_column(Text, default="")
    cosigned_ms: Mapped[int | None] = mapped_column(Big)
    pending: Mapped[str] = mapped_column(Text, default="")
    pending_ms: Mapped[int | None] = mapped_column(Big)
    gap_ms: Mapped[int | None] = mapped_column(Big)
    asked_ms: Mapped[int | None] = mapped_column(Big)
    asks: Mapped[int] = mapped_column(Integer, default=0)
    behind_ms: Mapped[int | None] = mapped_column(Big)

    __table_args__ = (
        Index("ix_logs_gap", "gap_ms", postgresql_where=GAP, sqlite_where=GAP),
        {"postgresql_with": {"fillfactor": 70}},
    )


class LogLine(Table):
    """One line of a log, byte for byte as the box wrote it (without the newline)."""

    __tablename__ = "events"

    device: Mapped[str] = mapped_column(String(32), primary_key=True)
    log: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(Big, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    time: Mapped[str] = mapped_column(String(27))
    received_ms: Mapped[int] = mapped_column(Big)
    line: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index(None, "device", "kind", "time"),)


class Segment(Table):
    """A closed recording, from its `segment_closed` event; for search.

    Attributes:
        start, end: wall clock of the box, RFC 3339 in UTC.
        deleted_seq: sequence number of the event that says it was deleted.
        deleted_sha256: of what was then on disk; another one than `sha256` says that it was altered.
    """

    __tablename__ = "segments"

    device: Mapped[str] = mapped_column(String(32), primary_key=True)
    camera: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(Big, primary_key=True)
    file: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(Big)
    start: Mapped[str] = mapped_column(String(27))
    end: Mapped[str] = mapped_column(String(27))
    frames: Mapped[int] = mapped_column(Integer)
    deleted_seq: Mapped[int | None] = mapped_column(Big)
    deleted_sha256: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (Index(None, "device", "camera", "start"), Index(None, "device", "camera", "file"))


class Checkpoint(Table):
    """Every checkpoint that was cosigned, with the cosignature.

    Attributes:
        peaks: of the tree of `size` leaves, as in `logs`: from here an older size is recomputed.
    """

    __tablename__ = "checkpoints"

    device: Mapped[str] = mapped_column(String(32), primary_key=True)
    log: Mapped[str] = mapped_column(String(32), primary_key=True)
    size: Mapped[int] = mapped_column(Big, primary_key=True)
    note: Mapped[str] = mapped_column(Text)
    peaks: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    cosigned_ms: Mapped[int] = mapped_column(Big)


OPEN = text("closed_ms IS NULL")


class Alarm(Table):
    """Something that a person must look at.

    Attributes:
        kind: `fork`, `rollback`, `gap`, `bad_signature`, `bad_line`, `bad_message`, `unknown_key`, `late`,
            `altered_recording`.
        evidence: what proves it (the two notes, the two lines): a JSON list of objects, the first few.
        last_ms, count: repeats are counted on one row while it is open.
        closed_by, closed_comment: which operator closed it, and why.
    """

    __tablename__ = "alarms"

    id: Mapped[int] = mapped_column(Big, primary_key=True, autoincrement=True)
    device: Mapped[str] = mapped_column(String(32), index=True)
    log: Mapped[str] = mapped_column(String(32), default="")
    kind: Mapped[str] = mapped_column(String(32))
    text: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text, default="")
    raised_ms: Mapped[int] = mapped_column(Big)
    last_ms: Mapped[int] = mapped_column(Big)
    count: Mapped[int] = mapped_column(Integer, default=1)
    closed_ms: Mapped[int | None] = mapped_column(Big, index=True)
    closed_by: Mapped[str] = mapped_column(String(64), default="")
    closed_comment: Mapped[str] = mapped_column(String(1000), default="")

    __table_args__ = (
        Index(
            "uq_alarms_open", "device", "log", "kind", unique=True, postgresql_where=OPEN, sqlite_where=OPEN
        ),
    )


class HealthPoint(Table):
    """One camera's numbers at one moment, for plots; kept for a configured time."""

    __tablename__ = "health_points"

    device: Mapped[str] = mapped_column(String(32), primary_key=True)
    camera: Mapped[str] = mapped_column(String(32), primary_key=True)
    time_ms: Mapped[int] = mapped_column(Big, primary_key=True)
    fps_in: Mapped[float]
    fps_out: Mapped[float]
    latency_p99_ms: Mapped[float]
    detector_p50_ms: Mapped[float]
    dropped: Mapped[int] = mapped_column(Big)
    whole_frames: Mapped[int] = mapped_column(Big)

    __table_args__ = (Index(None, "time_ms"),)


class User(Table):
    """Who may look.

    Attributes:
        role: `viewer`, `operator` or `auditor`.
        password: Argon2id, encoded with its parameters.
    """

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str] = mapped_column(String(256))
    created_ms: Mapped[int] = mapped_column(Big)
    disabled_ms: Mapped[int | None] = mapped_column(Big)


class Access(Table):
    """Who looked at what, or tried to."""

    __tablename__ = "accesses"

    id: Mapped[int] = mapped_column(Big, primary_key=True, autoincrement=True)
    time_ms: Mapped[int] = mapped_column(Big, index=True)
    user: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(255), default="")
    allowed: Mapped[bool]
