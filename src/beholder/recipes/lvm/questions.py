"""Held-out questions with examples from the training pictures, as a user's prompt would have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.lvm.codes import code_pair, sides
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.settings import PAIRED
from beholder.recipes.lvm.stream import SentenceStream, draw
from beholder.runtime.seed import numpy_generator

_SMALL = 16
"""Side at which pictures are compared to find the nearest."""


@dataclass(frozen=True)
class Questions:
    """Questions of one task, by the places of their pictures."""

    task: str
    asked: Int[np.ndarray, " q"]
    examples: Int[np.ndarray, "q e"]
    """Training pictures, drawn at random."""
    nearest: Int[np.ndarray, "q e"]
    """The training pictures most like each question, the nearest first."""

    def with_nearest(self) -> Questions:
        """The same questions with the most similar pictures as examples, the nearest right before the question."""
        return replace(self, examples=self.nearest[:, ::-1])

    def prompt(
        self, tables: CodeTables, num_examples: int, *, task: str | None = None, is_shuffled: bool = False
    ) -> Int[np.ndarray, "q pictures codes"]:
        """Examples and question. `task`: the examples show another one; shuffled: each example has the answer of the
        next one."""
        rows = []
        for place, examples in zip(self.asked.tolist(), self.examples.tolist(), strict=True):
            shown = examples[:num_examples]
            pairs = [code_pair(tables, task or self.task, one, 0) for one in shown]
            answers = [pair[1] for pair in pairs]
            if is_shuffled:
                answers = answers[1:] + answers[:1]
            told = [part for pair, answer in zip(pairs, answers, strict=True) for part in (pair[0], answer)]
            rows.append(np.stack([*told, code_pair(tables, self.task, place, 0)[0]]))
        return np.stack(rows)

    def answers(self, tables: CodeTables) -> Int[np.ndarray, "q codes"]:
        """The true answers, as codes."""
        return self.told(tables, self.asked, 1)

    def told(self, tables: CodeTables, places: np.ndarray, side: int) -> Int[np.ndarray, "q codes"]:
        """Questions (side 0) or answers (side 1) of those places, as codes."""
        return np.stack([code_pair(tables, self.task, int(place), 0)[side] for place in places])

    def pictures(self, tables: CodeTables, places: Sequence[int] | np.ndarray, side: int) -> np.ndarray:
        """Questions (side 0) or answers (side 1) of those places, as pictures."""
        return np.stack([tables.squares[sides(self.task)[side]][int(place)] for place in places])


def ask_all(stream: SentenceStream, seed: int) -> list[Questions]:
    """Of every task with answers, learned or left out, that held-out pictures serve."""
    material, settings = stream.material, stream.settings
    names = [task for task in PAIRED if task in {*material.tasks, *material.left_out}]
    most = settings.num_pictures // 2 - 1
    found = [ask(material, stream.tables, task, settings.num_judged, most, seed) for task in names]
    return [one for one in found if one is not None]


def ask(
    material: Material, tables: CodeTables, task: str, num_asked: int, num_examples: int, seed: int
) -> Questions | None:
    """At most so many questions; None where no held-out picture serves the task. Masks without anything in them are
    not asked: what cannot be met cannot be judged."""
    asked, known = material.places(True, task), material.places(False, task)
    if task == "masks":
        asked = asked[[bool(tables.squares["masks"][place].any()) for place in asked]] if len(asked) else asked
        known = known[[bool(tables.squares["masks"][place].any()) for place in known]] if len(known) else known
    if not len(asked) or len(known) < num_examples:
        return None
    generator = numpy_generator(seed, "questions", task)
    asked = np.sort(generator.choice(asked, min(num_asked, len(asked)), replace=False))
    examples = np.stack([draw(known, num_examples, generator) for _ in asked])
    questions = tables.squares[sides(task)[0]]
    seen = _thumbnails(questions, known)
    order = np.argsort(-(_thumbnails(questions, asked) @ seen.T), axis=1, kind="stable")
    nearest = known[order[:, :num_examples]]
    return Questions(task, asked, examples, nearest)


def _thumbnails(squares: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pictures at 16 x 16, less their mean, of unit length: what cosines compare."""
    side = squares.shape[1]
    edges = np.linspace(0, side, min(_SMALL, side) + 1).astype(int)
    rows = []
    for place in places:
        picture = squares[int(place)].astype(np.float32)
        blocks = np.add.reduceat(np.add.reduceat(picture, edges[:-1], axis=0), edges[:-1], axis=1).ravel()
        blocks -= blocks.mean()
        rows.append(blocks / max(float(np.linalg.norm(blocks)), 1e-6))
    return np.stack(rows)
