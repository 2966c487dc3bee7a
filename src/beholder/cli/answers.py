"""Print the answers of a task, one line an image, for people or as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from beholder.runtime.log import Log
from beholder.tasks.embed import ImageInput, each
from beholder.types import Answer, UserError


def print_answers(
    inputs: Sequence[Path],
    run: Callable[[Iterable[ImageInput]], Iterator[Answer]],
    line: str,
    log: Log,
) -> None:
    """Ask `run` about all inputs and print. `line` is a format over label, score and the answer's details.

    Raises UserError without inputs, or after the last line when not one image could be read.
    """
    if not inputs:
        raise UserError("No image was named; give image files or folders after the model.")
    images = list(each(inputs))
    num_answered = 0
    for answer in run(images):
        if answer.refused is not None:
            log.result({"key": answer.key, "refused": answer.refused}, f"{answer.key}  refused: {answer.refused}")
            continue
        num_answered += 1
        value = {"key": answer.key, "label": answer.label, "score": answer.score, **answer.details}
        text = line.format(label=answer.label, score=answer.score, **answer.details)
        log.result({name: _plain(one) for name, one in value.items()}, f"{answer.key}  {text}")
    if not num_answered:
        if len(images) == 1:
            raise UserError("The image could not be read; the reason stands above.")
        raise UserError(f"None of the {len(images):,} images could be read; the reasons stand above.")


def _plain(value: object) -> object:
    """JSON knows no infinity: a threshold that cannot be promised is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
