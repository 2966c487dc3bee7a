"""Names of what is in an image are found in the part that shows it."""

from __future__ import annotations

import numpy as np
import torch

from beholder.models.names import Found, NamesConfig, find
from beholder.train.names import fit_names

CONFIG = NamesConfig(3, ("man", "boy", "ball"), ("person", "person", "ball"))


def test_each_is_told_in_its_best_part_and_one_name_of_a_thing_there() -> None:
    scores = torch.tensor([[2.0, 1.9, 0.0], [0.0, 0.0, 1.0]])
    found = find(CONFIG, torch.tensor([0.6, 0.9, 0.5]), scores, least=0.3, most=5)
    assert [(one.region, one.name) for one in found] == [(0, "boy"), (1, "ball")]
    assert find(CONFIG, torch.tensor([0.6, 0.9, 0.5]), scores, least=0.3, most=1) == [
        Found(0, "boy", float(torch.tensor(0.9)))
    ]
    assert not find(CONFIG, torch.tensor([0.1, 0.2, 0.1]), scores, least=0.3, most=5)
    apart = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.5]])
    assert len(find(CONFIG, torch.tensor([0.6, 0.9, 0.5]), apart, least=0.3, most=5)) == 3  # a man here, a boy there


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Of two parts, one of them shows what there is; the whole is their mean."""
    generator = np.random.default_rng(seed)
    is_named = generator.random((count, 2)) < 0.4
    parts = generator.normal(0, 0.3, (count, 2, 6))
    place = generator.integers(0, 2, (count, 2))
    for name in range(2):
        parts[np.arange(count), place[:, name], name] += 3 * is_named[:, name]
    values = torch.from_numpy(parts).float()
    return values.mean(1), values, is_named


def test_what_captions_teach_holds_for_other_images_and_finds_the_part() -> None:
    config = NamesConfig(6, ("cup", "dog"), ("cup", "dog"))
    whole, parts, is_named = images(120, seed=0)
    fit = fit_names(config, whole, parts, is_named, np.arange(120))
    others, pieces, truth = images(200, seed=1)
    told = fit.names.probabilities(fit.names(others), fit.names(pieces)).numpy()
    assert ((told > 0.5) == truth).mean() > 0.95
    assert abs(told.mean() - truth.mean()) < 0.05  # calibrated
    shows = pieces[:, :, 0].argmax(1)[torch.from_numpy(truth[:, 0])]
    assert (fit.names(pieces)[..., 0].argmax(1)[torch.from_numpy(truth[:, 0])] == shows).float().mean() > 0.95


def test_an_image_is_judged_without_itself() -> None:
    """Where names are noise, what is said of the learned images knows nothing of them."""
    config = NamesConfig(40, ("cup",), ("cup",))
    generator = np.random.default_rng(0)
    parts = torch.from_numpy(generator.normal(size=(60, 2, 40))).float()
    is_named = generator.random((60, 1)) < 0.5
    fit = fit_names(config, parts.mean(1), parts, is_named, np.arange(60))
    knows = fit.names(parts.mean(1))[:, 0].numpy()
    assert np.corrcoef(knows, is_named[:, 0])[0, 1] > 0.5  # the fit itself has learned them by heart
    assert abs(np.corrcoef(fit.probabilities[:, 0].numpy(), is_named[:, 0])[0, 1]) < 0.3


def test_groups_are_left_out_whole() -> None:
    """Of each image there is a twin; without its twin it cannot be known."""
    config = NamesConfig(40, ("cup",), ("cup",))
    generator = np.random.default_rng(3)
    half = torch.from_numpy(generator.normal(size=(42, 2, 40))).float()
    parts, named = half.repeat(2, 1, 1), np.tile(generator.random((42, 1)) < 0.5, (2, 1))
    twins = fit_names(config, parts.mean(1), parts, named, np.tile(np.arange(42), 2))
    alone = fit_names(config, parts.mean(1), parts, named, np.arange(84))
    told = [np.corrcoef(one.scores[..., 0].mean(1).numpy(), named[:, 0])[0, 1] for one in (twins, alone)]
    assert told[1] > 0.6 > 0.3 > told[0]
