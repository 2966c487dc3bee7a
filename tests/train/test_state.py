"""Truths of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from beholder.train.average import WeightAverage
from beholder.train.optimizer import build_optimizer, named_parameters
from beholder.train.state import TrainState, find_checkpoints, load_checkpoint, read_notes, save_checkpoint, steps_taken
from beholder.train.step import take_step
from beholder.types import UserError
from tests.train.tiny import CPU, Dropout, same_weights, tiny_model, tiny_stream


def state(model: nn.Module | None = None, num_steps: int = 0) -> TrainState:
    model, objective = model or tiny_model(), Dropout()
    parameters = named_parameters(model, objective)
    optimizer = build_optimizer(parameters, lr=0.01, weight_decay=0.1)
    built = TrainState(model, objective, optimizer, parameters, WeightAverage(model, 0.9))
    for step in range(num_steps):
        take_step(model, objective, optimizer, tiny_stream().batch(step), step=step, device=CPU)
    return built


def test_loading_undoes_saving_to_the_bit(tmp_path: Path) -> None:
    trained = state(num_steps=3)
    save_checkpoint(trained, tmp_path, 3, {"note": "kept"})
    fresh = state(tiny_model(seed=5))
    load_checkpoint(fresh, tmp_path, 3)
    assert same_weights(fresh.model, trained.model) and same_weights(fresh.objective, trained.objective)
    assert fresh.average is not None and trained.average is not None
    assert same_weights(fresh.average.model, trained.average.model)
    for name, parameter in trained.parameters.items():
        mine, loaded = trained.optimizer.state[parameter], fresh.optimizer.state[fresh.parameters[name]]
        assert mine.keys() == loaded.keys()
        assert all(torch.equal(mine[key], loaded[key]) and mine[key].stride() == loaded[key].stride() for key in mine)
    assert read_notes(tmp_path, 3) == {"step": 3, "note": "kept"}


def test_a_parameter_that_no_gradient_reaches_hinders_no_resume(tmp_path: Path) -> None:
    def with_an_idle_part(seed: int) -> nn.Module:
        model = tiny_model(seed=seed)
        model.register_parameter("idle", nn.Parameter(torch.zeros(3, 3)))
        return model

    trained = state(with_an_idle_part(1), num_steps=2)
    save_checkpoint(trained, tmp_path, 2, {})
    fresh = state(with_an_idle_part(2))
    load_checkpoint(fresh, tmp_path, 2)
    assert same_weights(fresh.model, trained.model)
    for one in (trained, fresh):
        batch = tiny_stream().batch(2)
        torch.manual_seed(0)
        take_step(one.model, one.objective, one.optimizer, batch, step=2, device=CPU)
    assert same_weights(fresh.model, trained.model)


def test_only_the_last_two_are_kept(tmp_path: Path) -> None:
    trained = state(num_steps=1)
    assert steps_taken(tmp_path) == 0
    for step in (1, 5, 9, 100):
        save_checkpoint(trained, tmp_path, step, {})
    assert find_checkpoints(tmp_path) == [9, 100] and steps_taken(tmp_path) == 100
    assert len(list(tmp_path.iterdir())) == 4


def test_a_checkpoint_without_its_json_does_not_exist_and_is_swept_up(tmp_path: Path) -> None:
    trained = state(num_steps=1)
    save_checkpoint(trained, tmp_path, 1, {})
    (tmp_path / "step-00000002.safetensors").write_bytes(b"cut short")
    (tmp_path / ".step-00000002.json.77.tmp").write_bytes(b"cut short")
    assert find_checkpoints(tmp_path) == [1]
    save_checkpoint(trained, tmp_path, 3, {})
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["step-00000001"] * 2 + ["step-00000003"] * 2


def test_a_damaged_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    save_checkpoint(state(num_steps=1), tmp_path, 1, {})
    path = tmp_path / "step-00000001.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"step-00000001.*delete it"):
        load_checkpoint(state(), tmp_path, 1)


@pytest.mark.parametrize("other", [nn.Sequential(nn.Conv2d(3, 8, 3)), nn.Sequential(*tiny_model(), nn.Linear(8, 8))])
def test_another_model_is_refused_by_name(tmp_path: Path, other: nn.Module) -> None:
    save_checkpoint(state(num_steps=1), tmp_path, 1, {})
    with pytest.raises(UserError, match="another model or objective"):
        load_checkpoint(state(other), tmp_path, 1)


def test_a_model_of_other_widths_is_refused(tmp_path: Path) -> None:
    save_checkpoint(state(num_steps=1), tmp_path, 1, {})
    wider = tiny_model()
    wider[0] = nn.Conv2d(3, 8, 5)  # type: ignore[index]
    with pytest.raises(UserError, match=r"model\.0\.weight"):
        load_checkpoint(state(wider), tmp_path, 1)
