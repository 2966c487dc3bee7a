"""Sheets of sentences: examples, question, the model's answer, the truth, a row each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.lvm.questions import Questions
from beholder.runtime.files import write_whole
from beholder.tasks.visual_sentences import VisualSentences

_GAP, _WIDE_GAP, _LEAST_SIDE = 3, 14, 72


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
    return _lay_out(rows, wide_after={2 * most, 2 * most + 1, 2 * most + 2})


def _lay_out(rows: list[list[np.ndarray]], wide_after: set[int]) -> np.ndarray:
    """On white; `wide_after` so many pictures the gap is wide."""
    side = len(rows[0][0])
    times = max(1, -(-_LEAST_SIDE // side))
    step = side * times
    lefts = [number * (step + _GAP) + (_WIDE_GAP - _GAP) * sum(number >= after for after in wide_after)
             for number in range(len(rows[0]))]  # fmt: skip
    whole = np.full((len(rows) * (step + _GAP) - _GAP, lefts[-1] + step, 3), 255, np.uint8)
    for number, row in enumerate(rows):
        top = number * (step + _GAP)
        for left, picture in zip(lefts, row, strict=True):
            whole[top : top + step, left : left + step] = picture.repeat(times, 0).repeat(times, 1)
    return whole


def stack(sheets: list[np.ndarray]) -> UInt8[np.ndarray, "H W 3"]:
    """Sheets of one width below each other."""
    gap = np.full((_WIDE_GAP, sheets[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for one in sheets for part in (one, gap)][:-1])


def as_png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def write_sheet(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Into a PNG file."""
    write_whole(path, lambda temporary: Image.fromarray(pixels).save(temporary, "PNG"))
