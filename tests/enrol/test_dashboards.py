"""docs/dashboards: Telegraf reads what boxes say, and Grafana asks for what Telegraf makes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_house import Broker
from mqtt_client import Client
from veil.messages.health import CameraCondition, Health, Status
from veil.messages.topics import Kind, filter_of
from veil_fleet.broker import DASHBOARD

FOLDER = Path(__file__).parents[2] / "docs" / "dashboards"
TELEGRAF = tomllib.loads((FOLDER / "telegraf.conf").read_text())
BOARD = json.loads((FOLDER / "veil-fleet.json").read_text())
INPUTS: list[dict[str, Any]] = TELEGRAF["inputs"]["mqtt_consumer"]
SCHEMAS = {"veil/+/health": Health.model_json_schema(), "veil/+/status": Status.model_json_schema()}
WORDS = {"number", "string", "name", "boolean"}

Schema = dict[str, Any]


def metrics() -> dict[str, set[str]]:
    """Name in Prometheus -> its labels."""
    found: dict[str, set[str]] = {}
    for one in INPUTS:
        (parsing,) = one["topic_parsing"]
        from_topic = set(parsing["tags"].split("/")) - {"_"}
        for section in one["xpath"]:
            measurement = section["metric_name"].strip("'")
            for field in section["fields"]:
                labels = from_topic | set(section.get("tags", {}))
                found.setdefault(f"{measurement}_{field}", set()).update(labels)
    return found


def paths() -> Iterator[tuple[str, str, str]]:
    """(topic, selection, path below it) of each place in a message that is read."""
    for one in INPUTS:
        (topic,) = one["topics"]
        for section in one["xpath"]:
            for query in (*section["fields"].values(), *section.get("tags", {}).values()):
                bare = re.sub(r"'[^']*'", "", query)
                for path in re.findall(r"[a-z_][a-z0-9_/]*", bare):
                    if path not in WORDS:
                        yield topic, section["metric_selection"], path
            yield topic, section["metric_selection"], ""


def resolve(schema: Schema, root: Schema) -> Schema:
    """Without references, and without the choice of there being nothing."""
    if "$ref" in schema:
        return resolve(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return resolve(choices[0], root) if len(choices) == 1 else schema


def below(root: Schema, path: str) -> Schema | None:
    """The schema of what an XPath of plain steps and `*` leads to; None where a message has no such thing."""
    at = root
    for step in (part for part in path.split("/") if part):
        at = resolve(at, root)
        following = at.get("additionalProperties") if step == "*" else at.get("properties", {}).get(step)
        if following is None:
            # A map with a pattern for its names.
            following = next(iter(at.get("patternProperties", {}).values()), None) if step == "*" else None
        if not isinstance(following, dict):
            return None
        at = following
    return resolve(at, root)


def queries() -> Iterator[str]:
    """Every PromQL expression of the dashboard and of the rules."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    yield from re.findall(r"^ +expr: (.+)$", (FOLDER / "alerts.yml").read_text(), re.M)


@pytest.mark.parametrize(("topic", "selection", "path"), sorted(set(paths())))
def test_everything_that_telegraf_reads_is_in_the_message(topic: str, selection: str, path: str) -> None:
    assert below(SCHEMAS[topic], f"{selection}/{path}") is not None


def test_a_path_that_is_in_no_message_would_be_found() -> None:
    schema = SCHEMAS["veil/+/health"]
    assert below(schema, "/cameras/*/fps_in") is not None
    for wrong in ("/cameras/*/fps", "/camera/*", "/box/temperature", "/box/bundle/nothing"):
        assert below(schema, wrong) is None


def test_every_number_of_a_box_and_of_a_camera_is_read() -> None:
    read = {f"{selection}/{path}".rstrip("/") for topic, selection, path in paths() if "health" in topic}
    schema = SCHEMAS["veil/+/health"]
    for place in ("/box", "/cameras/*"):
        part = below(schema, place)
        assert part is not None
        for name in part["properties"]:
            kind = below(schema, f"{place}/{name}")
            if kind is not None and kind.get("type") in {"number", "integer", "boolean"}:
                assert f"{place}/{name}" in read, name


