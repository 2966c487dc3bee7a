"""Truths of the parameter groups."""

from __future__ import annotations

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
