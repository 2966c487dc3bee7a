"""Print the answers of a task, one line an image, for people or as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from beholder.data.sources import read_source
from beholder.runtime.log import Log
from beholder.types import Answer, Sample, UserError


def print_answers(
    inputs: Sequence[Path],
    run: Callable[[Iterable[Sample]], Iterator[Answer]],
    line: str,
    log: Log,
) -> None:
    """Ask `run` about all inputs and print. `line` is a format over label, score and the answer's details.

    Raises UserError without inputs, or after the last line when not one image could be read.
    """
    if not inputs:
        raise UserError("No image was named; give image files or folders after the model.")
    samples = list(_samples(inputs))
    num_answered = 0
    for answer in run(samples):
        if answer.refused is not None:
            log.result({"key": answer.key, "refused": answer.refused}, f"{answer.key}  refused: {answer.refused}")
            continue
        num_answered += 1
        value = {"key": answer.key, "label": answer.label, "score": answer.score, **answer.details}
        text = line.format(label=answer.label, score=answer.score, **answer.details)
        log.result({name: _plain(one) for name, one in value.items()}, f"{answer.key}  {text}")
    if not num_answered:
        raise UserError(f"None of the {len(samples)} images could be read; the reasons stand above.")


def _samples(inputs: Sequence[Path]) -> Iterator[Sample]:
    for path in inputs:
        if path.is_dir():
            yield from (
                Sample(key=str(path / one.key), path=one.path, data=one.data) for one in read_source(path).samples
            )
        else:
            yield Sample(key=str(path), path=path)


def _plain(value: object) -> object:
    """JSON knows no infinity: a threshold that cannot be promised is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
