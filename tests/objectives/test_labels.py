from __future__ import annotations

import pytest
import torch
from torch import nn

from beholder.models.conv import PRESETS as CONV
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import PRESETS as VIT
from beholder.models.vit import ViT
from beholder.objectives.labels import LabelPrediction
from beholder.objectives.own_class import OwnClass
from beholder.types import Objective


@pytest.fixture(params=["conv", "vit"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return EfficientNetLite(CONV["debug"]) if request.param == "conv" else ViT(VIT["debug"])


def batch(num_views: int = 1) -> dict[str, torch.Tensor]:
    """Class 0 is dark, class 1 is light."""
    generator = torch.Generator().manual_seed(0)
    light = torch.tensor([-1.0, -1.0, 1.0, -1.0, 1.0, -1.0]).view(1, 6, 1, 1, 1)
    return {
        "views": light + 0.3 * torch.randn(num_views, 6, 3, 32, 32, generator=generator),
        "indices": torch.tensor([5, 4, 3, 2, 1, 0]),
    }


LABELS = torch.tensor([0, 1, 0, 1, 0, 0])  # by index, so the batch's labels are these backwards


def test_it_follows_the_protocol(model: nn.Module) -> None:
    assert isinstance(LabelPrediction(model, LABELS, 2), Objective)


def test_a_fresh_head_guesses_every_class_alike(model: nn.Module) -> None:
    loss = LabelPrediction(model, LABELS, 2, smoothing=0.0)(model, batch()).total
    torch.testing.assert_close(loss, torch.log(torch.tensor(2.0)))


def test_every_class_weighs_the_same() -> None:
    weights = LabelPrediction(ViT(VIT["debug"]), LABELS, 3).weights
    counts = torch.bincount(LABELS, minlength=3).float()
    torch.testing.assert_close((weights * counts)[:2], torch.full((2,), 2.0))


def test_it_learns_what_the_labels_say(model: nn.Module) -> None:
    objective = LabelPrediction(model, LABELS, 2, smoothing=0.0)
    optimizer = torch.optim.AdamW([*model.parameters(), *objective.parameters()], lr=3e-3)
    first = objective(model, batch(2)).total.item()
    for _ in range(30):
        optimizer.zero_grad()
        losses = objective(model, batch(2))
        losses.total.backward()
        optimizer.step()
    assert losses.parts["accuracy"] == 1.0
    assert losses.total.item() < 0.3 * first


def test_after_the_first_step_its_loss_reaches_every_weight(model: nn.Module) -> None:
    objective = LabelPrediction(model, LABELS, 2)
    nn.init.normal_(objective.head.weight)
    objective(model, batch()).total.backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == [] or all(name.startswith("classifier") for name in silent)


def test_images_are_told_from_each_other(model: nn.Module) -> None:
    objective = OwnClass(model, 6, smoothing=0.0)
    assert isinstance(objective, Objective)
    optimizer = torch.optim.AdamW([*model.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        losses = objective(model, batch(2))
        losses.total.backward()
        optimizer.step()
    assert losses.parts["accuracy"] == 1.0  # of six classes, though three images are alike but for noise
