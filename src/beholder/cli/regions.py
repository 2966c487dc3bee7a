"""How `describe` tells what was found in parts of an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.cli.options import DEFAULT_PAIRS
from beholder.types import Answer, UserError

if TYPE_CHECKING:
    from beholder.runtime.log import Log
    from beholder.tasks.embed import ImageInput
    from beholder.tasks.regions import Described

WITHOUT_A_CAPTIONER = (
    "embedded writes no captions; what it can name in parts of each image is told instead. For captions train a model, "
    "beholder train describe --data PHOTOS --out runs/describe, and name it by --model; or give descriptions to be "
    "ranked by --candidates FILE."
)


def print_regions(inputs: list[ImageInput], model: str, log: Log, **asked: Any) -> None:
    """What is found in each image; arguments as of `describe_by_regions`."""
    from beholder.cli.answers import print_answers
    from beholder.recipes.describe.chain import describe_by_regions

    if model == DEFAULT_PAIRS:
        log.warn(WITHOUT_A_CAPTIONER)
    print_answers(map(answer_of, describe_by_regions(inputs, model, **asked)), lines_of, log)


def answer_of(one: Described) -> Answer:
    """The description as the label; without a captioner the names."""
    label = one.description or ", ".join(region.name for region in one.regions)
    return Answer(one.key, label, None, one.told(), one.refused)


def lines_of(answer: Answer) -> str:
    """The description, and below it each thing with its box."""
    lines = [answer.label or "(nothing that it can name)"]
    if answer.details["caption"] is not None:
        lines.append(f"caption of the whole: {answer.details['caption']}")
    for one in answer.details["regions"]:
        likely = "" if one["probability"] is None else f" {one['probability']:.0%}"
        said = "" if one["phrase"] is None else f": {one['phrase']}"
        lines.append(f"{one['box']}  {one['name']}{likely}{said}")
    return "\n  ".join(lines)


def refuse_among_regions(heat: Path | None, examples: Path | None, language: str | None) -> None:
    """Raises UserError where one was given with regions, which do not read it."""
    for option, value in (("--heat", heat), ("--examples", examples), ("--language", language)):
        if value is not None:
            raise UserError(f"{option} is for captions of whole images; leave it or --regions out.")


def refuse_unused(boxes: Path | None, names: Path | None, out: Path | None) -> None:
    """Raises UserError where one was given and regions were not asked for."""
    for option, value in (("--boxes", boxes), ("--names", names), ("--out", out)):
        if value is not None:
            raise UserError(f"{option} is for --regions; add it, or leave {option} out.")
