"""Print the answers of a task, one line an image, for people or as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from beholder.runtime.log import Log
from beholder.tasks.embed import ImageInput, each
from beholder.types import Answer, UserError


def gather(inputs: Sequence[Path]) -> list[ImageInput]:
    """Files, and what is in folders. Raises UserError without inputs."""
    if not inputs:
        raise UserError("No image was named; give image files or folders.")
    return list(each(inputs))


def print_answers(answers: Iterable[Answer], line: Callable[[Answer], str], log: Log) -> None:
    """Print as they come. Raises UserError after the last one when not one image could be read."""
    num_answered = num_refused = 0
    for answer in answers:
        if answer.refused is not None:
            num_refused += 1
            log.result({"key": answer.key, "refused": answer.refused}, f"{answer.key}  refused: {answer.refused}")
            continue
        num_answered += 1
        value = {"key": answer.key, "label": answer.label, "score": answer.score, **answer.details}
        told = line(answer)
        shown = f"{answer.key}{told}" if told.startswith("\n") else f"{answer.key}  {told}"
        log.result({name: _plain(one) for name, one in value.items()}, shown)
    if not num_answered:
        if num_refused == 1:
            raise UserError("Nothing could be told of the image; the reason stands above.")
        raise UserError(f"Nothing could be told of any of the {num_refused:,} images; the reasons stand above.")


def ranking_of(answer: Answer) -> str:
    """Below each other: what was ranked, the best first."""
    ranking = answer.details["ranking"]
    return "".join(f"\n  {one['similarity']:+.3f}  {one['probability']:6.1%}  {one['text']}" for one in ranking)


def words_of(answer: Answer) -> str:
    """The caption, and what looking did for each of its words."""
    told = "  ".join(f"{one['word']} {one['nats']:+.1f}" for one in answer.details["words"])
    return f"{answer.label or ''}\n  {told}"


def _plain(value: object) -> object:
    """JSON knows no infinity: a threshold that cannot be promised is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
