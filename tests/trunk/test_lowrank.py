from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from beholder.models.conv import PRESETS as CONV
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import PRESETS as VIT
from beholder.models.vit import ViT
from beholder.trunk.lowrank import attach_low_rank, merge_low_rank, write_low_rank


@pytest.fixture(params=["conv", "vit"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return (EfficientNetLite(CONV["debug"]) if request.param == "conv" else ViT(VIT["debug"])).eval()


def shake(model: nn.Module) -> None:
    """As if trained: every update's second factor leaves zero."""
    for name, value in model.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(value, std=0.1)


def test_a_fresh_update_changes_nothing(model: nn.Module) -> None:
    pixels = torch.randn(2, 3, 32, 32)
    before = model(pixels).summary
    assert torch.equal(attach_low_rank(model, 4)(pixels).summary, before)


def test_merging_keeps_the_outputs_and_gives_back_names_and_shapes(model: nn.Module) -> None:
    pixels = torch.randn(2, 3, 32, 32)
    plain = {name: value.shape for name, value in model.state_dict().items()}
    first = model(pixels).summary
    shake(attach_low_rank(model, 4))
    trained = model(pixels).summary
    assert not torch.allclose(trained, first)
    merge_low_rank(model)
    assert {name: value.shape for name, value in model.state_dict().items()} == plain
    torch.testing.assert_close(model(pixels).summary, trained)


def test_a_merged_weight_differs_by_a_matrix_of_the_rank(model: nn.Module) -> None:
    before = copy.deepcopy(model.state_dict())
    shake(attach_low_rank(model, 2))
    after = merge_low_rank(model).state_dict()
    ranks = [
        int(torch.linalg.matrix_rank((after[name] - before[name]).flatten(1), atol=1e-4))
        for name in before
        if not torch.equal(after[name], before[name])
    ]
    assert ranks and max(ranks) <= 2


def test_only_the_updates_learn_and_all_of_them(model: nn.Module) -> None:
    shake(attach_low_rank(model, 2))
    outputs = model(torch.randn(2, 3, 32, 32))
    sum(part.float().square().mean() for part in (*outputs.maps, outputs.summary)).backward()
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert trained and all(name.endswith((".up", ".down")) for name in trained)
    assert all(value.grad is not None for name, value in model.named_parameters() if name in trained)


def test_an_update_is_never_wider_than_its_matrix() -> None:
    layer = attach_low_rank(nn.Linear(3, 5), 64)
    assert max(value.shape[0] for name, value in layer.named_parameters() if name.endswith(".down")) == 3


def test_rank_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 0"):
        attach_low_rank(nn.Linear(3, 5), 0)


def test_a_share_of_what_was_learned_is_written_into_a_plain_network(model: nn.Module) -> None:
    """None of it is the network as it was, all of it the merged one, half lies between; nothing else changes."""
    first, plain = copy.deepcopy(model.state_dict()), copy.deepcopy(model)
    shake(attach_low_rank(model, 2))
    learned = {name: value.clone() for name, value in model.state_dict().items()}
    half = copy.deepcopy(write_low_rank(model, plain, 0.5).state_dict())
    all_of_it = copy.deepcopy(write_low_rank(model, plain, 1.0).state_dict())
    none = write_low_rank(model, plain, 0.0).state_dict()
    assert all(torch.equal(none[name], first[name]) for name in first)
    assert all(torch.equal(model.state_dict()[name], learned[name]) for name in learned)
    merged = merge_low_rank(model).state_dict()
    for name in first:
        assert torch.equal(all_of_it[name], merged[name])
        if first[name].is_floating_point():
            torch.testing.assert_close(half[name], (first[name] + merged[name]) / 2)
