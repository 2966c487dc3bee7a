"""The weights that are kept are those that were best, whenever that was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from beholder.train.best import KeepBest
from beholder.train.loop import Plan
from tests.train.tiny import same_weights, tiny_model, tiny_run


class Told:
    """A probe that tells given figures in turn, and remembers the weights that it was shown."""

    def __init__(self, *values: float) -> None:
        self.values, self.shown = list(values), []

    def __call__(self, model: nn.Module, step: int) -> Mapping[str, float]:
        copy = tiny_model()
        copy.load_state_dict(model.state_dict())
        self.shown.append(copy)
        return {"loss": self.values[len(self.shown) - 1]}


@pytest.mark.parametrize("values", [(3.0, 1.0, 2.0), (1.0, 2.0, 3.0), (3.0, 2.0, 1.0), (2.0, 1.0, 1.0)])
def test_the_lowest_figure_decides_and_of_equal_ones_the_first(values: tuple[float, ...], tmp_path: Path) -> None:
    told = Told(*values)
    kept = KeepBest(told, "loss", tmp_path / "best")
    model, _, result = tiny_run(tmp_path / "run", Plan(num_steps=6, lr=0.01, probe_every=2), probes=[kept])
    assert [one["loss"] for one in result.probes] == list(values)
    best = values.index(min(values))
    assert kept.restore(model) == 2 * (best + 1)
    assert same_weights(model, told.shown[best])


def test_a_run_that_goes_on_keeps_what_it_would_have_kept(tmp_path: Path) -> None:
    told = Told(3.0, 1.0)
    first = KeepBest(told, "loss", tmp_path / "best")
    for step in (2, 4):
        torch.manual_seed(step)
        first(tiny_model(step), step)
    again = KeepBest(Told(1.0, 2.0), "loss", tmp_path / "best")  # killed after the second look, begun again before it
    again(tiny_model(4), 4)
    again(tiny_model(6), 6)
    model = tiny_model(0)
    assert again.restore(model) == 4
    assert same_weights(model, tiny_model(4))
