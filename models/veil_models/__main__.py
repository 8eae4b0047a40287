"""`python -m veil_models`: from a data folder to a released bundle, step by step."""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from veil_models import made
from veil_models.convert import Format
from veil_models.dataset import CLASSES
from veil_models.errors import ModelsError
from veil_models.work import Work

STOPPED = 143
"""Exit code of a training that SIGTERM ended before its last step, as in shells: `make` goes no further."""


def _convert(a: argparse.Namespace) -> None:
    from veil_models import convert
    from veil_models.counts import summary

    labelled = None if a.labelled is None else frozenset(a.labelled)
    names = None if a.names is None else convert.parse_names(a.names)
    foreign = convert.Foreign(a.format, a.images, a.annotations, names, labelled, a.source)
    for path in convert.targets(a.out, a.val):
        if path.exists() and not a.add:
            raise ModelsError(f"{path} exists: --add keeps what it holds, or name another --out.")
    parts = convert.joined(convert.divided(convert.read(foreign), a.out, a.val))
    convert.write(parts)
    for path, pictures in parts.items():
        print("\n".join([f"{path}: {len(pictures)} pictures", *summary(pictures)]))


def _pack(a: argparse.Namespace) -> None:
    from veil_models.counts import summary

    work = Work(a.data, a.work)
    pictures, _ = work.pack("train", a.workers)
    if not pictures:
        raise ModelsError(f"{a.data / 'train.json.gz'}: names no picture to train on.")
    print("\n".join([f"train: {len(pictures)} pictures", *summary(pictures)]))
    if not (a.data / "val.json.gz").exists():
        print("val: there is no val.json.gz, which eval needs (docs/models.md, Your own pictures)")
        return
    pictures, _ = work.pack("val", a.workers)
    print("\n".join([f"val: {len(pictures)} pictures", *summary(pictures)]))
    if not any(p.labelled for p in pictures):
        print("val: no class is `labelled` in its pictures: eval measures nothing there")


def _label(a: argparse.Namespace) -> None:
    from veil_models.label import label
    from veil_models.teachers import CenterFace, Teacher, YuNet

    _require_teacher(a.yunet)
    work = Work(a.data, a.work)
    pictures, pack = work.pack("train")
    teachers: dict[str, Teacher] = {"yunet": YuNet(a.yunet), "centerface": CenterFace()}
    label(pictures, pack, work.data, work.answers, teachers, part=a.part, parts=a.parts)


def _require_teacher(yunet: Path) -> None:
    if not yunet.is_file():
        raise ModelsError(
            f"{yunet} is not there: give --yunet (make: TEACHERS=folder), or do without teachers "
            "(mine --faces in place of label and fuse; make: MODELS_LABELS=own)."
        )


def _fuse(a: argparse.Namespace) -> None:
    from veil_models.fuse import Fusion, load_answers, relabel_all

    work = Work(a.data, a.work)
    pictures = work.pictures("train")
    answers = load_answers(work.answers, pictures, work.data)
    work.write_labels(relabel_all(pictures, answers, Fusion()), work.fused, {"data": work.digest(pictures)})
    print(f"{work.fused}: teachers were asked about {len(answers)} of {len(pictures)} pictures")


def _mine(a: argparse.Namespace) -> None:
    from veil_models.fuse import Fusion
    from veil_models.mine import made_from, mine

    work = Work(a.data, a.work)
    faces = Fusion() if a.faces else None
    now = made_from(work, a.bundle, faces)
    if made.made_from(work.mined) == now:
        print(f"{work.mined}: pictures, labels and net are the same, it stays")
        return
    work.write_labels(mine(work, a.bundle, faces), work.mined, now)


def _alarms(a: argparse.Namespace) -> None:
    from veil_models.alarms import find_alarms, made_from, save

    work = Work(a.data, a.work)
    pictures, _ = work.training()
    now = made_from(pictures, work, a.bundle)
    if made.made_from(work.alarms) == now:
        print(f"{work.alarms}: pictures, labels and net are the same, it stays")
        return
    found = find_alarms(work, a.bundle)
    save(found, pictures, work, now)
    print(f"{len(found.picture)} places where {a.bundle} sees what is not there")


