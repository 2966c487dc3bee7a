"""The last stage: the law, results and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beholder.evaluate.report_scaling import formula, headline, write_scaling_report
from beholder.evaluate.scaling_law import Judged, judge_law
from beholder.recipes.code_training import losses_of
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.settings import LVMTraining
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.scale_law.members import Member
from beholder.recipes.scale_law.settings import LR_RULE, ScaleLaw
from beholder.recipes.sitting import Sitting
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import derive, numpy_generator

_NUM_DRAWS = 2000


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    material: Material
    members: Sequence[Member]
    losses: Mapping[str, np.ndarray]
    """Nats a code of each held-out picture, by the name of the training."""
    timed: Mapping[str, Any]
    counted: Mapping[str, Any]
    num_held_out_sentences: int


def tell(sitting: Sitting[LVMTraining], settings: ScaleLaw, asked: Mapping[str, Any], done: Finished) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, log = sitting.run, sitting.log
    sizes = [member for member in done.members if not member.is_again]
    same = [done.losses[member.name].mean() for member in done.members if member.size == sizes[0].size]
    noise = float(np.std(same, ddof=1))
    by_size = np.stack([done.losses[member.name] for member in sizes])
    with run.charged("fitting"):
        judged = judge_law(
            [member.parameters for member in sizes], by_size, noise=noise, num_draws=_NUM_DRAWS,
            seed=derive(sitting.seed, "law"),
        )  # fmt: skip
    costs = run.costs()
    total = sum(costs.values(), Cost())
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(asked, settings, run), asked["seed"]),
        "data": {"folder": asked["data"], **done.material.collection.facts},
        "tasks": list(done.material.tasks),
        "sizes": [_size(sitting, member, done.losses[member.name], costs) for member in sizes],
        "noise": {"nats": noise, "num_seeds": len(same), "size": sizes[0].size, "losses": list(map(float, same))},
        "lr_rule": LR_RULE.format(lr=settings.lr),
        "law": _law(judged),
        "foretold": {**asdict(judged.foretold), "interval": list(judged.foretold.interval)},
        "curve": judged.curve,
        "stream": {
            **done.counted,
            "held_out_pictures": by_size.shape[1],
            "held_out_sentences": done.num_held_out_sentences,
        },
        "cost": {
            "rows": [
                {"stage": name, **asdict(cost), "estimated_seconds": _estimated(done.timed, name)}
                for name, cost in costs.items()
            ],
            "total": asdict(total),
        },
        "wall_seconds": total.seconds,
    }
    with told_kindly(run.path):
        write_scaling_report(results, run.path / "report.html")
    log.stage("Law", formula(results))
    if done.counted["repeated"]:
        log.warn(f"{done.counted['repeated']:,} of {done.counted['sentences']:,} sentences came more than once: so few "
                 "pictures have no more; give more pictures or a smaller budget.")  # fmt: skip
    end_run(run, log, results, headline(results))
    return results


def _law(judged: Judged) -> dict[str, Any]:
    return {
        "has_floor": judged.has_floor,
        "chosen_by": judged.chosen_by,
        **asdict(judged.law),
        "intervals": {name: list(ends) for name, ends in judged.intervals.items()},
        "falls": judged.falls,
    }


def _size(
    sitting: Sitting[LVMTraining], member: Member, losses: np.ndarray, costs: Mapping[str, Cost]
) -> dict[str, Any]:
    course = [loss for _, loss in losses_of(sitting.run, member.name)]
    generator = numpy_generator(sitting.seed, "pictures")  # the same redraws for all sizes
    means = losses[generator.integers(0, len(losses), (_NUM_DRAWS, len(losses)))].mean(1)
    cost = costs.get(member.name)
    return {
        "name": member.size,
        "parameters": member.parameters,
        "trunk_parameters": member.trunk_parameters,
        "lr": member.lr,
        "loss": float(losses.mean()),
        "interval": np.percentile(means, [2.5, 97.5]).tolist(),
        "training_loss": float(np.mean(course[-max(1, len(course) // 10) :])),
        "seconds": cost.seconds if cost else None,
        "joules": cost.joules if cost else None,
    }


def _estimated(timed: Mapping[str, Any], stage: str) -> float | None:
    seconds = timed["seconds_per_step"].get(stage)
    return None if seconds is None else seconds * timed["steps"]


def command(asked: Mapping[str, Any], settings: ScaleLaw, run: RunFolder) -> str:
    """The command line that repeats this run."""
    words = ["beholder", "scale-law", "--data", asked["data"], "--tokenizer", asked["tokenizer"]]
    words += ["--out", str(run.path), "--sizes", *settings.sizes, "--budget", settings.budget]
    if settings.tasks is not None:
        words += ["--tasks", ",".join(settings.tasks)]
    words += ["--group", settings.group] if settings.group else []
    if settings.num_pictures != ScaleLaw().num_pictures:
        words += ["--pictures", str(settings.num_pictures)]
    return shlex.join([*words, "--seed", str(asked["seed"])])
