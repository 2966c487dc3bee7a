"""Training of a model that reads codes: how many steps the budget buys, and the steps, with samples along the way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import nn

from beholder.data.stream import Stream
from beholder.models.dalle import TextToImage
from beholder.models.lvm import LVM
from beholder.models.maskgit import MaskGIT
from beholder.recipes.budget import parse_budget
from beholder.recipes.sitting import Sitting
from beholder.recipes.trained_once import trained_once
from beholder.runtime.device import Device
from beholder.runtime.energy import Cost
from beholder.runtime.ledger import Ledger
from beholder.runtime.memory import in_memory
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import derive, seed_everything
from beholder.tasks.picture_codes import PictureCodes
from beholder.tasks.provenance import describe_origin, write_picture
from beholder.train.best import KeepBest
from beholder.train.loop import Plan, Probe, train
from beholder.train.pace import Timed, seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import StepReport
from beholder.trunk.init import initialise_like

TRAINING = "training"
"""The stage of a run that trains one model."""
NUM_PROBES = 8
"""Looks on the way."""
_NUM_TIMED = 3
_MOST_POINTS = 200


@runtime_checkable
class CodeTraining(Protocol):
    """What such a recipe's settings have in common."""

    @property
    def budget(self) -> str:
        """A time such as "90s", "5m", "2h", or "400 steps"."""
        ...

    @property
    def batch_size(self) -> int: ...

    @property
    def lr(self) -> float: ...


def begin_with_codes(model: LVM | MaskGIT | TextToImage, pictures: PictureCodes, seed: int) -> None:
    """Let the fresh model's table of codes know what the codec's codes look like."""
    seed_everything(seed, "codes")
    initialise_like(model.code_table, pictures.points.cpu())


def steps_for(
    settings: CodeTraining,
    model: nn.Module,
    objective: nn.Module,
    make_stream: Callable[[int], Stream],
    device: Device,
    option: str = "batch_size",
) -> Timed:
    """How many steps the budget buys on this machine, from timed ones. `make_stream` gives one of that batch size.

    Raises UserError for a budget of none, and where memory does not hold a batch, with the `option` that would mend it.
    """
    budget = parse_budget(settings.budget, needed=True)

    def seconds(batch_size: int, num_timed: int) -> float:
        return seconds_per_step(
            copy.deepcopy(model), copy.deepcopy(objective), make_stream(batch_size), device, num_timed
        )

    num_timed = 1 if budget.steps else _NUM_TIMED
    each = in_memory(lambda size: seconds(size, num_timed), settings.batch_size, "rows of a batch", option)
    return Timed(budget.steps or max(1, int((budget.seconds or 0.0) / each)), each)


