"""Stage: the model learns sentences within its budget, with a look at held-out pictures on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from beholder.models.lvm import LVM, LVMConfig
from beholder.objectives.next_token import NextToken
from beholder.recipes import code_training
from beholder.recipes.lvm.settings import PAIRED, LVMTraining
from beholder.recipes.lvm.stream import SentenceStream
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import Device
from beholder.runtime.seed import numpy_generator, seed_everything
from beholder.tasks.visual_sentences import VisualSentences
from beholder.tokenizers.sentences import SentenceConfig
from beholder.train.pace import Timed
from beholder.trunk.transformer import TransformerConfig

_NUM_ASKED = 12
"""Held-out sentences of each task that a probe reads."""


def build_model(trunk: TransformerConfig, num_pictures: int, grammar: SentenceConfig, seed: int) -> LVM:
    """A fresh model for sentences of so many pictures."""
    seed_everything(seed, "model")
    length = grammar.length(num_pictures)
    return LVM(LVMConfig(grammar.num_codes, grammar.grid, grammar.vocabulary_size, length, trunk=trunk))


def steps_for(settings: LVMTraining, model: LVM, stream: SentenceStream, device: Device) -> Timed:
    """How many steps the budget buys on this machine."""

    def stream_of(batch_size: int) -> SentenceStream:
        return stream.with_settings(replace(settings, batch_size=batch_size))

    option = "fewer --pictures, a smaller --size, or (in Python) a batch_size of"
    return code_training.steps_for(settings, model, NextToken(), stream_of, device, option)


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
    speaker: VisualSentences,
    num_steps: int,
    sketch: Callable[[], np.ndarray | None],
) -> dict[str, Any]:
    """Train the model in place, once: later sittings load what came of it. `sketch` draws samples."""
    probe = Probe(stream, sitting.seed)
    story = code_training.fit(
        sitting, model, NextToken(), stream, num_steps, lambda: probe.look(speaker), sketch, verb="train lvm"
    )
    sentences = story["steps"] * sitting.settings.batch_size
    return {**story, "sentences": sentences, "tokens": sentences * model.longest}
