"""The training loop: any model, any objective, resumed by calling it again.

A run is a pure function of its plan: each step draws from generators seeded by (seed, step), so that killing and
resuming gives the same bits as not stopping (on a CPU; GPUs may add numbers in another order).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from beholder.config import to_json
from beholder.data.stream import Stream, prefetch
from beholder.runtime.device import Device
from beholder.runtime.seed import seed_everything
from beholder.train.average import WeightAverage
from beholder.train.calibrate import calibrate, has_running_statistics, keep_statistics
from beholder.train.optimizer import build_optimizer, named_parameters
from beholder.train.schedule import warmup_cosine
from beholder.train.state import TrainState, find_checkpoints, load_checkpoint, read_notes, save_checkpoint
from beholder.train.step import StepReport, move_batch, take_step
from beholder.types import UserError

Probe = Callable[[nn.Module, int], Mapping[str, float]]
"""Looks at the model after that many steps and gives numbers; it may raise StopTraining."""


_NUM_CALIBRATION_BATCHES = 8


class StopTraining(Exception):
    """Raised by a probe to end the run now, with the reason as its message."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train, and when to look and to save."""

    num_steps: int
    lr: float = 1e-3
    """Highest learning rate."""
    num_warmup: int = 0
    """Steps in which the learning rate rises."""
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    """Each block learns this many times as fast as the one above it."""
    rates: tuple[tuple[str, float], ...] = ()
    """Beginnings of parameters' names, of those that are "model.…", and how many times as fast these learn; of several
    the last counts."""
    final_lr: float = 0.01
    """Share of `lr` at which the cosine ends."""
    num_micro_batches: int = 1
    """Parts into which a batch is cut to save memory."""
    max_gradient_norm: float = 1.0
    average_momentum: float = 0.0
    """Of the weights' moving average; 0 keeps none."""
    keeps_statistics: bool = False
    """Whether batch norms keep the running statistics that they came with; for weights trained elsewhere."""
    seed: int = 0
    probe_every: int = 0
    """Steps between probes; 0 probes at the end only."""
    checkpoint_every_seconds: float = 60.0
    """Least time between checkpoints; it does not change the numbers."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    num_steps: int
    """Steps taken, over all sittings."""
    resumed_from: int
    """The step at which this sitting began; 0 for a fresh run."""
    stopped: str | None
    """Why a probe ended the run early, or None."""
    losses: Mapping[str, float]
    """Of the last step."""
    probes: tuple[Mapping[str, float], ...]
    """Each probe's numbers, with "step"."""
    average: nn.Module | None
    """The averaged model, when the plan asks for it."""


@dataclass
class _Course:
    """What changes while a run goes on, beside the tensors: the JSON part of a checkpoint."""

    step: int = 0
    stopped: str | None = None
    losses: dict[str, float] = field(default_factory=dict)
    probes: list[dict[str, float]] = field(default_factory=list)


def train(
    model: nn.Module,
    objective: Any,
    stream: Stream,
    *,
    plan: Plan,
    device: Device,
    folder: Path,
    probes: Sequence[Probe] = (),
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> TrainResult:
    """Train `model` (in place) by `plan`, with checkpoints in `folder`; an unfinished run there goes on.

    Moves model and objective to the device. Calling it again on a finished run loads the final weights and returns the
    same result. Raises UserError when the folder holds a run of another plan or model, and Diverged when the loss
    is no longer a number.
    """
    model.to(device.torch_device)
    objective.to(device.torch_device)
    state, course = _prepare(model, objective, plan, folder)
    resumed_from = course.step
    saved_at = time.monotonic()
    with contextlib.closing(prefetch(stream, course.step)) as batches:
        while course.step < plan.num_steps and course.stopped is None:
            report = _advance(state, plan, course.step, next(batches), device)
            course.step += 1
            course.losses = dict(report.losses)
            on_step(report)
            is_last = course.step == plan.num_steps
            if is_last or (plan.probe_every and course.step % plan.probe_every == 0):
                if not plan.keeps_statistics:
                    _calibrate(state, stream, device)
                _probe(state, probes, course)
            is_due = time.monotonic() - saved_at >= plan.checkpoint_every_seconds
            if is_last or is_due or course.stopped is not None:
                save_checkpoint(state, folder, course.step, {"plan": _identity(plan), "course": to_json(course)})
                saved_at = time.monotonic()
    model.eval()
    average = None if state.average is None else state.average.model
    return TrainResult(course.step, resumed_from, course.stopped, course.losses, tuple(course.probes), average)


def _prepare(model: nn.Module, objective: Any, plan: Plan, folder: Path) -> tuple[TrainState, _Course]:
    parameters = named_parameters(model, objective)
    optimizer = build_optimizer(
        parameters, lr=plan.lr, weight_decay=plan.weight_decay, layer_decay=plan.layer_decay, rates=plan.rates
    )
    average = WeightAverage(model, plan.average_momentum) if plan.average_momentum else None
    state = TrainState(model, objective, optimizer, parameters, average)
    steps = find_checkpoints(folder)
    if not steps:
        return state, _Course()
    notes = read_notes(folder, steps[-1])
    if notes["plan"] != _identity(plan):
        changed = next(name for name, value in _identity(plan).items() if notes["plan"].get(name) != value)
        raise UserError(
            f"{folder} holds a run with {changed}={notes['plan'].get(changed)!r}, now it is "
            f"{_identity(plan)[changed]!r}; repeat the first settings to resume, or choose another folder."
        )
    load_checkpoint(state, folder, steps[-1])
    return state, _Course(**notes["course"])


def _identity(plan: Plan) -> dict[str, Any]:
    """The part of the plan that decides the numbers."""
    values = to_json(plan)
    del values["checkpoint_every_seconds"]
    return values


def _advance(state: TrainState, plan: Plan, step: int, batch: Any, device: Device) -> StepReport:
    seed_everything(plan.seed, "step", step)
    state.model.train()
    state.objective.train()
    if plan.keeps_statistics:
        keep_statistics(state.model)
        keep_statistics(state.objective)
    multiplier = warmup_cosine(step, plan.num_steps, plan.num_warmup, plan.final_lr)
    for group in state.optimizer.param_groups:
        group["lr"] = group["base_lr"] * multiplier
    report = take_step(
        state.model,
        state.objective,
        state.optimizer,
        move_batch(batch, device),
        step=step,
        device=device,
        num_micro_batches=plan.num_micro_batches,
        max_gradient_norm=plan.max_gradient_norm,
    )
    state.objective.after_step(state.model, (step + 1) / plan.num_steps)  # type: ignore[operator]
    if state.average is not None:
        state.average.update(state.model, step)
    return report


def _calibrate(state: TrainState, stream: Stream, device: Device) -> None:
    """Fresh batch statistics from the first batches of the stream, always the same ones, so that resuming changes
    nothing; training itself never reads them.
    """
    for model in filter(has_running_statistics, [state.model] + ([state.average.model] if state.average else [])):
        calibrate(model, (stream.batch(step)["views"][0] for step in range(_NUM_CALIBRATION_BATCHES)), device)


def _probe(state: TrainState, probes: Sequence[Probe], course: _Course) -> None:
    """Ask every probe, in evaluation mode; the first StopTraining ends the run after the others have spoken."""
    state.model.eval()
    told: dict[str, float] = {"step": float(course.step)}
    for probe in probes:
        try:
            told.update(probe(state.model, course.step))
        except StopTraining as reason:
            course.stopped = course.stopped or str(reason)
    if probes:
        course.probes.append(told)
