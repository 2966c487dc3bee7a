"""Truths of the training loop; that resuming equals not stopping stands in tests/properties/test_resume.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from beholder.train.loop import Plan, StopTraining
from beholder.train.step import Diverged, StepReport
from beholder.types import UserError
from tests.train.tiny import Dropout, same_weights, tiny_model, tiny_run

PLAN = Plan(num_steps=12, lr=0.02, num_warmup=2, probe_every=4)


def test_training_makes_the_loss_smaller(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    tiny_run(tmp_path, replace(PLAN, num_steps=80), on_step=reports.append)
    totals = [report.losses["total"] for report in reports]
    assert sum(totals[-10:]) < 0.9 * sum(totals[:10])
    assert [report.step for report in reports] == list(range(80))
    assert max(report.lr for report in reports) == pytest.approx(PLAN.lr)


def test_the_objective_learns_beside_the_model_and_hears_of_each_step(tmp_path: Path) -> None:
    model, objective, result = tiny_run(tmp_path, PLAN)
    assert not same_weights(model, tiny_model()) and not same_weights(objective.head, Dropout().head)
    assert int(objective.num_steps) == 12 == result.num_steps
    assert result.losses["num_steps"] == 11
    assert not model.training


def test_equal_plans_give_equal_bits_and_another_seed_does_not(tmp_path: Path) -> None:
    one, _, _ = tiny_run(tmp_path / "one", PLAN)
    same, _, _ = tiny_run(tmp_path / "same", PLAN)
    other, _, _ = tiny_run(tmp_path / "other", replace(PLAN, seed=1))
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_probes_see_the_model_at_their_steps_and_change_nothing(tmp_path: Path) -> None:
    def probe(model: nn.Module, step: int) -> dict[str, float]:
        assert not model.training
        return {"weight": float(next(model.parameters()).detach().sum()), "asked_at": float(step)}

    plain, _, silent = tiny_run(tmp_path / "plain", PLAN)
    probed, _, result = tiny_run(tmp_path / "probed", PLAN, probes=[probe])
    assert silent.probes == ()
    assert [entry["step"] for entry in result.probes] == [4, 8, 12] == [entry["asked_at"] for entry in result.probes]
    assert same_weights(plain, probed)


def test_a_probe_may_end_the_run_with_a_reason_that_is_remembered(tmp_path: Path) -> None:
    def guard(model: nn.Module, step: int) -> dict[str, float]:
        if step >= 8:
            raise StopTraining("features have collapsed")
        return {"spread": 1.0}

    model, _, result = tiny_run(tmp_path, PLAN, probes=[guard, lambda model, step: {"other": 2.0}])
    assert (result.stopped, result.num_steps) == ("features have collapsed", 8)
    assert result.probes[-1] == {"step": 8, "other": 2.0}
    again, _, repeated = tiny_run(tmp_path, PLAN, probes=[guard])
    assert (repeated.stopped, repeated.num_steps, repeated.resumed_from) == (result.stopped, 8, 8)
    assert same_weights(model, again)


def test_checkpoints_by_time_do_not_change_the_numbers(tmp_path: Path) -> None:
    seldom, _, _ = tiny_run(tmp_path / "seldom", PLAN)
    often, _, _ = tiny_run(tmp_path / "often", replace(PLAN, checkpoint_every_seconds=0.0))
    assert same_weights(seldom, often)


def test_the_average_is_given_when_the_plan_asks_for_it(tmp_path: Path) -> None:
    model, _, result = tiny_run(tmp_path / "kept", replace(PLAN, average_momentum=0.9))
    assert result.average is not None and not same_weights(result.average, model)
    assert tiny_run(tmp_path / "none", PLAN)[2].average is None


def test_a_plan_may_keep_the_running_statistics_or_count_them_afresh(tmp_path: Path) -> None:
    fresh = tiny_model().state_dict()["1.running_mean"]
    kept = tiny_run(tmp_path / "kept", replace(PLAN, keeps_statistics=True))[0].state_dict()["1.running_mean"]
    counted = tiny_run(tmp_path / "counted", PLAN)[0].state_dict()
    assert kept.equal(fresh) and not counted["1.running_mean"].equal(fresh)
    assert counted["1.num_batches_tracked"] == 8


def test_another_plan_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    tiny_run(tmp_path, PLAN)
    with pytest.raises(UserError, match=r"lr=0\.02, now it is 0\.5"):
        tiny_run(tmp_path, replace(PLAN, lr=0.5))


def test_a_diverging_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="lower the learning rate"):
        tiny_run(tmp_path, replace(PLAN, num_steps=200, lr=float("inf")))
