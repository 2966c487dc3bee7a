"""Stage: what is said of which images, in parts without a common image, and what is seen in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int

from beholder.data.conversations import MARK, without_marks
from beholder.data.curate import curate
from beholder.data.dialogues import Dialogue, Dialogues, Exchange, read_dialogues
from beholder.data.split import combine_groups
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.pair_source import FEWEST, hash_of, parts_of
from beholder.recipes.sitting import Sitting
from beholder.runtime.log import counted
from beholder.tokenizers.dialogues import DialogueRows, Turn
from beholder.types import Sample, UserError

Part = Literal["train", "validation", "test"]
_PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Asked:
    """What is asked of images at once, and what is right to say: one exchange, or a whole row of them."""

    images: tuple[int, ...]
    """Rows of the samples, in the order of the marks."""
    exchanges: tuple[Exchange, ...]
    parts: tuple[int | None, ...] = ()
    """Which part of each image is shown, None for the whole; nothing: all are whole."""
    hidden_share: float = 0.0
    """Of the times that it is learned from in which no image is shown, so that what is told of them has to do."""

    @property
    def last(self) -> Exchange:
        """What is asked after all else."""
        return self.exchanges[-1]

    def turn_by_turn(self) -> list[Asked]:
        """Of a conversation each question after the true turns before it, with the images that are shown until then."""
        found = []
        for count in range(1, len(self.exchanges) + 1):
            some = self.exchanges[:count]
            num_images = sum(one.question.count(MARK) for one in some)
            found.append(replace(self, images=self.images[:num_images], exchanges=some, parts=self.parts[:num_images]))
        return found

    @property
    def shown(self) -> tuple[tuple[int, int | None], ...]:
        """Each image's row, and its part."""
        return tuple(zip(self.images, self.parts or [None] * len(self.images), strict=True))

    def turns(self, generator: np.random.Generator | None = None) -> list[Turn]:
        """With one of the right answers each: a drawn one, or the first."""
        return [
            (one.question, one.answers[0 if generator is None else int(generator.integers(len(one.answers)))])
            for one in self.exchanges
        ]


def joined(asked: Sequence[Asked]) -> Asked:
    """One after the other in one row: the first are examples for the last."""
    shown = [pair for one in asked for pair in one.shown]
    return Asked(
        tuple(row for row, _ in shown), tuple(one for each in asked for one in each.exchanges),
        tuple(part for _, part in shown),
    )  # fmt: skip


@dataclass(frozen=True)
class Material:
    """Samples that can be read, and what is said of them."""

    description: str
    kind: str
    """ "captions", "questions" or "conversations"."""
    samples: tuple[Sample, ...]
    groups: Int[np.ndarray, " n"]
    """Samples of one group look alike, or belong together."""
    asked: dict[Part, tuple[Asked, ...]]
    facts: dict[str, object]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Everything that is said in the part that is learned from."""
        return tuple(
            text
            for one in self.asked["train"]
            for exchange in one.exchanges
            for text in (without_marks(exchange.question), *exchange.answers)
            if text
        )


def gather(sitting: Sitting[DescribeTraining], language: str | None) -> Material:
    """Read and curate the data, and part them: a fifth for the test, a fifth for validation, near-duplicates together;
    parts that the data name are kept where there are all three.

    Raises UserError for fewer than 20 images in a part, and where everything has one answer.
    """
    found = read_dialogues(sitting.data, language)
    sitting.log.stage("Read", found.source.description)
    curation = curate(
        found.source, sitting.run.scratch("survey"), limits=sitting.limits, num_workers=sitting.device.num_threads,
        log=sitting.log, quarantine_file=sitting.run.path / "quarantine.jsonl",
    )  # fmt: skip
    if curation.quarantine:
        first, listed = curation.quarantine[0], sitting.run.path / "quarantine.jsonl"
        sitting.log.warn(
            f"set aside: {counted(len(curation.quarantine), 'input')}, first {first.key} ({first.reason}); {listed} "
            "has all"
        )
    samples = curation.samples
    groups = combine_groups(curation.cluster, np.array([hash_of(one.group or one.key) for one in samples]))
    parts = parts_of(samples, groups, sitting.seed)
    asked, num_astride = _parted(found, samples, parts)
    if num_astride:
        sitting.log.warn(f"left out, since their images are of two parts: {counted(num_astride, 'dialogue')}")
    for name in _PARTS:
        count = len({row for one in asked[name] for row in one.images})
        if count < FEWEST:
            raise UserError(
                f"{sitting.data} has {count} images with something said about them for the {name} part and at least "
                f"{FEWEST} are needed; give more."
            )
    answers = {text for one in asked["train"] for exchange in one.exchanges for text in exchange.answers}
    if len(answers) < 2:
        raise UserError(f"{sitting.data} says one thing only, {next(iter(answers))!r}; give answers that differ.")
    facts = {
        "description": found.source.description,
        "num_found": len(samples) + len(curation.quarantine),
        "num_kept": len(samples),
        "num_quarantined": len(curation.quarantine),
        "split": {name: len({row for one in asked[name] for row in one.images}) for name in _PARTS},
        "notes": [*found.source.notes, *curation.notes],
    }
    return Material(found.source.description, found.kind, samples, groups, asked, facts)


def fitting(material: Material, rows: DialogueRows) -> tuple[Material, int]:
    """Without what is longer than the model reads, with its longest answers; and how much that is."""

    def fits(one: Asked) -> bool:
        turns = [(exchange.question, max(exchange.answers, key=len)) for exchange in one.exchanges]
        try:
            rows.write(turns)
        except UserError:
            return False
        return True

    rows.end  # noqa: B018 (a tokenizer without an end is no question of length)
    kept = {name: tuple(one for one in asked if fits(one)) for name, asked in material.asked.items()}
    num_left = sum(len(asked) - len(kept[name]) for name, asked in material.asked.items())
    short = next((name for name in _PARTS if not kept[name]), None)
    if short is not None:
        raise UserError(
            f"Nothing of what is said in the {short} part fits into the {rows.longest or 0:,} tokens that this "
            "language model reads; choose another, or shorter texts."
        )
    return replace(material, asked=kept), num_left


def _parted(
    found: Dialogues, samples: Sequence[Sample], parts: np.ndarray
) -> tuple[dict[Part, tuple[Asked, ...]], int]:
    """Dialogues by the part of their images, and how many show images of two."""
    row_of = {sample.key: row for row, sample in enumerate(samples)}
    asked: dict[Part, list[Asked]] = {name: [] for name in _PARTS}
    num_astride = 0
    for dialogue in found.dialogues:
        rows = tuple(row_of.get(key, -1) for key in dialogue.images)
        if -1 in rows:  # set aside with its image
            continue
        if len({parts[row] for row in rows}) > 1:
            num_astride += 1
            continue
        asked[parts[rows[0]]] += _asked_of(dialogue, rows)
    return {name: tuple(listed) for name, listed in asked.items()}, num_astride


def _asked_of(dialogue: Dialogue, rows: tuple[int, ...]) -> list[Asked]:
    if dialogue.is_row:
        return [Asked(rows, dialogue.exchanges)]
    return [Asked(rows, (exchange,)) for exchange in dialogue.exchanges]
