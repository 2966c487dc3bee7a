"""Stages: a language model of one's own learns the language; then the whole learns to speak of what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from beholder.models.gpt import GPT
from beholder.models.vision_language import VisionLanguage
from beholder.objectives.next_token import NextToken
from beholder.recipes import code_training
from beholder.recipes.describe.look import Seen
from beholder.recipes.describe.material import Asked, Material
from beholder.recipes.describe.parts import Language
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.describe.stream import DialogueStream, TextStream, stacked
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import Device
from beholder.runtime.seed import derive, seed_everything
from beholder.tokenizers.dialogues import DialogueRows
from beholder.train.best import KeepBest
from beholder.train.pace import Timed

LANGUAGE = "language"
"""The stage in which a language model of one's own learns the language."""
JOINING = "joining"
"""The stage in which the speaker learns to join phrases about parts of an image."""
_LENGTH = 64
VALIDATION = "nats a token, held out"
_NUM_LOOKED = 200


def learn_language(
    sitting: Sitting[DescribeTraining], material: Material, language: Language, rows: DialogueRows, num_steps: int
) -> GPT:
    """Fresh, and then trained on the texts alone for so many steps; a named one as it is."""
    if language.model is not None:
        return language.model
    seed_everything(sitting.seed, LANGUAGE)
    model = GPT(language.config)
    if num_steps:
        stream = TextStream.of(
            material.texts, rows, _LENGTH, sitting.settings.batch_size, derive(sitting.seed, LANGUAGE)
        )
        plan = code_training.plan_for(sitting.settings.lr, num_steps, derive(sitting.seed, LANGUAGE, "train"))
        code_training.fit_stage(
            sitting, model, NextToken(), stream, plan, stage=LANGUAGE, unit="nats a token", name="Language"
        )
    return model.cpu()


def stream_of(
    sitting: Sitting[DescribeTraining], asked: Sequence[Asked], seen: Seen, rows: DialogueRows,
    batch_size: int | None = None, stage: str = code_training.TRAINING,
) -> DialogueStream:  # fmt: skip
    """What is learned from in a stage."""
    settings = sitting.settings
    seed = derive(sitting.seed, "stream") if stage == code_training.TRAINING else derive(sitting.seed, "stream", stage)
    return DialogueStream(tuple(asked), seen, rows, settings, batch_size or settings.batch_size, seed)


def steps_for(sitting: Sitting[DescribeTraining], speaker: VisionLanguage, stream: DialogueStream) -> Timed:
    """How many steps the budget buys on this machine."""
    return code_training.steps_for(
        sitting.settings, speaker, NextToken(), lambda size: replace(stream, batch_size=size), sitting.device,
        "--batch-size",
    )  # fmt: skip


def fit(
    sitting: Sitting[DescribeTraining], looked: Sequence[Asked], speaker: VisionLanguage, stream: DialogueStream,
    num_steps: int, rates: Sequence[tuple[str, float]] = (), stage: str = code_training.TRAINING, name: str = "Train",
) -> dict[str, Any]:  # fmt: skip
    """Train the speaker in place, once; it ends with the weights that foretold best what it is to look at."""
    looked = looked[:_NUM_LOOKED]

    def probe(_: nn.Module, step: int) -> dict[str, float]:
        return {VALIDATION: float(np.mean(nats(speaker, looked, stream, sitting.device)))}

    kept = KeepBest(probe, VALIDATION, sitting.run.scratch(stage) / "best")
    every = max(1, num_steps // code_training.NUM_PROBES)
    seed = derive(sitting.seed, "train") if stage == code_training.TRAINING else derive(sitting.seed, "train", stage)
    lr = sitting.settings.lr * (sitting.settings.joining_rate if stage == JOINING else 1.0)
    plan = replace(code_training.plan_for(lr, num_steps, seed, every), rates=tuple(rates))
    story = code_training.fit_stage(
        sitting, speaker, NextToken(), stream, plan, [kept], stage=stage, unit="nats a token", kept=kept, name=name
    )
    return {**story, "answers": story["steps"] * stream.batch_size}


@torch.inference_mode()
def nats(
    speaker: VisionLanguage, asked: Sequence[Asked], stream: DialogueStream, device: Device
) -> Float32[np.ndarray, " n"]:
    """Mean nats a token of the first right answers to each."""
    found = []
    for first in range(0, len(asked), stream.batch_size):
        some = asked[first : first + stream.batch_size]
        batch = stacked([stream.rows.write(one.turns()) for one in some])
        tokens, weights = (batch[name].to(device.torch_device) for name in ("tokens", "weights"))
        with device.autocast():
            logits = speaker(tokens[:, :-1], stream.seen.shown(some).to(device.torch_device)).float()
        costs = nn.functional.cross_entropy(
            logits.transpose(1, 2), tokens[:, 1:].clamp_max(logits.shape[2] - 1), reduction="none"
        )
        weights = weights[:, 1:]
        found.append(((costs * weights).sum(1) / weights.sum(1)).cpu().numpy())
    return np.concatenate(found)
