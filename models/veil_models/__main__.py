"""`python -m veil_models`: from a data folder to a released bundle, step by step."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

from veil_models.work import Work


def _pack(a: argparse.Namespace) -> None:
    work = Work(a.data, a.work)
    for part in ("train", "val"):
        print(f"{part}: {len(work.pack(part, a.workers)[0])} pictures")


def _label(a: argparse.Namespace) -> None:
    from veil_models.label import label

    work = Work(a.data, a.work)
    pictures, pack = work.pack("train")
    label(pictures, pack, a.work / "answers", a.yunet, part=a.part, parts=a.parts)


def _fuse(a: argparse.Namespace) -> None:
    from veil_models.fuse import Fusion, load_answers, relabel_all
    from veil_models.readers.coco_out import write_coco

    work = Work(a.data, a.work)
    pictures = relabel_all(work.pictures("train"), load_answers(a.work / "answers"), Fusion())
    write_coco(pictures, work.fused, a.data)


def _mine(a: argparse.Namespace) -> None:
    from veil_models.fuse import Fusion
    from veil_models.mine import mine
    from veil_models.readers.coco_out import write_coco

    work = Work(a.data, a.work)
    write_coco(mine(work, a.bundle, Fusion() if a.faces else None), work.mined, a.data)


def _alarms(a: argparse.Namespace) -> None:
    from veil_models.alarms import find_alarms, save

    work = Work(a.data, a.work)
    found = find_alarms(work, a.bundle)
    save(found, work.training()[0], work)
    print(f"{len(found.picture)} places where {a.bundle} sees what is not there")


def _train(a: argparse.Namespace) -> None:
    from veil_models.alarms import load
    from veil_models.sampler import Recipe
    from veil_models.train import Plan, train

    work = Work(a.data, a.work)
    pictures, pack = work.training()
    alarms = load(pictures, work) if work.alarms.exists() else None
    folder = a.work / "run"
    for name in a.spec:
        start = None if a.start is None else a.start / f"{name}.pt"
        if start is not None and start.exists() and not (folder / start.name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(start, folder / start.name)
    plan = Plan(
        tuple(a.spec),
        steps=a.steps,
        first=a.first,
        rate=a.rate,
        average=a.average,
        threads=a.threads,
        workers=a.workers,
    )
    recipe = Recipe(size=a.size, batch=a.batch, mosaic=a.mosaic, alarms=a.alarms, seed=a.seed)
    train(pictures, pack, folder, plan, recipe, alarms)


def _release(a: argparse.Namespace) -> None:
    from veil_models.checkpoint import load_folded
    from veil_models.detect import OnnxDetector, letterbox
    from veil_models.quantize import calibrate, corrected
    from veil_models.release import SIZES, THRESHOLDS, Release, write_golden, write_manifest, write_models

    spec, nodes, weights = load_folded(a.checkpoint)
    pictures, pack = Work(a.data, a.work).training()
    chosen = range(0, len(pictures), max(1, len(pictures) // a.calibration))
    size = (a.size[0], a.size[1]) if a.size else SIZES[spec]
    found = calibrate(nodes, weights, (letterbox(pack.picture(i), max(size))[0] for i in chosen))
    release = Release(spec, a.version, size, THRESHOLDS[spec])
    if a.corrected:
        weights = corrected(nodes, weights, found.means)
    write_models(a.bundle, nodes, weights, found.ranges, release.size)
    hits, drawn = write_golden(a.bundle, OnnxDetector(spec, a.bundle / "model.onnx"), release)
    write_manifest(a.bundle, release)
    print(f"{a.bundle}: {hits} of {drawn} golden objects found")


def _eval(a: argparse.Namespace) -> None:
    from veil_models.compare import compare

    compare(Work(a.data, a.work), a.bundle, a.checkpoint, a.yunet, a.out, a.longest)


def _manifest(a: argparse.Namespace) -> None:
    from veil_models.release import rehash

    rehash(a.bundle)


def _card(a: argparse.Namespace) -> None:
    from veil_models.card import write_card

    write_card(a.bundle, a.figures, a.limits, a.longest)


def _speed(a: argparse.Namespace) -> None:
    from veil_models.speed import speed

    for size, times in speed(a.bundles, a.checkpoints, a.yunet).items():
        print(size, "  ".join(f"{name} {value:.2f} ms" for name, value in times.items()))


def _shrink(a: argparse.Namespace) -> None:
    from veil_models.checkpoint import shrink

    shrink(a.checkpoint, a.out)


def _mix(a: argparse.Namespace) -> None:
    from veil_models.checkpoint import mix

    mix(a.checkpoints, a.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="veil_models", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(run=run)
        return sub

    def with_data(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("--data", type=Path, required=True, help="train.json.gz, val.json.gz, images/")
        sub.add_argument("--work", type=Path, required=True, help="packs, answers, labels, runs")
        return sub

    sub = with_data(command("pack", _pack, "decode all pictures once"))
    sub.add_argument("--workers", type=int, default=2)
    sub = with_data(
        command("label", _label, "ask the teachers; may be stopped and started, and run in parts")
    )
    sub.add_argument("--yunet", type=Path, required=True)
    sub.add_argument("--part", type=int, default=0)
    sub.add_argument("--parts", type=int, default=1)
    with_data(command("fuse", _fuse, "answers to soft labels"))
    sub = with_data(command("mine", _mine, "our own net's answers where nobody labelled"))
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument(
        "--faces", action="store_true", help="faces too, instead of label and fuse: to go on with training"
    )
    sub = with_data(command("alarms", _alarms, "where our own net sees what is not there"))
    sub.add_argument("--bundle", type=Path, required=True)
    sub = with_data(command("train", _train, "train, or go on"))
    sub.add_argument("--spec", nargs="+", default=["veil-s", "veil-n"], help="the first one's steps count")
    sub.add_argument("--steps", type=int, default=80_000)
    sub.add_argument("--first", type=int, default=0, help="step at which the cosine begins")
    sub.add_argument("--rate", type=float, default=2e-3, help="the cosine's top")
    sub.add_argument("--average", type=float, default=0.9995, help="what is kept of the average each step")
    sub.add_argument("--threads", type=int, default=2)
    sub.add_argument("--workers", type=int, default=1)
    sub.add_argument("--size", type=int, default=320)
    sub.add_argument("--batch", type=int, default=16)
    sub.add_argument("--mosaic", type=float, default=0.45)
    sub.add_argument("--alarms", type=float, default=0.25, help="share of crops around what `alarms` found")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument(
        "--start", type=Path, help="folder with checkpoints to go on from where the run has none"
    )
    sub = with_data(command("release", _release, "quantize a checkpoint into a bundle"))
    sub.add_argument("--checkpoint", type=Path, required=True)
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument("--version", required=True)
    sub.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    sub.add_argument("--calibration", type=int, default=160, help="pictures")
    sub.add_argument(
        "--corrected", action="store_true", help="biases take back what rounding adds on average"
    )
    sub = with_data(command("eval", _eval, "all figures, side by side with the teachers"))
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument("--checkpoint", type=Path)
    sub.add_argument("--yunet", type=Path)
    sub.add_argument("--out", type=Path, required=True)
    sub.add_argument("--longest", type=int, default=640)
    sub = command("card", _card, "write a bundle's card from the figures of eval")
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument("--figures", type=Path, required=True)
    sub.add_argument("--limits", type=Path, required=True, help="text: known limits")
    sub.add_argument("--longest", type=int, default=640)
    sub = command("speed", _speed, "milliseconds on one thread, beside YuNet-n")
    sub.add_argument("--bundles", type=Path, required=True)
    sub.add_argument("--checkpoints", type=Path, help="folder; float nets are timed too")
    sub.add_argument("--yunet", type=Path)
    sub = command("manifest", _manifest, "write the hashes of a bundle's files anew")
    sub.add_argument("--bundle", type=Path, required=True)
    sub = command("shrink", _shrink, "a checkpoint small enough to commit")
    sub.add_argument("--checkpoint", type=Path, required=True)
    sub.add_argument("--out", type=Path, required=True)
    sub = command("mix", _mix, "the mean of checkpoints of one run")
    sub.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    sub.add_argument("--out", type=Path, required=True)
    return parser


def main() -> None:
    """Parse and run one command."""
    arguments = _parser().parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
