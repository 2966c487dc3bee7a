"""The guard speaks when features collapse, blow up or forget the labels, and is silent and harmless otherwise."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from bundles import CPU, random_network
from pictures import draw
from torch import Tensor, nn

from beholder.recipes.adapt.guard import Guard
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.loop import StopTraining
from beholder.types import Outputs

PIXELS = PixelConfig()
NUM_IMAGES = 64


@pytest.fixture
def images() -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.stack([draw(generator, index % 2, side=32) for index in range(NUM_IMAGES)]).transpose(0, 3, 1, 2).copy()


LABELS = np.arange(NUM_IMAGES) % 2
GROUPS = np.arange(NUM_IMAGES)


def begin(network: nn.Module, images: np.ndarray, labels: np.ndarray | None = LABELS) -> Guard:
    return Guard.begin(network, images, labels, GROUPS, PIXELS, CPU, 0)


class Brightness(nn.Module):
    """Three features, one of which is the picture's brightness, times `attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Parameter(torch.ones(()))

    def forward(self, pixels: Tensor) -> Outputs:
        bright = pixels.mean((1, 2, 3)) * self.attention
        features = torch.stack([bright, pixels.std((1, 2, 3)), pixels[:, 0, 0, 0]], dim=1)
        return Outputs((features[:, :, None, None],), features)


def bright_images() -> np.ndarray:
    """Images of class 1 are brighter; all else is noise."""
    generator = np.random.default_rng(1)
    noise = generator.normal(100, 20, (NUM_IMAGES, 3, 8, 8)) + 60 * LABELS[:, None, None, None]
    return noise.clip(0, 255).astype(np.uint8)


def test_the_same_network_gives_the_same_numbers_and_is_let_pass(images: np.ndarray) -> None:
    network = random_network()
    guard = begin(network, images)
    assert guard.before["step"] == 0
    assert guard.before["rank"] > 4
    now = guard(network, 5)
    assert now == {name: guard.before[name] for name in ("rank", "knn")}


def test_looking_leaves_no_trace(images: np.ndarray) -> None:
    network = random_network().train()
    network.stages[0].eval()
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    guard = begin(network.train(), images)
    guard(network, 1)
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert len(modes) == sum(1 for _ in network.modules())


def test_a_collapse_is_told_with_both_ranks(images: np.ndarray) -> None:
    network = random_network()
    guard = begin(network, images, None)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    with pytest.raises(StopTraining, match=r"collapsed: their effective rank fell from \d+ to 1$"):
        guard(network, 3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_features_that_blow_up_are_told(images: np.ndarray, value: float) -> None:
    network = random_network()
    guard = begin(network, images)
    with torch.no_grad():
        network.stages[1][0].project.norm.weight[0] = value
    with pytest.raises(StopTraining, match="blew up"):
        guard(network, 3)


def test_forgetting_the_labels_is_told_and_a_small_loss_is_not() -> None:
    network, images = Brightness(), bright_images()
    guard = begin(network, images)
    assert guard.before["knn"] > 0.9
    with torch.no_grad():
        network.attention.mul_(3.0)
    assert guard(network, 1)["knn"] == pytest.approx(guard.before["knn"])
    with torch.no_grad():
        network.attention.zero_()
    with pytest.raises(StopTraining, match=r"k-NN accuracy fell from \d+\.\d% to \d+\.\d%"):
        guard(network, 2)


def test_without_labels_forgetting_cannot_be_seen() -> None:
    network = Brightness()
    guard = begin(network, bright_images(), None)
    with torch.no_grad():
        network.attention.zero_()
    assert guard(network, 2).keys() == {"rank"}


def test_neighbours_come_from_other_groups() -> None:
    """Copies of one picture share a group and a label that nothing else tells: only a leak could know it."""
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 4)
    labels = generator.integers(0, 2, 40)[groups]
    images = generator.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)[groups]
    guard = Guard.begin(Brightness(), images, labels, groups, PIXELS, CPU, 0)
    assert guard.before["knn"] < 0.8


@pytest.mark.parametrize("count", [1, 2, 39])
def test_few_images_are_watched_without_labels(count: int) -> None:
    images, groups = bright_images()[:count], GROUPS[:count]
    network = Brightness()
    guard = Guard.begin(network, images, LABELS[:count], groups, PIXELS, CPU, 0)
    assert guard.before.keys() == {"step", "rank"}
    guard(network, 1)


def test_an_early_dip_ends_nothing_and_the_same_features_later_do(images: np.ndarray) -> None:
    network = random_network()
    guard = dataclasses.replace(begin(network, images), trusted_from=10)
    guard.before["knn"] = 1.5  # whatever comes is far below
    assert "knn" in guard(network, 9)
    with pytest.raises(StopTraining, match="k-NN accuracy fell"):
        guard(network, 10)
