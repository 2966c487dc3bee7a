"""Sentences to learn from, as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int

from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.lvm.codes import code_pair
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.settings import PAIRED, WEIGHTS, LVMTraining
from beholder.runtime.seed import numpy_generator
from beholder.tokenizers.sentences import SentenceConfig, weigh_pictures, write_sentences
from beholder.types import Batch


class SentenceStream:
    """Endless sentences of the tasks that are learned, each drawn as often as its weight says."""

    def __init__(
        self, material: Material, tables: CodeTables, grammar: SentenceConfig, settings: LVMTraining, seed: int
    ) -> None:
        self.material, self.tables, self.grammar, self.settings, self.seed = material, tables, grammar, settings, seed
        shares = np.array([WEIGHTS[task] for task in material.tasks])
        self._shares = shares / shares.sum()
        self._places = {task: material.places(False, task) for task in ("plain", *PAIRED)}
        pair = weigh_pictures([settings.question_weight, 1.0] * (settings.num_pictures // 2), grammar)
        row = weigh_pictures([1.0] * settings.num_pictures, grammar)
        self._weights = {task: pair if task in PAIRED else row for task in material.tasks}

    def batch(self, step: int) -> Batch:
        """ "tokens": int64 B T; "weights": float B T, how much each counts as something to foretell."""
        generator = numpy_generator(self.seed, "sentences", step)
        chosen = generator.choice(len(self.material.tasks), self.settings.batch_size, p=self._shares)
        tasks = [self.material.tasks[index] for index in chosen]
        codes = np.stack([self.sentence(task, generator) for task in tasks])
        weights = np.stack([self._weights[task] for task in tasks])
        return {
            "tokens": torch.from_numpy(write_sentences(codes, self.grammar)),
            "weights": torch.from_numpy(weights),
        }

    def sentence(
        self, task: str, generator: np.random.Generator, last: int | None = None
    ) -> Int[np.ndarray, "pictures codes"]:
        """One sentence of training pictures; `last` is the place of another picture, which ends it as it is."""
        num, views = self.settings.num_pictures, self.settings.num_views
        if task in PAIRED:
            places = draw(self._places[task], num // 2, generator)
            turns = generator.integers(0, views, len(places))
            if last is not None:
                places[-1], turns[-1] = last, 0
            pairs = [code_pair(self.tables, task, int(p), int(v)) for p, v in zip(places, turns, strict=True)]
            return np.concatenate(pairs)
        places = self._row(task, num, generator, last)
        turns = generator.integers(0, views, num) if task != "frames" else np.zeros(num, np.int64)
        if last is not None:
            places[-1], turns[-1] = last, 0
        return np.stack([self.tables.plain(int(p), int(v)) for p, v in zip(places, turns, strict=True)])

    def _row(self, task: str, num: int, generator: np.random.Generator, last: int | None) -> np.ndarray:
        if task == "plain":
            return draw(self._places["plain"], num, generator)
        if task == "classes":
            classes = list(self.material.classes)
            name = classes[int(generator.integers(len(classes)))]
            if last is not None and self.material.samples[last].label in self.material.classes:
                name = self.material.samples[last].label or name
            return draw(self.material.classes[name], num, generator)
        series = self.material.frames[int(generator.integers(len(self.material.frames)))]
        first = int(generator.integers(0, len(series) - num + 1))
        return series[first : first + num].copy()


def draw(places: np.ndarray | Sequence[int], num: int, generator: np.random.Generator) -> np.ndarray:
    """So many of the places, none twice where there are enough."""
    return generator.choice(np.asarray(places), num, replace=len(places) < num)
