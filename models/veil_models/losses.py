"""Quality focal loss with soft targets, and GIoU, over pictures of very different crowdedness."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from veil_models.graph import BOX_OF, STRIDES

GOOD_IOU = (0.65, 0.6, 0.5)
"""IoU per class from which on a predicted box deserves the object's full score."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the loader makes it.

    `image` uint8 [B, 3, S, S]; `score`, `weight` [B, 3, A]; positives as flat lists: `picture`, `cell`,
    `category` [P], `xyxy` [P, 4], `share` [P].
    """

    image: Tensor
    score: Tensor
    weight: Tensor
    picture: Tensor
    cell: Tensor
    category: Tensor
    xyxy: Tensor
    share: Tensor


def flatten(out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """All cells, finest stride first: logits [B, 3, A] and distances in pixels [B, A, 4 G]
    (see `graph.BOX_OF`)."""
    logits = torch.cat([out[f"cls_{s}"].float().flatten(2) for s in STRIDES], 2)
    boxes = torch.cat([out[f"box_{s}"].float().flatten(2) * s for s in STRIDES], 2)
    return logits, boxes.transpose(1, 2)


def centres(size: int) -> Tensor:
    """Cell centres [A, 2] in pixels of a square crop."""
    rows = []
    for s in STRIDES:
        axis = (torch.arange(size // s) + 0.5) * s
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        rows.append(torch.stack([x.flatten(), y.flatten()], 1))
    return torch.cat(rows)


def giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Generalised IoU and IoU of matching rows; boxes [N, 4] x1, y1, x2, y2."""
    w = (torch.minimum(a[:, 2], b[:, 2]) - torch.maximum(a[:, 0], b[:, 0])).clamp(min=0)
    h = (torch.minimum(a[:, 3], b[:, 3]) - torch.maximum(a[:, 1], b[:, 1])).clamp(min=0)
    shared = w * h
    area_a = (a[:, 2] - a[:, 0]).clamp(min=0) * (a[:, 3] - a[:, 1]).clamp(min=0)
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = (area_a + area_b - shared).clamp(min=1e-3)
    hull = (torch.maximum(a[:, 2], b[:, 2]) - torch.minimum(a[:, 0], b[:, 0])) * (
        torch.maximum(a[:, 3], b[:, 3]) - torch.minimum(a[:, 1], b[:, 1])
    )
    hull = hull.clamp(min=1e-3)
    iou = shared / union
    return iou - (hull - union) / hull, iou


def loss(out: dict[str, Tensor], batch: Batch, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Classification and box loss, each a scalar.

    Each picture's sums are divided by the square root of its positives' weight, so that a crowd of 400 counts
    as 20 single faces, not as 400.
    """
    logits, distance = flatten(out)
    count = len(logits)
    mass = (
        torch.zeros(count, device=logits.device)
        .index_add_(0, batch.picture, batch.share)
        .clamp(min=2.0)
        .sqrt()
    )
    at = centre[batch.cell]
    first = 4 * torch.tensor(BOX_OF, device=logits.device)[batch.category]
    sides = first[:, None] + torch.arange(4, device=logits.device)
    d = distance[batch.picture[:, None], batch.cell[:, None], sides]
    predicted = torch.cat([at - d[:, :2], at + d[:, 2:]], 1)
    generalised, iou = giou(predicted, batch.xyxy)
    good = torch.tensor(GOOD_IOU, device=logits.device)[batch.category]
    target = batch.score.clone()
    fit = (iou.detach() / good).clamp(0.0, 1.0)
    target[batch.picture, batch.category, batch.cell] *= fit
    gap = (torch.sigmoid(logits.detach()) - target).abs()
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * gap.square()
    classification = ((each * batch.weight).sum((1, 2)) / mass).mean()
    score = batch.score[batch.picture, batch.category, batch.cell]
    weight = batch.share * score.clamp(min=0.3)
    box = torch.zeros(count, device=logits.device).index_add_(0, batch.picture, (1 - generalised) * weight)
    return classification, (box / mass).mean()