def _train(a: argparse.Namespace) -> None:
    from veil_models.alarms import load
    from veil_models.sampler import Recipe
    from veil_models.train import Plan, train

    work = Work(a.data, a.work)
    pictures, pack = work.training()
    alarms = load(pictures, work) if work.alarms.exists() else None
    folder = a.work / "run"
    if a.start is not None:
        _begin_from(a.start, folder, a.spec, a.steps)
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
    step = train(pictures, pack, folder, plan, recipe, alarms, work.digest(pictures))
    if step < plan.steps:
        print(f"stopped and saved after {step} of {plan.steps} steps; the same call goes on", flush=True)
        raise SystemExit(STOPPED)


def _begin_from(start: Path, folder: Path, specs: Sequence[str], steps: int) -> None:
    """Copies those checkpoints of `start` that the run has none of. The first one's steps count: with as many
    as `steps` nothing would be trained."""
    from veil_models.checkpoint import steps_of

    for number, name in enumerate(specs):
        source, target = start / f"{name}.pt", folder / f"{name}.pt"
        if target.exists() or not source.exists():
            continue
        if number == 0 and steps_of(source) >= steps:
            raise ModelsError(
                f"{source} has made {steps_of(source)} steps already, which count: "
                "--steps (make: MODELS_STEPS) must be more."
            )
        made.whole(target, functools.partial(shutil.copy, source))


def _release(a: argparse.Namespace) -> None:
    from veil_models.card import keep_or_begin
    from veil_models.checkpoint import load_folded
    from veil_models.detect import OnnxDetector, letterbox
    from veil_models.quantize import calibrate, corrected, spread
    from veil_models.release import (
        SIZES,
        THRESHOLDS,
        Release,
        appearing,
        stated_license,
        write_golden,
        write_manifest,
        write_models,
    )
    from veil_models.tried import require_valid, try_bundle

    spec, nodes, weights = load_folded(a.checkpoint)
    size = (a.size[0], a.size[1]) if a.size else SIZES[spec]
    name = a.name or a.bundle.resolve().name
    terms = a.license or stated_license(a.bundle, name)
    release = Release(name, a.version, size, THRESHOLDS[spec], terms)
    require_valid(release)
    pictures, pack = Work(a.data, a.work).training()
    chosen = spread(pictures, a.calibration)
    found = calibrate(nodes, weights, (letterbox(pack.picture(i), max(size))[0] for i in chosen))
    if a.corrected:
        weights = corrected(nodes, weights, found.means)
    with appearing(a.bundle) as folder:
        model = folder / "model.onnx"
        before = model.read_bytes() if model.exists() else b""
        write_models(folder, nodes, weights, found.ranges, release.size)
        hits, drawn = write_golden(folder, OnnxDetector(spec, model), release)
        if hits < a.floor * drawn:
            raise ModelsError(
                f"the net finds {hits} of {drawn} objects in the golden pictures, a share below {a.floor}: "
                f"train it longer, or lower --floor. {a.bundle} is as it was."
            )
        keep_or_begin(folder, release, pictures, before=before)
        write_manifest(folder, release)
        try_bundle(folder, release)
    print(f"{a.bundle}: {name} {a.version}, {hits} of {drawn} golden objects found")


def _eval(a: argparse.Namespace) -> None:
    from veil_models.compare import compare

    if a.yunet is not None:
        _require_teacher(a.yunet)
    compare(Work(a.data, a.work), a.bundle, a.checkpoint, a.yunet, a.out, a.longest)


def _manifest(a: argparse.Namespace) -> None:
    from veil_models.release import rehash

    rehash(a.bundle)


