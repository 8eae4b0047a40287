"""The tables in the code and the tables that the migrations make are the same, on both databases."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from veil.errors import ConfigError
from veil_fleet.settings import FleetSettings
from veil_fleet.store.engine import open_engine, writing
from veil_fleet.store.schema import check_schema, migrate, migration_config
from veil_fleet.store.tables import Table


def test_migrations_make_what_the_models_say(settings: FleetSettings) -> None:
    engine = open_engine(settings)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Table.metadata)
    engine.dispose()
    assert differences == []


def test_a_database_without_tables_is_refused_with_the_command_that_helps(settings: FleetSettings) -> None:
    engine = open_engine(settings)
    with pytest.raises(ConfigError, match="veil-fleet migrate"):
        check_schema(engine)
    migrate(engine)
    check_schema(engine)
    engine.dispose()


def test_two_that_migrate_at_once_do_it_once(settings: FleetSettings) -> None:
    engines = [open_engine(settings) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, engines))
    check_schema(engines[0])
    for engine in engines:
        engine.dispose()


def test_deletions_that_were_not_matched_by_hash_are_matched_when_the_schema_moves_on(
    settings: FleetSettings,
) -> None:
    engine = open_engine(settings)
    with writing(engine) as connection:
        command.upgrade(migration_config(connection), "0001")
        connection.execute(
            text(
                "INSERT INTO devices (name, site, certificate, keys, status_state, status_reason, "
                "status_session, status_expires_s, version, bundle, cameras, camera_states) "
                "VALUES ('box-1', '', '', '', 'unknown', '', '', 45, '', '', '[]', '{}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO logs (device, name, stored_size, head, seen_size, cosigned_size, peaks, "
                "cosigned, pending, asks) VALUES ('box-1', 'front', 6, :empty, 6, 0, :empty, '', '', 0)"
            ),
            {"empty": b""},
        )
        for seq, (file, now) in enumerate((("a.mp4", "aa"), ("b.mp4", "bb"), ("c.mp4", "cc"))):
            connection.execute(
                text(
                    "INSERT INTO segments VALUES "
                    "('box-1', 'front', :seq, :file, :sha256, 9, 'x', 'y', 5, :gone)"
                ),
                {"seq": seq, "file": file, "sha256": now * 32, "gone": 3 if file == "a.mp4" else None},
            )
        for seq, (file, then) in enumerate((("a.mp4", "aa"), ("b.mp4", "ee"), ("never.mp4", "cc")), 3):
            data = {"file": file, "sha256": then * 32}
            connection.execute(
                text("INSERT INTO events VALUES ('box-1', 'front', :seq, 'segment_deleted', 'x', 0, :line)"),
                {"seq": seq, "line": json.dumps({"data": data})},
            )
    migrate(engine)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT deleted_seq, deleted_sha256 FROM segments ORDER BY seq")
        ).all()
        alarms = connection.execute(text("SELECT kind, log, text FROM alarms WHERE closed_ms IS NULL")).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [(3, "aa" * 32), (4, "ee" * 32), (None, None)]
    ((kind, log, said),) = alarms
    assert (kind, log) == ("altered_recording", "front")
    assert "b.mp4" in said
