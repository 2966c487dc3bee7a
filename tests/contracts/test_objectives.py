"""What every objective promises, whatever the backbone."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream
from beholder.models.conv import PRESETS as CONV
from beholder.models.conv import EfficientNetLite
from beholder.models.heads import describe
from beholder.models.vit import PRESETS as VIT
from beholder.models.vit import ViT
from beholder.objectives.masked import MaskedPrediction
from beholder.objectives.teacher import SelfDistillation
from beholder.runtime.device import Device, pick_device
from beholder.train.loop import Plan, train
from beholder.types import Objective

OBJECTIVES: dict[str, Callable[[nn.Module], nn.Module]] = {"teacher": SelfDistillation, "masked": MaskedPrediction}
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "vit": lambda: ViT(VIT["debug"]),
    "conv": lambda: EfficientNetLite(CONV["debug"]),
}


@pytest.fixture(params=sorted(OBJECTIVES))
def make_objective(request: pytest.FixtureRequest) -> Callable[[nn.Module], nn.Module]:
    return OBJECTIVES[request.param]


@pytest.fixture(params=sorted(BACKBONES))
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return BACKBONES[request.param]()


def views(seed: int = 0, num_images: int = 6, num_views: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, num_images, 3, 8, 8, generator=generator).repeat_interleave(4, 3).repeat_interleave(4, 4)
    return {"views": image + 0.1 * torch.randn(num_views, num_images, 3, 32, 32, generator=generator)}


def test_it_follows_the_protocol(make_objective: Callable, model: nn.Module) -> None:
    assert isinstance(make_objective(model), Objective)


def test_its_loss_reaches_every_parameter_that_it_asks_to_train(make_objective: Callable, model: nn.Module) -> None:
    objective = make_objective(model)
    objective(model, views()).total.backward()
    for owner in (model, objective):
        silent = [name for name, value in owner.named_parameters() if value.requires_grad and value.grad is None]
        assert silent == []


def test_its_teacher_never_learns_by_gradient_and_is_kept_in_the_state(
    make_objective: Callable, model: nn.Module
) -> None:
    objective = make_objective(model)
    frozen = {name for name, value in objective.named_parameters() if not value.requires_grad}
    assert frozen and frozen <= objective.state_dict().keys()
    objective(model, views()).total.backward()
    assert all(value.grad is None for name, value in objective.named_parameters() if name in frozen)


def test_it_keeps_no_hold_of_the_model(make_objective: Callable, model: nn.Module) -> None:
    """The model is saved once, by the loop; the objective's modules are its own."""
    own = {id(value) for value in make_objective(model).parameters()}
    assert not own & {id(value) for value in model.parameters()}


def test_an_equal_seed_gives_an_equal_loss(make_objective: Callable, model: nn.Module) -> None:
    objective, totals = make_objective(model), []
    for _ in range(2):
        torch.manual_seed(3)
        totals.append(copy.deepcopy(objective)(copy.deepcopy(model), views()).total)
    assert torch.equal(*totals)


def test_its_parts_are_finite_numbers(make_objective: Callable, model: nn.Module) -> None:
    losses = make_objective(model)(model, views())
    assert losses.total.ndim == 0
    assert losses.parts and all(np.isfinite(value) for value in losses.parts.values())


def test_a_few_steps_make_it_smaller_without_collapse(make_objective: Callable, model: nn.Module) -> None:
    objective = make_objective(model)
    parameters = [*model.parameters(), *(value for value in objective.parameters() if value.requires_grad)]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    reports = []
    for step in range(60):
        torch.manual_seed(step)
        losses = objective(model, views(seed=step % 4, num_images=8))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        objective.after_step(model, (step + 1) / 60)
        reports.append({"total": float(losses.total.detach()), **losses.parts})
    first, last = (np.mean([report["total"] for report in part]) for part in (reports[:8], reports[-8:]))
    assert last < 0.8 * first
    assert reports[-1]["spread"] > 0.3


SLOW_STEPS = {"teacher": 40, "masked": 55}
LEAST_GAIN = 0.01


def read_cifar(split: str) -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ["BEHOLDER_DATA"]) / "cifar10_mini" / "images" / split
    paths = sorted(folder.glob("*/*.jpg"))
    classes = sorted({path.parent.name for path in paths})
    images = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])
    return images, np.array([classes.index(path.parent.name) for path in paths])


@torch.no_grad()
def knn_accuracy(model: nn.Module, device: Device) -> float:
    """Of 1,000 test images by the vote of their 20 nearest training images, as in benchmarks/objectives_cifar.py."""
    model.eval()
    spaces, labels = [], []
    for split in ("train", "test"):
        images, numbers = read_cifar(split)
        rows = []
        for part in torch.from_numpy(images).split(250):
            with device.autocast():
                outputs = model((part.float() / 255 - 0.5) / 0.5)
            rows.append(torch.cat([describe(outputs), outputs.summary.float()], dim=1))
        spaces.append(torch.cat(rows))
        labels.append(torch.from_numpy(numbers))
    mean, spread = spaces[0].mean(0), spaces[0].std(0) + 1e-6
    known, asked = (nn.functional.normalize((rows - mean) / spread, dim=1) for rows in spaces)
    nearest = (asked @ known.T).topk(20, dim=1).indices
    votes = nn.functional.one_hot(labels[0][nearest]).sum(1)
    return float((votes.argmax(1) == labels[1]).float().mean())


@pytest.mark.long
@pytest.mark.skipif("BEHOLDER_DATA" not in os.environ, reason="BEHOLDER_DATA names no folder with cifar10_mini")
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_a_minute_of_it_brings_images_of_one_class_closer(name: str, tmp_path: Path) -> None:
    device = pick_device("cpu", 1)
    torch.manual_seed(0)
    shape = VIT["thumbnail"]
    model = ViT(replace(shape, trunk=replace(shape.trunk, width=96, depth=4)))
    before = knn_accuracy(model, device)
    stream = ImageStream(
        read_cifar("train")[0], batch_size=32, num_views=2, augmentation=AugmentConfig(size=32), seed=0
    )
    num_steps = SLOW_STEPS[name]
    plan = Plan(num_steps=num_steps, lr=1e-3, num_warmup=num_steps // 10)
    train(model, OBJECTIVES[name](model), stream, plan=plan, device=device, folder=tmp_path)
    assert knn_accuracy(model, device) > before + LEAST_GAIN