def _card(a: argparse.Namespace) -> None:
    from veil_models.card import write_card

    pictures = None if a.data is None else Work(a.data, a.data).pictures("train")
    write_card(a.bundle, a.figures, a.limits, a.longest, pictures)


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

    sub = command("convert", _convert, "annotations of other formats into a data folder")
    sub.add_argument("--format", type=Format, choices=list(Format), required=True)
    sub.add_argument(
        "--images", type=Path, help="folder of the pictures (coco: default beside the annotations)"
    )
    sub.add_argument("--annotations", type=Path, help="coco, wider: the file; voc, yolo: the folder")
    sub.add_argument("--names", nargs="+", metavar="THEIRS=OURS", help="OURS: face, plate, head, none")
    sub.add_argument(
        "--labelled", nargs="*", choices=CLASSES, metavar="CLASS", help="of these every instance is marked"
    )
    sub.add_argument(
        "--source", help="what the set is called in figures; default: the format's name, or what coco says"
    )
    sub.add_argument("--out", type=Path, required=True, help="DATA/train.json.gz or DATA/val.json.gz")
    sub.add_argument(
        "--val", type=float, default=0.0, help="share of it for val.json.gz beside --out, as 0.1"
    )
    sub.add_argument("--add", action="store_true", help="keep what is in --out already")
    sub = with_data(command("pack", _pack, "decode all pictures once"))
    sub.add_argument("--workers", type=int, default=2)
    sub = with_data(
        command("label", _label, "ask the teachers; may be stopped and started, and run in parts")
    )
    sub.add_argument("--yunet", type=Path, required=True)
    sub.add_argument("--part", type=int, default=0)
    sub.add_argument("--parts", type=int, default=1)
    with_data(command("fuse", _fuse, "answers to soft labels"))
    sub = with_data(
        command(
            "mine",
            _mine,
            "our own net's answers where nobody labelled; kept while all it depends on is the same",
        )
    )
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument(
        "--faces", action="store_true", help="faces too, instead of label and fuse: to go on with training"
    )
    sub = with_data(command("alarms", _alarms, "where our own net sees what is not there; kept likewise"))
    sub.add_argument("--bundle", type=Path, required=True)
    sub = with_data(command("train", _train, "train, or go on; 143: stopped before --steps"))
    sub.add_argument("--spec", nargs="+", default=["veil-s", "veil-n"], help="the first one's steps count")
    sub.add_argument("--steps", type=int, default=80_000, help="the end; those of --start count")
    sub.add_argument("--first", type=int, default=0, help="step at which the cosine begins")
    sub.add_argument("--rate", type=float, default=2e-3, help="the cosine's top")
    sub.add_argument("--average", type=float, default=0.9995, help="what is kept of the average each step")
    sub.add_argument("--threads", type=int, default=2)
    sub.add_argument("--workers", type=int, default=1)
    sub.add_argument("--size", type=int, default=384)
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
    sub.add_argument("--name", help="of the bundle; without: its folder's")
    sub.add_argument("--license", help="of the weights; without: what the bundle states already, or none")
    sub.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    sub.add_argument("--calibration", type=int, default=160, help="pictures, equally many of each source")
    sub.add_argument(
        "--floor", type=float, default=0.6, help="share of the golden objects that must be found"
    )
    sub.add_argument(
        "--corrected", action="store_true", help="biases take back what rounding adds on average"
    )
    sub = with_data(command("eval", _eval, "all figures, side by side with the teachers"))
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument("--checkpoint", type=Path)
    sub.add_argument("--yunet", type=Path, help="without: no teachers beside it")
    sub.add_argument("--out", type=Path, required=True)
    sub.add_argument("--longest", type=int, default=640)
    sub = command("card", _card, "write a bundle's card from the figures of eval")
    sub.add_argument("--bundle", type=Path, required=True)
    sub.add_argument("--figures", type=Path, required=True)
    sub.add_argument("--limits", type=Path, required=True, help="text: known limits")
    sub.add_argument("--data", type=Path, help="what it was trained on; without: our own sets")
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
    """Parse and run one command; what a user can put right is one line and exit code 2."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except ModelsError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
