"""Segments say what was on disk when they were deleted; deletions that were not matched till now are."""

from __future__ import annotations

import json
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MATCH = sa.text(
    "UPDATE segments SET deleted_seq = :by, deleted_sha256 = :sha256 "
    "WHERE device = :device AND camera = :log AND file = :file AND seq < :by AND deleted_seq IS NULL"
)
UNMATCHED = sa.text(
    "SELECT e.device, e.log, e.seq, e.line FROM events e "
    "JOIN logs l ON l.device = e.device AND l.name = e.log AND e.seq < l.stored_size "
    "LEFT JOIN segments s ON s.device = e.device AND s.camera = e.log AND s.deleted_seq = e.seq "
    "WHERE e.kind = 'segment_deleted' AND s.seq IS NULL ORDER BY e.device, e.log, e.seq"
)
RAISE = sa.text(
    "INSERT INTO alarms "
    "(device, log, kind, text, evidence, raised_ms, last_ms, count, closed_by, closed_comment) "
    "VALUES (:device, :log, 'altered_recording', :text, :evidence, :now_ms, :now_ms, :count, '', '')"
)


def upgrade() -> None:
    op.add_column("segments", sa.Column("deleted_sha256", sa.String(length=64), nullable=True))
    connection = op.get_bind()
    # They were matched by hash: it was the same.
    connection.execute(sa.text("UPDATE segments SET deleted_sha256 = sha256 WHERE deleted_seq IS NOT NULL"))
    altered: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in connection.execute(UNMATCHED).all():
        data = json.loads(row.line).get("data")
        if not isinstance(data, dict):
            continue
        file, sha256 = data.get("file"), data.get("sha256")
        # A database's text has no NUL.
        if not isinstance(file, str) or "\0" in file or not isinstance(sha256, str) or len(sha256) != 64:
            continue
        names = {"device": row.device, "log": row.log, "file": file, "by": row.seq, "sha256": sha256}
        if connection.execute(MATCH, names).rowcount:
            piece = {"file": file, "sha256_deleted": sha256, "deleted": row.line}
            altered.setdefault((row.device, row.log), []).append(piece)
    for (device, log), pieces in altered.items():
        connection.execute(
            RAISE,
            {
                "device": device,
                "log": log,
                "text": f"A recording was altered before it was deleted: {pieces[0]['file']} had another "
                "SHA-256 at its deletion than at its closing.",
                "evidence": json.dumps(pieces[:8]),
                "now_ms": time.time_ns() // 1_000_000,
                "count": len(pieces),
            },
        )
