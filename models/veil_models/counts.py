"""What a data set holds, in a few lines: a class that nobody marked or that was read wrong shows at once."""

from __future__ import annotations

from veil_models.dataset import CLASSES, Dataset, Label


def summary(pictures: Dataset) -> list[str]:
    """A line a source: pictures and, of each class, boxes, ignore regions, whether all of it is marked
    (`labelled`), and how many pictures are background as a whole for that."""
    lines = []
    for source in dict.fromkeys(p.source for p in pictures):
        own = [p for p in pictures if p.source == source]
        said = [text for name in CLASSES if (text := _of_class(own, name))]
        lines.append(f"  {source}: {len(own)} pictures; {'; '.join(said) or 'nothing labelled'}")
    return lines


def _of_class(pictures: Dataset, name: str) -> str:
    labels: list[Label] = [b for p in pictures for b in p.labels if b.category == name]
    marked = [p for p in pictures if name in p.labelled]
    if not labels and not marked:
        return ""
    ignored = sum(b.ignore for b in labels)
    empty = sum(all(b.category != name for b in p.labels) for p in marked)
    said = [f"{name} {len(labels) - ignored}"]
    said += [f"{ignored} ignored"] if ignored else []
    if marked:
        share = "labelled" if len(marked) == len(pictures) else f"labelled in {len(marked)}"
        said.append(f"{share} ({empty} of them without)" if empty else share)
    return ", ".join(said)
