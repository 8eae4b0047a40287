"""The nodes as a PyTorch module, and folding its normalisation into plain convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from veil_models.graph import IMAGE, Node, Op, channels, outputs, padding
from veil_models.quantized import Folded


class Net(nn.Module):
    """Runs the nodes in order; takes [B, 3, H, W] in 0..1, gives the named outputs.

    In training mode `box_S` leaks below zero (slope 0.05) so that a dead distance can recover; otherwise it
    is >= 0.
    """

    def __init__(self, nodes: list[Node]) -> None:
        super().__init__()
        self.nodes = nodes
        known = channels(nodes)
        self.convs = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for node in nodes:
            if node.op is not Op.CONV:
                continue
            conv = nn.Conv2d(
                known[node.inputs[0]],
                node.channels,
                node.kernel,
                node.stride,
                padding(node),
                node.dilation,
                bias=not node.norm,
            )
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            if node.norm:
                self.norms[node.name] = nn.BatchNorm2d(node.channels, momentum=0.03)
            else:
                nn.init.normal_(conv.weight, std=0.01)
                # distances start at two strides, scores at 1 %
                nn.init.constant_(conv.get_parameter("bias"), 2.0 if node.relu else -4.6)
            self.convs[node.name] = conv

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Logits [B, 3, H/S, W/S] and distances [B, 4 G, H/S, W/S] in strides (see `graph.BOX_OF`)."""
        known = {IMAGE: image}
        for node in self.nodes:
            inputs = [known[i] for i in node.inputs]
            if node.op is Op.CONV:
                out = self.convs[node.name](inputs[0])
                if node.norm:
                    out = self.norms[node.name](out)
            elif node.op is Op.ADD:
                out = inputs[0] + inputs[1]
            else:
                out = functional.interpolate(inputs[0], scale_factor=2.0, mode="nearest")
            if node.relu:
                leak = self.training and node.name.startswith("box_")
                out = functional.leaky_relu(out, 0.05) if leak else functional.relu(out)
            known[node.name] = out
        return {name: known[name] for name in outputs()}


def fold(net: Net) -> dict[str, Folded]:
    """Weights with the normalisation folded in, by node name."""
    result: dict[str, Folded] = {}
    for node in net.nodes:
        if node.op is not Op.CONV:
            continue
        conv = net.convs[node.name]
        if not isinstance(conv, nn.Conv2d):
            raise TypeError(node.name)
        weight = conv.weight.detach().float()
        bias = torch.zeros(len(weight)) if conv.bias is None else conv.bias.detach().float()
        if node.norm:
            norm = net.norms[node.name]
            if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
                raise TypeError(node.name)
            gain = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * gain[:, None, None, None]
            bias = norm.bias.detach() + (bias - norm.running_mean) * gain
        result[node.name] = Folded(weight.numpy().copy(), bias.numpy().copy())
    return result
