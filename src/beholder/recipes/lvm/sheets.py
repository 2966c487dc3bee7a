"""Sheets of sentences: examples, question, the model's answer, the truth, a row each."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.lvm.questions import Questions
from beholder.recipes.rows_of_pictures import lay_out
from beholder.tasks.visual_sentences import VisualSentences


def sheet(
    questions: Questions, tables: CodeTables, speaker: VisualSentences, num_rows: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Questions from the first on. A wide gap stands after the examples, and before and after the model's answer."""
    chosen = Questions(
        questions.task, questions.asked[:num_rows], questions.examples[:num_rows], questions.nearest[:num_rows]
    )
    most = chosen.examples.shape[1]
    painted = speaker.pictures.decode(speaker.answer(chosen.prompt(tables, most)))
    asked, truth = (chosen.pictures(tables, chosen.asked, side) for side in (0, 1))
    rows = []
    for row in range(len(chosen.asked)):
        shown = [chosen.pictures(tables, chosen.examples[row], side) for side in (0, 1)]
        examples = [picture for pair in zip(*shown, strict=True) for picture in pair]
        rows.append([*examples, asked[row], painted[row], truth[row]])
    return lay_out(rows, wide_after={2 * most, 2 * most + 1, 2 * most + 2})
