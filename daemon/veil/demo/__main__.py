"""`make demo`: a camera, its anonymized stream, a page and recordings."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from veil.cli import run_command
from veil.config import Config
from veil.config_load import load_config
from veil.demo.clip import RATE, write_clip
from veil.places import CameraPlaces
from veil.supervise import Service, Supervision
from veil.up import addresses, asked_to_end, gi_service, preview_page, services

_NAME = "demo"
_CONFIG = Path(__file__).resolve().parents[3] / "edge-configs" / "demo.toml"


def main(
    source: Annotated[str, typer.Option(help="rtsp://… or /dev/video0 in place of the made clip.")] = "",
    duration: Annotated[float, typer.Option(help="Seconds; 0 runs until Ctrl-C.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder for recordings and the log.")] = Path("demo-out"),
) -> None:
    """Runs the demo and prints a summary; exit code 1 when no anonymized frame came out."""
    out = out.resolve()
    ended = asked_to_end()
    with ExitStack() as scope:
        runtime = Path(scope.enter_context(tempfile.TemporaryDirectory(prefix="veil-demo-")))
        children = []
        if not source:
            source, camera = _made_camera(runtime)
            children.append(camera)
        config = _config(source, out, runtime)
        before = _recordings(config)
        if config.page.port:
            scope.enter_context(preview_page(config))
        with Supervision([*children, *services(config)]) as supervision:
            print("Veil demo, anonymizing", config.cameras[_NAME].source, flush=True)
            for line in addresses(config):
                print(" ", line, flush=True)
            print(f"  ends in {duration:g} s" if duration else "  Ctrl-C ends it", flush=True)
            deadline = time.monotonic() + duration if duration else float("inf")
            supervision.run(lambda: ended.is_set() or time.monotonic() >= deadline)
        counts = _counts(config)
        written = sorted(set(_recordings(config)) - set(before))
    raise typer.Exit(_summary(counts, written))


def _made_camera(runtime: Path) -> tuple[str, Service]:
    """The made clip as an RTSP camera, and its address."""
    print("making the demo clip …", flush=True)
    clip = runtime / "clip.h264"
    write_clip(clip)
    port = _free_port(8555)
    arguments = ["-m", "veil.demo.serve", str(clip), str(RATE), str(port)]
    return f"rtsp://127.0.0.1:{port}/camera", gi_service("made camera", arguments, notifies=False)


def _config(source: str, out: Path, runtime: Path) -> Config:
    """edge-configs/demo.toml with what is different here, given by environment to the processes as well."""
    os.environ |= {
        "VEIL_CAMERA__DEMO__SOURCE": source,
        "VEIL_BOX__STATE_DIR": str(out / "state"),
        "VEIL_BOX__RUNTIME_DIR": str(runtime),
        "VEIL_RECORDER__DIRECTORY": str(out / "recordings"),
        "VEIL_RTSP__PORT": str(_free_port(8554)),
        "VEIL_PAGE__PORT": str(_free_port(8080)),
    }
    return load_config(_CONFIG, os.environ)


def _free_port(wished: int) -> int:
    """The wished port where it is free on loopback, else any."""
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port is free on 127.0.0.1")


def _recordings(config: Config) -> Sequence[Path]:
    return list(config.recordings(_NAME).glob("*.mp4"))


def _counts(config: Config) -> dict[str, Any]:
    """The camera's last state; empty where it never ran."""
    try:
        counts = json.loads(CameraPlaces.of(config, _NAME).state.read_text())
    except (OSError, ValueError):
        return {}
    return dict(counts)


def _summary(counts: dict[str, Any], written: Sequence[Path]) -> int:
    if not counts.get("frames_out"):
        print("No anonymized frame came out; `veil doctor` says what is wrong.")
        return 1
    dropped = sum(counts["dropped"].values())
    print(
        f"frames: {counts['frames_in']} in, {counts['frames_out']} out, {dropped} dropped, "
        f"{counts['whole']} hidden as a whole, {counts['slates']} slates"
    )
    latency_ms = counts["latency_p99_ns"] / 1e6
    print(f"masks: {counts['masks']}; latency beyond the look-back: {latency_ms:.0f} ms p99")
    print(f"files: {len(written)} recordings, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
    for path in written:
        print(f"  {path}")
    return 0


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_command(app)
