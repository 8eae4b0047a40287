"""`make bench`: speed and memory, side by side in one run; ratios, medians and the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import tomllib
from pathlib import Path

from clips import DELIMITER, RATE, cut, make_clips
from files import Timing, contenders, measure
from live import LiveResult, run_live
from rich.console import Console
from rich.table import Table
from stages import stage_table

_SHORT = 60
_DEFACE = Path(__file__).resolve().parents[1] / ".venv-bench" / "bin" / "deface"


def main() -> None:
    """Parses arguments and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of each command")
    parser.add_argument("--live", type=float, default=60, help="seconds of two live cameras; 0: none")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--profile", type=Path, help="edge-configs/*.toml for the live cameras")
    parser.add_argument("--no-files", action="store_true", help="leave file to file out")
    arguments = parser.parse_args()
    console = Console(width=110)
    console.print(f"machine: {machine()}")
    with tempfile.TemporaryDirectory(prefix="veil-bench-") as name:
        folder = Path(name)
        movie, stream, origin = make_clips(folder)
        frames = stream.read_bytes().count(DELIMITER)
        console.print(f"clip: 1920x1080, {RATE} fps, {frames} frames, from {origin}")
        if not arguments.no_files:
            short = cut(movie, _SHORT)
            listed = contenders(movie, short, (frames, _SHORT), folder, _DEFACE)
            print_files(console, measure(listed, arguments.rounds))
        console.print(stage_table(movie))
        if arguments.live:
            if arguments.profile:
                use_profile(arguments.profile)
            print_live(
                console, run_live(stream, rate=RATE, cameras=arguments.cameras, seconds=arguments.live)
            )


def use_profile(path: Path) -> None:
    """Sets the profile's defaults of cameras in the environment, which the cameras' processes inherit."""
    for section, keys in tomllib.loads(path.read_text()).items():
        if section in {"capture", "detector", "tracker", "mask", "encoder", "recorder", "preview"}:
            for key, value in keys.items():
                text = value if isinstance(value, str) else json.dumps(value)
                os.environ[f"VEIL_{section.upper()}__{key.upper()}"] = text


def machine() -> str:
    """Processor, cores, memory, load."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"


def print_files(console: Console, timings: list[Timing]) -> None:
    table = Table(title="file to file (medians of whole processes)")
    for heading in ("", "frames/s", "CPU ms/frame", "veil is"):
        table.add_column(heading, justify="left" if not heading else "right")
    veil = next(timing for timing in timings if timing.name.startswith("veil"))
    for timing in timings:
        ratio = veil.frames_per_s / timing.frames_per_s
        table.add_row(
            timing.name, f"{timing.frames_per_s:.1f}", f"{timing.cpu_ms_per_frame:.1f}", f"{ratio:.2f} times"
        )
    console.print(table)


def print_live(console: Console, results: list[LiveResult]) -> None:
    table = Table(title="live, two cameras and a client each")
    for heading in (
        "camera",
        "in",
        "out",
        "dropped",
        "whole",
        "slates",
        "fps",
        "p50 ms",
        "p99 ms",
        "detect ms",
        "peak RSS MiB",
        "first s",
    ):
        table.add_column(heading, justify="right")
    for one in results:
        table.add_row(
            one.camera,
            str(one.frames_in),
            str(one.frames_out),
            str(sum(one.dropped.values())),
            str(one.whole),
            str(one.slates),
            f"{one.fps_out:.1f}",
            f"{one.latency_p50_ms:.0f}",
            f"{one.latency_p99_ms:.0f}",
            f"{one.detect_p50_ms:.1f}",
            f"{one.resident_mib:.0f}",
            f"{one.first_frame_s:.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
