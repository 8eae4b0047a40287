"""The `veil` command. Every error is one clear message and the exit code that docs/errors.md lists."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veil import __version__
from veil.cli_log import app as log_app
from veil.command_line import DEFAULT_PATH, config_path, require_input, run_command
from veil.errors import UsageError

if TYPE_CHECKING:
    from veil.config import CameraConfig, Config

app = typer.Typer(
    name="veil",
    help="Hides faces and licence plates in a camera's picture before a frame is stored or sent on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(log_app)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"Configuration file; without it {DEFAULT_PATH} where it exists."),
]


def _config(path: Path | None) -> Config:
    from veil.config_load import load_config

    config = load_config(config_path(path), os.environ)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return config


def _camera(config: Config, name: str) -> CameraConfig:
    if name not in config.cameras:
        known = ", ".join(config.cameras) or "none"
        raise UsageError(f"There is no camera {name!r} in the configuration.", hint=f"Known: {known}.")
    return config.cameras[name]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        print(f"veil {__version__}")
        raise typer.Exit


@app.command()
def up(config: ConfigOption = None) -> None:
    """Run all cameras, the RTSP server and the page in the foreground, until Ctrl-C."""
    from veil.up import run_all

    run_all(_config(config))


@app.command()
def camera(
    name: Annotated[str, typer.Argument(help="NAME of [camera.NAME].")], config: ConfigOption = None
) -> None:
    """Run one camera in this process (veil-camera@NAME.service)."""
    from veil.host.memory import load_without_search

    load_without_search()
    from veil.camera import run_camera
    from veil.host.lifeline import die_with_parent
    from veil.host.turns import take_short_turns

    die_with_parent()
    take_short_turns()
    loaded = _config(config)
    run_camera(loaded, _camera(loaded, name))
    # All is written and closed. A thread that still waits for the camera inside the codec library would have
    # the interpreter torn down under it (a crash in 3 of 30 ends).
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@app.command()
def agent(config: ConfigOption = None) -> None:
    """Sign the logs, report to the fleet manager and take its commands (veil-agent.service)."""
    import logging

    from veil.agent.service import run_agent
    from veil.host.lifeline import die_with_parent
    from veil.host.secrecy import forbid_memory_dumps
    from veil.up import asked_to_end

    die_with_parent()
    forbid_memory_dumps()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="agent: %(message)s")
    run_agent(_config(config), asked_to_end().is_set)


@app.command()
def anonymize(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Video, picture or folder.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="File or folder to write.")],
    config: ConfigOption = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Append what was done to this log (JSON lines).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave what --evidence says is done, and do the rest.")
    ] = False,
    camera: Annotated[
        str | None, typer.Option(metavar="NAME", help="With the zones and settings of [camera.NAME].")
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Bundle in place of the configured one.")] = None,
) -> None:
    """Write anonymized copies of files. An output has its name only once it is complete."""
    require_input(source)
    from veil.host.memory import load_without_search

    load_without_search()
    from veil.cli_anonymize import anonymize_files
    from veil.host.secrecy import forbid_memory_dumps
    from veil.jobs import plan

    forbid_memory_dumps()
    planned = plan(source, output, overwrite=force, resume=resume, evidence=evidence)
    loaded = _config(config)
    settings = loaded.camera_for("file", "file") if camera is None else _camera(loaded, camera)
    if bundle is not None:
        detector_config = settings.detector.model_copy(update={"bundle": bundle})
        settings = settings.model_copy(update={"detector": detector_config})
    raise typer.Exit(anonymize_files(planned, settings, evidence))


@app.command()
def detect(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    min_score: Annotated[float, typer.Option(help="Least score to write.", min=0, max=1)] = 0.01,
    size: Annotated[
        str | None,
        typer.Option(help="Letterbox WIDTHxHEIGHT; 640x640, or what the model takes.", show_default=False),
    ] = None,
    tiles: Annotated[int, typer.Option(help="Tiles at native scale besides, a picture at most.", min=0)] = 0,
    bundle: Annotated[str, typer.Option(help="Name or path of the bundle.")] = "veil-s",
    runtime: Annotated[str, typer.Option(help="onnx or tflite.")] = "onnx",
    threads: Annotated[int, typer.Option(help="Threads.", min=1, max=16)] = 1,
) -> None:
    """List what the detector finds in pictures, without margins or tracking."""
    letterbox = None if size is None else _size(size)
    if runtime not in {"onnx", "tflite"}:
        raise UsageError(f"{runtime!r} is no runtime.", hint="Use onnx or tflite.")
    require_input(folder)
    from veil.cli_detect import detect_folder

    summary = detect_folder(
        folder,
        out,
        bundle=bundle,
        size=letterbox,
        tiles=tiles,
        min_score=min_score,
        runtime="tflite" if runtime == "tflite" else "onnx",
        threads=threads,
    )
    print(
        f"{out}: {summary.detections} detections in {summary.pictures} pictures by {summary.identity} "
        f"({summary.runtime}), {summary.seconds:.1f} s"
    )
    raise typer.Exit(summary.exit_code)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise UsageError(f"{text!r} is no size.", hint="Write WIDTHxHEIGHT, such as 640x384.") from None
    return width, height


@app.command()
def doctor(config: ConfigOption = None) -> None:
    """Check this machine and its configuration; say for each finding what to do."""
    from rich.console import Console

    from veil.doctor import is_well, render, run_checks

    findings = run_checks(config_path(config))
    render(findings, Console())
    raise typer.Exit(0 if is_well(findings) else 1)


def main() -> None:
    run_command(app)


if __name__ == "__main__":
    main()
