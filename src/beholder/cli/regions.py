"""How `describe` tells what was found in parts of an image."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from beholder.cli.options import DEFAULT_PAIRS
from beholder.types import Answer, UserError

if TYPE_CHECKING:
    from beholder.runtime.log import Log
    from beholder.tasks.embed import ImageInput
    from beholder.tasks.regions import Described

_WITHOUT_A_CAPTIONER = (
    "embedded writes no captions; what it can name in parts of each image is told instead. For {wished} train a model, "
    "beholder train describe --data PHOTOS --out runs/describe{option}, and name it by --model; or give descriptions "
    "to be ranked by --candidates FILE."
)


def print_regions(inputs: list[ImageInput], model: str, log: Log, *, are_asked: bool, **asked: Any) -> None:
    """What is found in each image; arguments as of `describe_by_regions`. A note tells how to have more: captions, or
    where regions `are_asked` for, texts that join them."""
    from beholder.cli.answers import print_answers
    from beholder.recipes.describe.chain import describe_by_regions

    found = iter(describe_by_regions(inputs, model, **asked))
    first = list(islice(found, 1))  # what cannot be used is told before
    if model == DEFAULT_PAIRS and asked["boxes"] is None:
        wished, option = ("descriptions", " --regions") if are_asked else ("captions", "")
        log.warn(_WITHOUT_A_CAPTIONER.format(wished=wished, option=option))
    print_answers(map(answer_of, chain(first, found)), lines_of, log)


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


def refuse_unused(way: str, of: Mapping[str, Mapping[str, object]], *, has_captioner: bool) -> None:
    """Raises UserError where an option was given that only another way reads: `way` is "captions", "--regions" or
    "--candidates", and `of` has by way the options that it alone reads, with their values, None where not given."""
    given = ((other, option) for other, options in of.items() for option, value in options.items() if value is not None)
    for other, option in given:
        if other == way:
            continue
        if option == other:
            raise UserError(f"{option} and {way} are two ways to describe; leave one of them out.")
        if other == "captions" and not has_captioner:
            raise UserError(f"{option} needs a model that writes captions; name a run of train describe by --model.")
        if other == "captions":
            raise UserError(f"{option} is for captions of whole images; leave it or {way} out.")
        raise UserError(f"{option} is for {other}; add it, or leave {option} out.")