def fit(
    sitting: Sitting[Any],
    model: nn.Module,
    objective: nn.Module,
    stream: Stream,
    num_steps: int,
    look: Callable[[], Mapping[str, float]],
    sketch: Callable[[], np.ndarray | None],
    unit: str = "nats a code",
    best_by: str | None = None,
    *,
    verb: str,
    texts: Sequence[str] = (),
) -> dict[str, Any]:
    """Train the model of the run in place, as `fit_stage`. `look` gives figures of held-out pictures, `sketch` a sheet
    of samples, drawn for the `texts`, which is written with where it comes from; both are asked now and then. The model
    ends with the weights at which the figure of `look` called `best_by` was lowest, else with the last."""
    samples = sitting.run.path / "samples"
    samples.mkdir(exist_ok=True)

    def probe(_: nn.Module, step: int) -> Mapping[str, float]:
        told = look()
        sheet, name = sketch(), f"step-{step:06d}"
        if sheet is not None:
            origin = describe_origin(verb, f"unfinished: {name}", sitting.seed, list(texts))
            write_picture(samples / f"{name}.png", sheet, origin)
        return told

    every = max(1, num_steps // NUM_PROBES)
    plan = plan_for(sitting.settings.lr, num_steps, derive(sitting.seed, "train"), every)
    kept = None if best_by is None else KeepBest(probe, best_by, sitting.run.scratch(TRAINING) / "best")
    return fit_stage(sitting, model, objective, stream, plan, [kept or probe], unit=unit, kept=kept)


def fit_stage(
    sitting: Sitting[Any],
    model: nn.Module,
    objective: nn.Module,
    stream: Stream,
    plan: Plan,
    probes: Sequence[Probe] = (),
    stage: str = TRAINING,
    unit: str = "nats a code",
    kept: KeepBest | None = None,
    name: str = "Train",
) -> dict[str, Any]:
    """Train the model in place, once: later sittings load what came of it. The story is JSON values. `unit` is that of
    the loss; `kept`, one of the probes, has the weights that the model ends with; `name` is told on the console."""

    def work() -> dict[str, Any]:
        story = _train(sitting, model, objective, stream, plan, probes, stage, unit, name)
        return story if kept is None else {**story, "kept_step": kept.restore(model)}

    story = trained_once(sitting.run, stage, model, work)
    model.to(sitting.device.torch_device).eval()
    return story


def _train(
    sitting: Sitting[Any],
    model: nn.Module,
    objective: nn.Module,
    stream: Stream,
    plan: Plan,
    probes: Sequence[Probe],
    stage: str,
    unit: str,
    name: str,
) -> dict[str, Any]:
    run, ledger = sitting.run, Ledger(sitting.run, stage)
    with sitting.log.progress(name, plan.num_steps, steps_taken(run.scratch(stage))) as advance:

        def on_step(report: StepReport) -> None:
            run.record("step", stage=stage, step=report.step, **report.losses)
            ledger.on_step()
            advance(1, f"{report.losses['total']:.2f} {unit}")

        result = train(
            model, objective, stream, plan=plan, device=sitting.device, folder=run.scratch(stage), probes=probes,
            on_step=on_step,
        )  # fmt: skip
    ledger.close()
    return {
        "steps": result.num_steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "probes": list(result.probes),
    }


def plan_for(lr: float, num_steps: int, seed: int, probe_every: int = 0) -> Plan:
    """The course of such a training: a short warm-up, then a cosine."""
    return Plan(
        num_steps=num_steps, lr=lr, num_warmup=max(1, num_steps // 20), weight_decay=0.05, seed=seed,
        probe_every=probe_every, checkpoint_every_seconds=20.0,
    )  # fmt: skip


def course(run: RunFolder, story: Mapping[str, Any], title: str, untitled: str = "") -> dict[str, Any]:
    """What a report tells of the training: steps, seconds, losses and probes, each of these by its `title` and name,
    but the one called `untitled` by its name alone."""
    losses = losses_of(run)
    costs, probes = run.costs(), story["probes"]
    names = [name for name in (probes[-1] if probes else {}) if name != "step"]
    return {
        "steps": story["steps"],
        "kept_step": story.get("kept_step"),
        "parameters": story["parameters"],
        "seconds": costs[TRAINING].seconds if TRAINING in costs else None,
        "losses": [list(point) for point in losses[:: max(1, len(losses) // _MOST_POINTS)]],
        "probes": [
            {
                "name": name.capitalize() if name == untitled else f"{title}, {name}",
                "values": [[one["step"], one[name]] for one in probes],
            }
            for name in names
        ],
    }


def costs_of(run: RunFolder, estimated: Mapping[str, float]) -> dict[str, Any]:
    """What a report tells of the costs: each stage's beside the seconds that were estimated, and all of them."""
    costs = run.costs()
    rows = [{"stage": name, **asdict(cost), "estimated_seconds": estimated.get(name)} for name, cost in costs.items()]
    return {"rows": rows, "total": asdict(sum(costs.values(), Cost()))}


def losses_of(run: RunFolder, stage: str = TRAINING) -> list[tuple[int, float]]:
    """Step and loss of every step of a stage; of a step that was taken twice, after a kill, the last."""
    return sorted({entry["step"]: entry["total"] for entry in run.records("step") if entry["stage"] == stage}.items())
