"""Settings, keys, housekeeping: what the fleet manager keeps, what it throws away, and what it asks for."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from sqlalchemy import insert

from fleet.boxes import Box, segment
from fleet.health import health
from fleet.store_house import StoreHouse, receipts
from veil.audit.note import COSIGNATURE_V1
from veil.errors import ConfigError, KeyFormatError
from veil_fleet.collector.gaps import ask_for_checkpoints
from veil_fleet.collector.purge import DAY_MS, purge
from veil_fleet.settings import RetentionSettings, load_settings
from veil_fleet.store.engine import writing
from veil_fleet.store.tables import Alarm, HealthPoint
from veil_fleet.witness import Witness


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(f'folder = "{tmp_path}"\n[broker]\nhost = "a.example"\nport = 1884\n[web]\nport = 1\n')
    monkeypatch.setenv("VEIL_FLEET_BROKER__HOST", "b.example")
    monkeypatch.setenv("VEIL_FLEET_CONFIG", str(path))
    settings = load_settings()
    assert (settings.broker.host, settings.broker.port, settings.web.port) == ("b.example", 1884, 1)
    assert settings.database_url == f"sqlite:///{tmp_path}/fleet.db"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("foldr = 'x'", "foldr"),
        ("[broker]\nport = 0", "broker.port"),
        ("[database]\nurl = 'mysql://root:secret@h/n'", "database.url"),
        ("[database]\nurl = 'secret'", "database.url"),
        ("folder = ", "fleet.toml"),
    ],
)
def test_settings_that_are_wrong_are_named_and_never_repeated(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load_settings(path)
    assert "secret" not in str(caught.value)


def test_a_database_password_is_not_in_the_settings_repr(tmp_path: Path) -> None:
    settings = load_settings(None, folder=tmp_path, database={"url": "postgresql://u:secret@h/n"})
    assert "secret" not in repr(settings)
    assert "secret" in settings.database_url


def test_the_witness_key_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    settings = load_settings(None, folder=tmp_path / "new", witness={"name": "fleet.example"})
    first = Witness.open(settings).verifier
    assert Witness.open(settings).verifier == first
    assert (first.name, first.algorithm) == ("fleet.example", COSIGNATURE_V1)
    assert stat.S_IMODE(settings.witness_key_file.stat().st_mode) == 0o600
    settings.witness_key_file.write_text("x\n")
    with pytest.raises(KeyFormatError):
        Witness.open(settings)


def test_health_is_kept_for_plots_once_a_minute(house: StoreHouse) -> None:
    box = Box()
    start = box.now_ms
    for second in range(0, 300, 10):
        box.now_ms = start + second * 1000
        house.take(health(box, cameras=("front", "back")))
    assert len(house.rows(HealthPoint)) == 2 * 6
    assert json.loads(house.device().health)["cameras"]["front"]["fps_in"] == 15.0


def test_old_health_is_thinned_then_gone_and_alarms_that_are_open_stay(house: StoreHouse) -> None:
    now = 1_790_000_000_000 // 600_000 * 600_000
    retention = RetentionSettings(health_full_days=2, health_days=30, alarm_days=1)
    fields = dict.fromkeys(("fps_in", "fps_out", "latency_p99_ms", "detector_p50_ms"), 1.0)
    points = [
        {
            "device": "box-1",
            "camera": "front",
            "time_ms": now - minute * 60_000,
            "dropped": 0,
            "whole_frames": 0,
        }
        | fields
        # The last hour, an hour three days ago without its first minute, and an hour too old.
        for minute in (*range(60), *range(3 * 1440 + 1, 3 * 1440 + 59), *range(31 * 1440, 31 * 1440 + 60))
    ]
    common = {
        "device": "box-1",
        "log": "",
        "text": "",
        "evidence": "",
        "raised_ms": 0,
        "last_ms": 0,
        "count": 1,
    }
    common |= {"closed_by": "", "closed_comment": ""}
    with writing(house.engine) as connection:
        connection.execute(insert(HealthPoint), points)
        connection.execute(
            insert(Alarm),
            [
                common | {"kind": "fork", "closed_ms": None},
                common | {"kind": "gap", "closed_ms": now - 2 * DAY_MS},
            ],
        )
    purge(house.engine, retention, now)
    times = sorted(row.time_ms for row in house.rows(HealthPoint))
    assert len([time for time in times if time > now - DAY_MS]) == 60
    assert len([time for time in times if time <= now - DAY_MS]) == 6
    assert [row.kind for row in house.rows(Alarm)] == ["fork"]


def test_a_box_whose_last_messages_were_lost_is_asked(house: StoreHouse) -> None:
    box = Box()
    for number in range(3):
        box.log().append(segment(number))
    house.take(box.keys(), box.entries(), box.checkpoint(), health(box))
    box.now_ms += 30_000
    assert house.take(health(box, queue_events=4)).publish == []
    box.now_ms += 61_000
    asked = house.take(health(box, queue_events=4)).publish
    wanted = {item.topic: json.loads(item.payload)["first"] for item in asked}
    assert wanted == {"veil/box-1/resend/front": 3, "veil/box-1/resend/box": 0}
    box.now_ms += 30_000
    assert house.take(health(box, queue_events=4)).publish == []


def test_a_log_that_no_checkpoint_covers_is_asked_for_one(house: StoreHouse) -> None:
    box = Box()
    box.log().append(segment(0))
    house.take(box.keys(), box.entries())
    with writing(house.engine) as connection:
        assert ask_for_checkpoints(connection, box.now_ms + 70_000).publish == []
        (asked,) = ask_for_checkpoints(connection, box.now_ms + 80_000).publish
        assert ask_for_checkpoints(connection, box.now_ms + 80_500).publish == []
    assert json.loads(asked.payload)["first"] == 0
    assert len(receipts(house.take(box.checkpoint()))) == 1
