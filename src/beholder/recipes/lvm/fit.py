"""Stage: the model learns sentences within its budget, with a look at held-out pictures on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from beholder.models.lvm import LVM, LVMConfig
from beholder.objectives.next_token import NextToken
from beholder.recipes.adapt.pace import Timed, seconds_per_step
from beholder.recipes.adapt.settings import parse_budget
from beholder.recipes.lvm.settings import PAIRED, LVMTraining
from beholder.recipes.lvm.stream import SentenceStream
from beholder.recipes.sitting import Sitting
from beholder.recipes.trained_once import trained_once
from beholder.runtime.device import Device
from beholder.runtime.ledger import Ledger
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import numpy_generator, seed_everything
from beholder.tasks.visual_sentences import VisualSentences
from beholder.tokenizers.sentences import SentenceConfig
from beholder.train.loop import Plan, train
from beholder.train.step import StepReport
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

NUM_PROBES = 8
"""Looks on the way."""
_NUM_ASKED = 12
"""Held-out sentences of each task that a probe reads."""
_NUM_TIMED = 3


def build_model(trunk: TransformerConfig, num_pictures: int, grammar: SentenceConfig, seed: int) -> LVM:
    """A fresh model for sentences of so many pictures."""
    seed_everything(seed, "model")
    length = grammar.length(num_pictures)
    return LVM(LVMConfig(grammar.num_codes, grammar.grid, grammar.vocabulary_size, length, trunk=trunk))


def steps_for(settings: LVMTraining, model: LVM, stream: SentenceStream, device: Device) -> Timed:
    """How many steps the budget buys on this machine, from timed ones. Raises UserError for a budget of none."""
    budget = parse_budget(settings.budget)
    if budget.is_none:
        raise UserError(f"--budget {settings.budget}: nothing is learned in no time; give 12m, or '400 steps'.")
    num_timed = 1 if budget.steps else _NUM_TIMED
    seconds = seconds_per_step(copy.deepcopy(model), NextToken(), stream, device, num_timed)
    return Timed(budget.steps or max(1, int((budget.seconds or 0.0) / seconds)), seconds)


class Probe:
    """Nats a code of the last picture of held-out sentences, for each task; always the same sentences."""

    def __init__(self, stream: SentenceStream, seed: int) -> None:
        material = stream.material
        self.sentences: dict[str, np.ndarray] = {}
        for task in (*material.tasks, *material.left_out):
            places = material.places(True, task if task in PAIRED else "plain")
            if task == "frames" or not len(places):
                continue
            generator = numpy_generator(seed, "probe", task)
            asked = generator.choice(places, min(_NUM_ASKED, len(places)), replace=False)
            self.sentences[task] = np.stack([stream.sentence(task, generator, int(place)) for place in asked])

    def look(self, speaker: VisualSentences) -> dict[str, float]:
        """By task."""
        return {task: float(speaker.surprise(codes)[:, -1].mean()) for task, codes in self.sentences.items()}


def fit(
    sitting: Sitting[Any],
    model: LVM,
    stream: SentenceStream,
    plan: Plan,
    look: Callable[[int], Mapping[str, float]],
    stage: str = "training",
) -> Mapping[str, Any]:
    """Train the model in place, once: later sittings load what came of it. `look` is asked after so many steps and
    tells what held-out pictures cost."""
    story = trained_once(sitting.run, stage, model, lambda: _train(sitting, model, stream, plan, look, stage))
    model.to(sitting.device.torch_device).eval()
    return story


def _train(
    sitting: Sitting[Any],
    model: LVM,
    stream: SentenceStream,
    plan: Plan,
    look: Callable[[int], Mapping[str, float]],
    stage: str,
) -> dict[str, Any]:
    run, ledger = sitting.run, Ledger(sitting.run, stage)
    with sitting.log.progress("Train", plan.num_steps) as advance:

        def probe(_: nn.Module, step: int) -> Mapping[str, float]:
            told = look(step)
            run.record("probe", stage=stage, step=step, **told)
            return told

        def on_step(report: StepReport) -> None:
            run.record("step", stage=stage, step=report.step, **report.losses)
            ledger.on_step()
            advance(1, f"{report.losses['total']:.2f} nats a code")

        result = train(
            model, NextToken(), stream, plan=plan, device=sitting.device, folder=run.scratch(stage), probes=[probe],
            on_step=on_step,
        )  # fmt: skip
    ledger.close()
    return {
        "steps": result.num_steps,
        "sentences": result.num_steps * stream.settings.batch_size,
        "tokens": result.num_steps * stream.settings.batch_size * model.longest,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "probes": list(result.probes),
    }


def plan_for(lr: float, num_steps: int, probe_every: int, seed: int) -> Plan:
    """A short warm-up, then a cosine to a hundredth of the learning rate."""
    return Plan(
        num_steps=num_steps, lr=lr, num_warmup=max(1, num_steps // 20), weight_decay=0.05, seed=seed,
        probe_every=probe_every, checkpoint_every_seconds=20.0,
    )  # fmt: skip


def losses_of(run: RunFolder, stage: str = "training") -> list[tuple[int, float]]:
    """Step and loss of every step of a stage; of a step that was taken twice, after a kill, the last."""
    return sorted({entry["step"]: entry["total"] for entry in run.records("step") if entry["stage"] == stage}.items())
