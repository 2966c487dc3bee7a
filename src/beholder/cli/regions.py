"""How `describe` tells what was found in parts of an image."""

from __future__ import annotations

from pathlib import Path

from beholder.tasks.regions import Described
from beholder.types import Answer, UserError

WITHOUT_A_CAPTIONER = (
    "embedded writes no captions; what it can name in parts of each image is told instead. For captions train a model, "
    "beholder train describe --data PHOTOS --out runs/describe, and name it by --model; or give descriptions to be "
    "ranked by --candidates FILE."
)


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


def refuse_unused(boxes: Path | None, names: Path | None, out: Path | None) -> None:
    """Raises UserError where one was given and regions were not asked for."""
    for option, value in (("--boxes", boxes), ("--names", names), ("--out", out)):
        if value is not None:
            raise UserError(f"{option} is for --regions; add it, or leave {option} out.")