def test_what_may_be_missing_is_selected_and_not_taken_for_zero() -> None:
    for topic, selection, path in paths():
        part = below(SCHEMAS[topic], selection)
        if part is None or "health" not in topic or path in {"", ".."}:
            continue
        assert path in part["required"], f"{selection}/{path} may be missing"


def test_values_that_telegraf_compares_with_are_values_that_boxes_say() -> None:
    known = {"condition": {one.value for one in CameraCondition}, "connected": {"true", "false"}}
    known |= {"clock_synchronised": {"true", "false"}, "state": {"online", "offline"}}
    known |= {"reason": {"lost", "stopped"}, "picture": {"ok", "frozen", "black", "covered"}}
    compared = 0
    for one in INPUTS:
        for section in one["xpath"]:
            for query in section["fields"].values():
                for name, value in re.findall(r"(\w+) = '([^']*)'", query):
                    assert value in known[name], query
                    compared += 1
    assert compared >= 7


def test_telegraf_knows_a_box_by_the_topic_that_the_broker_vouches_for() -> None:
    for one in INPUTS:
        (topic,) = one["topics"]
        assert topic in {filter_of(Kind.HEALTH), filter_of(Kind.STATUS)}
        assert one["topic_parsing"] == [{"topic": topic, "tags": "_/device/_"}]
        assert all("device" not in section.get("tags", {}) for section in one["xpath"])
        assert one["tls_cert"].endswith(f"{DASHBOARD}.pem")
        assert one["tls_key"].endswith(f"{DASHBOARD}.key")
        assert one["servers"][0].startswith("ssl://")
        assert not one.get("insecure_skip_verify", False)
    assert len({one["client_id"] for one in INPUTS}) == len(INPUTS)


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_every_query_asks_for_what_telegraf_makes(query: str) -> None:
    made = metrics()
    asked = set(re.findall(r"veil_\w+", query))
    assert asked
    assert asked <= set(made), asked - set(made)
    labels = {word for group in re.findall(r"(?:by|on) \(([^)]*)\)", query) for word in group.split(", ")}
    labels |= set(re.findall(r"(\w+)=~", query))
    for metric in asked:
        assert labels <= made[metric] | {"site"}, (query, made[metric])


def test_variables_and_legends_use_labels_that_there_are() -> None:
    made = metrics()
    every = set().union(*made.values())
    for variable in BOARD["templating"]["list"]:
        for metric, label in re.findall(
            r"label_values\((\w+)(?:\{.*?\})?, (\w+)\)", variable.get("definition", "")
        ):
            assert label in made[metric]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= every


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert {"title", "uid", "panels", "templating", "time", "schemaVersion", "annotations"} <= BOARD.keys()
    assert BOARD["schemaVersion"] >= 36
    assert BOARD["id"] is None
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        assert panel["type"] in {"row", "stat", "timeseries", "table", "state-timeline"}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


@pytest.mark.parametrize(
    "wanted",
    [
        "fps_in",
        "fps_out",
        "latency_p99_ms",
        "dropped_frames",
        "whole_frames",
        "detector_p99_ms",
        "temperature_c",
        "disk_free_mib",
        "queue_events",
        "status_online",
    ],
)
def test_the_dashboard_shows(wanted: str) -> None:
    shown = " ".join(target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ()))
    assert wanted in shown


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = [
        {"record": f"veil:{number}", "expr": query.replace("$device", ".*").replace("$camera", ".*")}
        for number, query in enumerate(queries())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "veil", "rules": rules}]}))
    for file in (path, FOLDER / "alerts.yml"):
        done = subprocess.run(
            [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_broker_gives_telegraf_what_it_subscribes_to(broker: Broker) -> None:
    with (
        Client(broker, broker.credentials(DASHBOARD), client_id="telegraf") as telegraf,
        Client(broker, broker.credentials("seen-1")) as box,
    ):
        for one in INPUTS:
            telegraf.subscribe(one["topics"][0])
        for kind in ("health", "status"):
            box.publish(f"veil/seen-1/{kind}")
            telegraf.wait_for(f"veil/seen-1/{kind}")
