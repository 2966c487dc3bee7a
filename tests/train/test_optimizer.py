"""Truths of the parameter groups."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from beholder.models.conv import PRESETS as CONV
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import PRESETS, ViT
from beholder.train.optimizer import build_optimizer, named_parameters


def groups_by_name(model: nn.Module, layer_decay: float = 1.0) -> dict[str, dict[str, float]]:
    parameters = named_parameters(model, nn.Linear(2, 2))
    names = {id(parameter): name for name, parameter in parameters.items()}
    optimizer = build_optimizer(parameters, lr=1.0, weight_decay=0.1, layer_decay=layer_decay)
    return {names[id(member)]: group for group in optimizer.param_groups for member in group["params"]}


def test_every_parameter_is_in_exactly_one_group_and_frozen_ones_in_none() -> None:
    model = ViT(PRESETS["debug"])
    model.trunk.blocks[0].requires_grad_(False)
    grouped = groups_by_name(model)
    expected = {f"model.{name}" for name, _ in model.named_parameters() if "blocks.0." not in name}
    assert grouped.keys() == expected | {"objective.weight", "objective.bias"}


def test_decay_falls_on_matrices_and_kernels_only() -> None:
    for model in (ViT(PRESETS["debug"]), EfficientNetLite(CONV["debug"])):
        for name, group in groups_by_name(model).items():
            is_free = name.endswith("bias") or "norm" in name or "prefix" in name or "positions" in name
            assert (group["weight_decay"] == 0) == is_free, name


def test_lower_layers_learn_more_slowly() -> None:
    rates = {name: group["lr"] for name, group in groups_by_name(ViT(PRESETS["debug"]), layer_decay=0.5).items()}
    assert rates["objective.weight"] == rates["model.trunk.norm.weight"] == 1.0
    assert rates["model.trunk.blocks.2.mlp.body.widen.weight"] == 0.5
    assert rates["model.trunk.blocks.0.mlp.body.widen.weight"] == 0.125
    assert rates["model.embed.project.weight"] == rates["model.prefix"] == 0.0625


def test_layer_decay_knows_the_stages_of_a_convolutional_net() -> None:
    rates = {name: group["lr"] for name, group in groups_by_name(EfficientNetLite(CONV["debug"]), 0.5).items()}
    assert rates["model.head.conv.weight"] == 1.0
    assert rates["model.stages.2.0.expand.conv.weight"] == 0.5
    assert rates["model.stem.conv.weight"] == 0.0625


def test_without_gradients_decay_shrinks_matrices_and_nothing_else() -> None:
    layer = nn.Linear(4, 4)
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    optimizer = build_optimizer(dict(layer.named_parameters()), lr=0.1, weight_decay=0.5)
    for value in layer.parameters():
        value.grad = torch.zeros_like(value)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * 0.95)
    assert torch.equal(layer.bias, before["bias"])


@pytest.mark.parametrize("is_fused", [True, False])
def test_steps_are_those_of_torchs_adamw(is_fused: bool) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3), nn.Linear(3, 3))
    theirs = copy.deepcopy(ours)
    optimizer = build_optimizer(dict(ours.named_parameters()), lr=0.03, weight_decay=0.1)
    optimizer.is_fused = is_fused
    matrices, rest = [[one for one in theirs.parameters() if (one.ndim == 2) is wanted] for wanted in (True, False)]
    peer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=0.03, betas=(0.9, 0.95),
        fused=is_fused, foreach=False if is_fused else None,
    )  # fmt: skip
    for number in range(5):
        inputs = torch.randn(4, 5)
        for model, one in ((ours, optimizer), (theirs, peer)):
            one.zero_grad()
            last = model[:3](inputs)  # the last layer has no gradient at first
            (model[3](last) if number > 2 else last).square().sum().backward()
            one.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert optimizer.state[a].keys() == peer.state[b].keys()
        assert all(torch.equal(optimizer.state[a][key], peer.state[b][key]) for key in peer.state[b])


def test_a_step_does_not_load_torchs_compiler() -> None:
    code = """
import sys
import torch
from beholder.runtime.device import pick_device
from beholder.train.optimizer import build_optimizer, named_parameters
from beholder.train.step import take_step
from beholder.types import Losses
model = torch.nn.Linear(2, 2)
class Objective(torch.nn.Module):
    def forward(self, model, batch):
        return Losses(model(batch["views"][0]).square().sum(), {})
optimizer = build_optimizer(named_parameters(model, Objective()), lr=0.1, weight_decay=0.1)
before = model.weight.detach().clone()
take_step(model, Objective(), optimizer, {"views": torch.ones(1, 3, 2)}, step=0, device=pick_device("cpu", 1))
assert not torch.equal(before, model.weight)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_to_train_and_a_parameter_named_twice_are_mistakes() -> None:
    layer = nn.Linear(2, 2)
    for parameters in ({}, {"model.a": layer.weight, "objective.a": layer.weight}):
        with pytest.raises(AssertionError):
            build_optimizer(parameters, lr=0.1, weight_decay=0.1)
