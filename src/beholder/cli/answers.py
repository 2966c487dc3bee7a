"""Print the answers of a task, one line an image, for people or as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from beholder.data.decode import Limits
from beholder.pretrained.load import load_own
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.tasks.embed import each
from beholder.types import Answer, UserError


def print_answers(
    task: Callable[..., Iterator[Answer]],
    model: Path,
    inputs: Sequence[Path],
    line: str,
    *,
    device: str,
    threads: int | None,
    max_pixels: int,
    json: bool,
) -> None:
    """Load the model, ask it about all inputs and print. `line` is a format over label, score and answer's details.

    Raises UserError without inputs, or after the last line when not one image could be read.
    """
    if not inputs:
        raise UserError("No image was named; give image files or folders after the model.")
    log, bundle, picked = Log(as_json=json), load_own(model), pick_device(device, threads)
    images = list(each(inputs))
    num_answered = 0
    for answer in task(bundle, images, picked, Limits(max_pixels=max_pixels)):
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
