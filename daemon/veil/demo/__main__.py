"""`make demo`: a camera, its anonymized stream, recordings, evidence, and a fleet manager that sees it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from veil.command_line import run_command
from veil.config import Config, redact
from veil.config_load import load_config
from veil.demo.clip import RATE, write_clip
from veil.demo.fleet import DemoFleet, FleetSetup
from veil.demo.ports import answers, free_port
from veil.demo.summary import Evidence, all_cosigned, counts_of, tell
from veil.stages import Stages
from veil.supervise import Service
from veil.up import AGENT, addresses, agent_service, asked_to_end, gi_service, preview_page, services

_NAME = "demo"
_CONFIG = Path(__file__).resolve().parents[3] / "edge-configs" / "demo.toml"
_PAGE_S = 15.0
_RECEIPTS_S = 10.0
"""At the end: so long the box waits for the fleet manager's receipt of its last lines at most."""


def main(
    source: Annotated[str, typer.Option(help="rtsp://… or /dev/video0 in place of the made clip.")] = "",
    duration: Annotated[float, typer.Option(help="Seconds; 0 runs until Ctrl-C.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder for recordings, the log and the fleet.")] = Path(
        "demo-out"
    ),
) -> None:
    """Runs the demo and prints a summary; exit code 1 when no anonymized frame came out."""
    out = out.resolve()
    ended = asked_to_end()
    with ExitStack() as scope:
        runtime = Path(scope.enter_context(tempfile.TemporaryDirectory(prefix="veil-demo-")))
        setup = scope.enter_context(FleetSetup(out / "fleet", _NAME))
        clip = None if source else _begin_clip(runtime / "clip.h264", scope)
        stages = scope.enter_context(Stages())
        fleet = _started(setup, stages)
        cameras = []
        if clip is not None:
            source, camera = _made_camera(clip.result())
            cameras.append(camera)
        config = _config(source, out, runtime, fleet)
        before = _recordings(config)
        if config.page.port:
            scope.enter_context(preview_page(config))
        stages.start([agent_service(config)])
        stages.start([*cameras, *(one for one in services(config) if one.name != AGENT)])
        _tell_where(config, fleet, duration)
        if fleet is not None:
            stages.run_for(_PAGE_S, lambda: ended.is_set() or answers(fleet.page_port))
            for line in fleet.lines:
                print(" ", line, flush=True)
        deadline = time.monotonic() + duration if duration else float("inf")
        stages.run(lambda: ended.is_set() or time.monotonic() >= deadline)
        stages.end_last()
        if fleet is not None:
            stages.run_for(_RECEIPTS_S, lambda: all_cosigned(config))
        stages.end_last()
        evidence = Evidence.of(config)
        counts = counts_of(config, _NAME)
        written = sorted(set(_recordings(config)) - set(before))
    raise typer.Exit(tell(counts, written, evidence))


def _begin_clip(path: Path, scope: ExitStack) -> Future[Path]:
    """The made clip, while the fleet is set up."""
    print("making the demo clip …", flush=True)
    pool = scope.enter_context(ThreadPoolExecutor(1, thread_name_prefix="clip"))

    def make() -> Path:
        write_clip(path)
        return path

    return pool.submit(make)


def _made_camera(clip: Path) -> tuple[str, Service]:
    """The made clip as an RTSP camera, and its address."""
    port = free_port(8555)
    arguments = ["-m", "veil.demo.serve", str(clip), str(RATE), str(port)]
    return f"rtsp://127.0.0.1:{port}/camera", gi_service("made camera", arguments, notifies=False)


def _started(setup: FleetSetup, stages: Stages) -> DemoFleet | None:
    """The fleet's side, running; None where it cannot: the box goes on without."""
    made = setup.finish()
    if isinstance(made, str):
        print(f"without a fleet manager: {made}", flush=True)
        return None
    stages.start(made.services)
    return made


def _config(source: str, out: Path, runtime: Path, fleet: DemoFleet | None) -> Config:
    """edge-configs/demo.toml with what is different here, given by environment to the processes as well."""
    os.environ |= {
        "VEIL_CAMERA__DEMO__SOURCE": source,
        "VEIL_BOX__STATE_DIR": str(out / "state"),
        "VEIL_BOX__RUNTIME_DIR": str(runtime),
        "VEIL_RECORDER__DIRECTORY": str(out / "recordings"),
        "VEIL_RTSP__PORT": str(free_port(8554)),
        "VEIL_PAGE__PORT": str(free_port(8080)),
        **(fleet.environ if fleet is not None else {}),
    }
    return load_config(_CONFIG, os.environ)


def _tell_where(config: Config, fleet: DemoFleet | None, duration: float) -> None:
    print("Veil demo, anonymizing", redact(config.cameras[_NAME].source), flush=True)
    for line in addresses(config):
        print(" ", line, flush=True)
    print(f"  evidence: {config.box.state_dir / 'log'}", flush=True)
    print(f"  ends in {duration:g} s" if duration else "  Ctrl-C ends it", flush=True)
    if fleet is not None:
        print("  the fleet manager starts …", flush=True)


def _recordings(config: Config) -> Sequence[Path]:
    return list(config.recordings(_NAME).glob("*.mp4"))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_command(app)
