"""AdamW with parameter groups by rule: what decays, and how fast each layer learns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_LAYER = re.compile(r"(?:^|\.)(?:blocks|stages)\.(\d+)\.")


@runtime_checkable
class Optimizer(Protocol):
    """What a step asks of it; torch's optimizers have it."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


class AdamW:
    """AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) by torch's own update, for whoever starts a run often.

    Groups and state look as those of `torch.optim.AdamW`, and so do the numbers. That class loads torch's compiler when
    the first one is made, which takes as long as importing torch does (docs/benchmarks.md) and is of no use to a step.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], betas: tuple[float, float], eps: float = 1e-8) -> None:
        self.param_groups: list[dict[str, Any]] = [dict(group) for group in groups]
        """Each with "params", "lr" and "weight_decay"."""
        self.betas, self.eps = betas, eps
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}
        """Of each parameter "step" and its two averages, "exp_avg" and "exp_avg_sq"."""
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        assert every, "nothing to train"
        assert len({id(parameter) for parameter in every}) == len(every), "a parameter is named twice"
        self.is_fused = {parameter.device.type for parameter in every} <= {"cpu", "cuda"}

    def prepare(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """The parameter's state, zeros before its first step."""
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device if self.is_fused else None),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[parameter]

    def zero_grad(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            states = [self.prepare(parameter) for parameter in moved]
            adamw(
                moved,
                [parameter.grad for parameter in moved],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=self.is_fused,
                foreach=False if self.is_fused else None,  # None: torch chooses
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=self.eps,
                maximize=False,
            )


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
) -> AdamW:
    """AdamW over `parameters`, betas 0.9 and 0.95.

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
    return AdamW(
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
