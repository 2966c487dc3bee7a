"""AdamW with parameter groups by rule: what decays, and how fast each layer learns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

_LAYER = re.compile(r"(?:^|\.)(?:blocks|stages)\.(\d+)\.")


def named_parameters(model: nn.Module, objective: nn.Module) -> dict[str, nn.Parameter]:
    """All that is trained, as "model.…" and "objective.…", in a stable order."""
    parts = {"model": model, "objective": objective}
    return {
        f"{prefix}.{name}": parameter
        for prefix, part in parts.items()
        for name, parameter in part.named_parameters()
        if parameter.requires_grad
    }


def build_optimizer(
    parameters: Mapping[str, nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    rates: Sequence[tuple[str, float]] = (),
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) over `parameters`, betas 0.9 and 0.95.

    Weight decay falls on matrices and kernels only: biases, norms, scales and token tables go free. With `layer_decay`
    below 1 each block or stage of the model learns that many times as fast as the one above it (BEiT, Bao et al. 2021,
    arXiv 2106.08254); what lies before the first block is one layer lower still, and what is not in the model, or comes
    after its blocks, learns at `lr`. `rates` are beginnings of names and how many times as fast what is called so
    learns, the last that fits. Every group carries its own "base_lr", which schedules multiply.
    """
    assert 0.0 < layer_decay <= 1.0, layer_decay
    distances = _distances(list(parameters)) if layer_decay < 1.0 else dict.fromkeys(parameters, 0)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        own = next((rate for beginning, rate in reversed(rates) if name.startswith(beginning)), 1.0)
        groups.setdefault((own * layer_decay ** distances[name], is_decayed(parameter)), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": members,
                "weight_decay": weight_decay if decays else 0.0,
                "lr": lr * share,
                "base_lr": lr * share,
            }
            for (share, decays), members in groups.items()
        ],
        betas=(0.9, 0.95),
        fused=all(parameter.device.type in {"cpu", "cuda"} for parameter in parameters.values()),
    )


def is_decayed(parameter: nn.Parameter) -> bool:
    """Whether weight decay falls on it: on matrices and kernels, not on vectors nor on 1 T D tables of tokens."""
    return parameter.ndim >= 2 and parameter.shape[0] > 1


def _distances(names: list[str]) -> dict[str, int]:
    """How many layers below the top each parameter lies."""
    found = {name: _LAYER.search(name) for name in names}
    layers = {name: int(match[1]) for name, match in found.items() if match and name.startswith("model.")}
    if not layers:
        return dict.fromkeys(names, 0)
    top = max(layers.values()) + 1
    is_below = True  # parameters come in the order of the network: before the first block lies the stem
    distances = {}
    for name in names:
        if name in layers:
            is_below = False
            distances[name] = top - layers[name]
        else:
            distances[name] = top + 1 if is_below and name.startswith("model.") else 0
    return distances
