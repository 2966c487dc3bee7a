"""What is learned from: rows about images, with one of the right answers each, and the texts by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from beholder.data.decode import Limits, decode
from beholder.recipes.coded_pictures import tells_sides
from beholder.recipes.describe.look import Seen
from beholder.recipes.describe.material import Asked, joined
from beholder.recipes.describe.settings import DescribeTraining
from beholder.runtime.seed import numpy_generator
from beholder.tokenizers.dialogues import DialogueRows, Row, Turn
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.types import Batch, Sample, UserError


@dataclass(frozen=True)
class Drawn:
    """What one step learns from, before anything is seen."""

    asked: list[Asked]
    """A row each; with shots several are joined, each an example for those after it."""
    rows: list[Row]
    views: Int[np.ndarray, " B"]
    """Which of them are mirrored."""
    kept: Bool[np.ndarray, "B I S"]
    """Tokens of images that are shown; a blank stands for the others."""


@dataclass(frozen=True)
class Lessons:
    """Endless shuffled epochs over what is asked; each time another answer is drawn."""

    asked: tuple[Asked, ...]
    rows: DialogueRows
    settings: DescribeTraining
    num_tokens: int
    """Of an image, as the vision backbone gives them."""
    batch_size: int
    seed: int

    def draw(self, step: int) -> Drawn:
        """A function of seed and step."""
        settings = self.settings
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, ranks = np.divmod(places, len(self.asked))
        generator = numpy_generator(self.seed, "answers", step)
        chosen: list[Asked] = []
        for epoch in np.unique(epochs):
            order = numpy_generator(self.seed, "epoch", int(epoch)).permutation(len(self.asked))
            chosen += [self.asked[place] for place in order[ranks[epochs == epoch]]]
        num_each = 1 + int(generator.integers(0, settings.num_shots + 1))
        groups = [chosen[first : first + num_each] for first in range(0, len(chosen), num_each)]
        chosen, turns, written = [], [], []
        hidden: list[list[bool]] = []
        for group in groups:
            some, told, row = self._row(group, generator)
            chosen.append(joined(some))
            turns.append(told)
            written.append(row)
            draws = [(len(one.images), bool(generator.random() < one.hidden_share)) for one in some]
            hidden.append([is_hidden for count, is_hidden in draws for _ in range(count)])
        is_sided = [any(tells_sides(text) for turn in listed for text in turn) for listed in turns]
        views = generator.integers(0, settings.num_views, len(chosen)) * ~np.array(is_sided)
        shape = (len(chosen), max(len(one.images) for one in chosen), self.num_tokens)
        kept = generator.random(shape) >= settings.dropout
        kept &= generator.random(shape[:2])[..., None] >= settings.blank_share
        for row, listed in enumerate(hidden):
            kept[row, np.flatnonzero(listed)] = False
        return Drawn(chosen, written, views, kept)

    def _row(self, group: Sequence[Asked], generator: np.random.Generator) -> tuple[Sequence[Asked], list[Turn], Row]:
        """As many of the last ones as fit into one row, usually all."""
        turns = [one.turns(generator) for one in group]
        for first in range(len(group)):
            told = [turn for listed in turns[first:] for turn in listed]
            try:
                return group[first:], told, self.rows.write(told)
            except UserError:
                if first == len(group) - 1:
                    raise
        raise AssertionError("a group has something in it")


@dataclass(frozen=True)
class DialogueStream:
    """Lessons about images that were looked at once."""

    asked: tuple[Asked, ...]
    seen: Seen
    rows: DialogueRows
    settings: DescribeTraining
    batch_size: int
    seed: int

    @property
    def lessons(self) -> Lessons:
        num_tokens = self.seen.table.shape[2]
        return Lessons(self.asked, self.rows, self.settings, num_tokens, self.batch_size, self.seed)

    def batch(self, step: int) -> Batch:
        """ "tokens" and "weights" B T, of which answers alone count; "images" B I S C. A function of seed and step."""
        drawn = self.lessons.draw(step)
        images = self.seen.shown(drawn.asked, drawn.views)
        images = torch.where(torch.from_numpy(drawn.kept)[..., None], images, self.seen.mean)
        return {**stacked(drawn.rows), "images": images}


@dataclass(frozen=True)
class PixelStream:
    """The same lessons about images that are looked at in every step, by a vision backbone that learns."""

    lessons: Lessons
    samples: Sequence[Sample]
    pixels: PixelConfig
    limits: Limits

    def batch(self, step: int) -> Batch:
        """ "tokens" and "weights" B T; "pixels" N 3 H W, each image once; "places" B I, which of them a row shows;
        "kept" B I S. A function of seed and step."""
        drawn = self.lessons.draw(step)
        most = drawn.kept.shape[1]
        shown = [
            [(row, int(view)) for row in [*one.images, *[one.images[0]] * (most - len(one.images))]]
            for one, view in zip(drawn.asked, drawn.views, strict=True)
        ]
        numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pair for row in shown for pair in row))}
        images = [decode(self.samples[row], self.limits)[:, :: -1 if view else 1] for row, view in numbers]
        return {
            **stacked(drawn.rows),
            "pixels": prepare(images, self.pixels),
            "places": torch.tensor([[numbers[pair] for pair in row] for row in shown]),
            "kept": torch.from_numpy(drawn.kept),
        }


@dataclass(frozen=True)
class TextStream:
    """Pieces of one long text: everything that is said, each with its beginning and end, in a drawn order."""

    tokens: Int[np.ndarray, " n"]
    length: int
    batch_size: int
    seed: int

    @classmethod
    def of(cls, texts: Sequence[str], rows: DialogueRows, length: int, batch_size: int, seed: int) -> TextStream:
        """Of these texts; one shorter than `length` repeats them."""
        order = numpy_generator(seed, "texts").permutation(len(texts))
        begin = rows.words.special.begin
        tokens = [
            token
            for place in order
            for token in (*([] if begin is None else [begin]), *rows.words.numbers(f" {texts[place]}"), rows.end)
        ]
        repeated = np.tile(np.array(tokens), 1 + (length + 1) // len(tokens))
        return cls(repeated, length, batch_size, seed)

    def batch(self, step: int) -> Batch:
        """ "tokens" B T. A function of seed and step."""
        generator = numpy_generator(self.seed, "pieces", step)
        starts = generator.integers(0, len(self.tokens) - self.length, self.batch_size)
        return {"tokens": torch.from_numpy(self.tokens[starts[:, None] + np.arange(self.length)])}


def stacked(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows side by side, filled up with what counts for nothing."""
    longest = max(len(row.tokens) for row in rows)
    tokens, weights = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest)
    for at, row in enumerate(rows):
        tokens[at, : len(row.tokens)] = torch.tensor(row.tokens)
        weights[at, : len(row.tokens)] = torch.tensor(row.is_answer, dtype=torch.float32)
    return {"tokens": tokens, "weights": weights}
