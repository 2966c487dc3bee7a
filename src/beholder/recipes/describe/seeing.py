"""Stage: what sees learns from the images and what is said of them, together with a speaker that is then set aside."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from beholder.data.decode import decode
from beholder.models.describer import Describer
from beholder.models.gpt import GPT
from beholder.models.seen import SeenTokens
from beholder.objectives.seen_next_token import SeenNextToken
from beholder.recipes import code_training
from beholder.recipes.describe.fit import VALIDATION, nats
from beholder.recipes.describe.look import Seen
from beholder.recipes.describe.material import Asked, Material
from beholder.recipes.describe.parts import Language, Vision, build_speaker, choose_what_learns, rates_of
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.describe.stream import DialogueStream, Lessons, PixelStream
from beholder.recipes.sitting import Sitting
from beholder.runtime.log import duration
from beholder.runtime.seed import derive, seed_everything
from beholder.tokenizers.dialogues import DialogueRows
from beholder.tokenizers.pixels import prepare
from beholder.train.best import KeepBest
from beholder.trunk.lowrank import attach_low_rank, merge_low_rank

SEEING = "seeing"
"""The name of the stage."""
_NUM_LOOKED = 64


def learn_to_see(
    sitting: Sitting[DescribeTraining], material: Material, eye: Vision, tongue: Language, rows: DialogueRows,
    seen: Seen,
) -> Vision:  # fmt: skip
    """The eye, tuned, once. `seen` is what it saw before, which tells in which units a speaker reads it."""
    settings = sitting.settings
    seed_everything(sitting.seed, SEEING)
    spoken = GPT(tongue.config) if tongue.model is None else tongue.model
    speaker = build_speaker(settings, eye.tokens, tongue, copy.deepcopy(spoken), sitting.seed)
    learned = sorted({row for one in material.asked["train"] for row in one.images})
    speaker.measure(torch.from_numpy(seen.table[learned, 0]))
    if tongue.model is not None:
        choose_what_learns(speaker, settings)
    if settings.vision_tuning == "low-rank":
        attach_low_rank(eye.tokens.backbone, settings.rank)
    else:
        eye.tokens.backbone.requires_grad_(True)
    model = Describer(eye.tokens, speaker)
    seed = derive(sitting.seed, "stream", SEEING)
    lessons = Lessons(material.asked["train"], rows, settings, eye.tokens.num_tokens, settings.batch_size, seed)
    stream = PixelStream(lessons, material.samples, eye.pixels, sitting.limits)
    steps = sitting.run.resolve(SEEING, lambda: _steps(sitting, model, stream))
    looked = material.asked["validation"][:_NUM_LOOKED]

    def probe(_: nn.Module, step: int) -> dict[str, float]:
        return {VALIDATION: _nats(sitting, model, looked, stream)}

    kept = KeepBest(probe, VALIDATION, sitting.run.scratch(SEEING) / "best")
    every = max(1, steps // code_training.NUM_PROBES)
    plan = code_training.plan_for(settings.lr, steps, derive(sitting.seed, "train", SEEING), every)
    code_training.fit_stage(
        sitting, model, SeenNextToken(), stream, replace(plan, rates=_rates(tongue, settings)), [kept], stage=SEEING,
        unit="nats a token", kept=kept, name="See",
    )  # fmt: skip
    merge_low_rank(eye.tokens.backbone)
    return Vision(SeenTokens(eye.tokens.backbone.eval(), settings.side), eye.pixels, False)


def _steps(sitting: Sitting[DescribeTraining], model: Describer, stream: PixelStream) -> int:
    """That half of the budget, or what else the settings say, buys on this machine."""
    timed = code_training.steps_for(
        sitting.settings, model, SeenNextToken(),
        lambda size: replace(stream, lessons=replace(stream.lessons, batch_size=size)), sitting.device, "--batch-size",
    )  # fmt: skip
    steps = max(1, round(sitting.settings.seeing_share * timed.steps))
    sitting.log.stage("Estimate", f"{steps:,} steps of seeing, {duration(steps * timed.seconds_per_step)}")
    return steps


def _rates(tongue: Language, settings: DescribeTraining) -> tuple[tuple[str, float], ...]:
    spoken = tuple((name.replace("model.", "model.speaker.", 1), rate) for name, rate in rates_of(tongue, settings))
    is_slow = settings.vision_tuning == "full"
    return (*((("model.vision.", settings.vision_rate),) if is_slow else ()), *spoken)


@torch.inference_mode()
def _nats(
    sitting: Sitting[DescribeTraining], model: Describer, asked: Sequence[Asked], stream: PixelStream
) -> float:  # fmt: skip
    """Mean nats a token of right answers, as the eye sees now."""
    listed = sorted({row for one in asked for row in one.images})
    place = {row: at for at, row in enumerate(listed)}
    images = [decode(stream.samples[row], stream.limits) for row in listed]
    device, size = sitting.device, stream.lessons.batch_size
    told = []
    for first in range(0, len(images), size):
        pixels = prepare(images[first : first + size], stream.pixels).to(device.torch_device)
        with device.autocast():
            told.append(model.see(pixels).float().cpu())
    seen = Seen(torch.cat(told)[:, None].numpy(), model.speaker.seen_mean.cpu())
    moved = [replace(one, images=tuple(place[row] for row in one.images)) for one in asked]
    lessons = stream.lessons
    dialogues = DialogueStream(tuple(moved), seen, lessons.rows, lessons.settings, size, 0)
    return float(np.mean(nats(model.speaker, moved, dialogues, device)))
