"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN = sa.text("closed_ms IS NULL")
GAP = sa.text("gap_ms IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "accesses",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("time_ms", BIG, nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accesses"),
    )
    op.create_index("ix_accesses_time_ms", "accesses", ["time_ms"])

    op.create_table(
        "alarms",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("log", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("raised_ms", BIG, nullable=False),
        sa.Column("last_ms", BIG, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("closed_ms", BIG, nullable=True),
        sa.Column("closed_by", sa.String(length=64), nullable=False),
        sa.Column("closed_comment", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alarms"),
    )
    op.create_index("ix_alarms_closed_ms", "alarms", ["closed_ms"])
    op.create_index("ix_alarms_device", "alarms", ["device"])
    op.create_index(
        "uq_alarms_open",
        "alarms",
        ["device", "log", "kind"],
        unique=True,
        postgresql_where=OPEN,
        sqlite_where=OPEN,
    )

    op.create_table(
        "checkpoints",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("log", sa.String(length=32), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=False),
        sa.Column("cosigned_ms", BIG, nullable=False),
        sa.PrimaryKeyConstraint("device", "log", "size", name="pk_checkpoints"),
    )
    op.create_table(
        "devices",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("enrolled_ms", BIG, nullable=True),
        sa.Column("revoked_ms", BIG, nullable=True),
        sa.Column("certificate", sa.String(length=80), nullable=False),
        sa.Column("pinned_key", sa.String(length=300), nullable=True),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("status_state", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.String(length=16), nullable=False),
        sa.Column("status_session", sa.String(length=16), nullable=False),
        sa.Column("status_ms", BIG, nullable=True),
        sa.Column("status_expires_s", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("bundle", sa.String(length=160), nullable=False),
        sa.Column("cameras", sa.Text(), nullable=False),
        sa.Column("health", sa.Text(), nullable=True),
        sa.Column("health_ms", BIG, nullable=True),
        sa.Column("camera_states", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_devices"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "events",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("log", sa.String(length=32), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("time", sa.String(length=27), nullable=False),
        sa.Column("received_ms", BIG, nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device", "log", "seq", name="pk_events"),
    )
    op.create_index("ix_events_device_kind_time", "events", ["device", "kind", "time"])

    op.create_table(
        "health_points",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("camera", sa.String(length=32), nullable=False),
        sa.Column("time_ms", BIG, nullable=False),
        sa.Column("fps_in", sa.Double(), nullable=False),
        sa.Column("fps_out", sa.Double(), nullable=False),
        sa.Column("latency_p99_ms", sa.Double(), nullable=False),
        sa.Column("detector_p50_ms", sa.Double(), nullable=False),
        sa.Column("dropped", BIG, nullable=False),
        sa.Column("whole_frames", BIG, nullable=False),
        sa.PrimaryKeyConstraint("device", "camera", "time_ms", name="pk_health_points"),
    )
    op.create_index("ix_health_points_time_ms", "health_points", ["time_ms"])

    op.create_table(
        "segments",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("camera", sa.String(length=32), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("file", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("start", sa.String(length=27), nullable=False),
        sa.Column("end", sa.String(length=27), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("deleted_seq", BIG, nullable=True),
        sa.PrimaryKeyConstraint("device", "camera", "seq", name="pk_segments"),
    )
    op.create_index("ix_segments_device_camera_file", "segments", ["device", "camera", "file"])
    op.create_index("ix_segments_device_camera_start", "segments", ["device", "camera", "start"])
    op.create_index("ix_segments_sha256", "segments", ["sha256"])

    op.create_table(
        "users",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password", sa.String(length=256), nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("disabled_ms", BIG, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "logs",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("stored_size", BIG, nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("seen_size", BIG, nullable=False),
        sa.Column("cosigned_size", BIG, nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=False),
        sa.Column("cosigned", sa.Text(), nullable=False),
        sa.Column("cosigned_ms", BIG, nullable=True),
        sa.Column("pending", sa.Text(), nullable=False),
        sa.Column("pending_ms", BIG, nullable=True),
        sa.Column("gap_ms", BIG, nullable=True),
        sa.Column("asked_ms", BIG, nullable=True),
        sa.Column("asks", sa.Integer(), nullable=False),
        sa.Column("behind_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_logs_device"),
        sa.PrimaryKeyConstraint("device", "name", name="pk_logs"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_logs_gap", "logs", ["gap_ms"], postgresql_where=GAP, sqlite_where=GAP)
