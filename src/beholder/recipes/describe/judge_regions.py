"""Stage: whether the long way, by phrases about parts, says more that is true than one caption, and what it owes to
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from beholder.evaluate.resample import mean_interval
from beholder.metrics.captions import score_captions
from beholder.metrics.things import Things, score_things
from beholder.recipes.describe.judge import MODEL
from beholder.recipes.describe.look import Seen
from beholder.recipes.describe.material import Asked
from beholder.recipes.describe.regions import Joined
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.sitting import Sitting
from beholder.runtime.seed import numpy_generator
from beholder.tasks.regions import describe_checked
from beholder.tasks.saying import Saying
from beholder.tasks.talk import Asking, Talker

JOINED = "by regions"
UNCHECKED = "by regions, not checked"
NO_PHRASES, NO_IMAGES, TEMPLATE = "by regions, phrases left out", "by regions, images blanked", "phrases in a row"
_NUM_DRAWS = 2000


def say_by_regions(
    sitting: Sitting[DescribeTraining], joined: Sequence[Joined], likely: Sequence[Mapping[str, float]], seen: Seen,
    talker: Talker,
) -> dict[str, list[str]]:  # fmt: skip
    """Descriptions of held-out images after phrases about their parts; the likeliest of them, not checked; without the
    phrases, and without looking; and the phrases by themselves."""
    blank, saying = seen.mean, Saying(sitting.settings.num_beams)

    def say(asked: Sequence[Asked], *, is_blank: bool = False, is_checked: bool = True) -> list[str]:
        shown = [seen.shown([one])[0] for one in asked]
        askings = [
            Asking(blank.expand_as(images) if is_blank else images, one.exchanges[0].question)
            for one, images in zip(asked, shown, strict=True)
        ]
        with sitting.log.progress("Judge", len(asked)) as advance:
            if is_checked:
                return describe_checked(talker, askings, likely, saying, advance)
            return talker.say(askings, saying, advance)

    whole = [one.asked for one in joined]
    return {
        JOINED: say(whole),
        UNCHECKED: say(whole, is_checked=False),
        NO_PHRASES: say([one.without_phrases() for one in joined]),
        NO_IMAGES: say(whole, is_blank=True),
        TEMPLATE: [_in_a_row(one.phrases) for one in joined],
    }


def judge_regions(
    by: dict[str, list[str]], references: Sequence[Sequence[str]], things: Things, seed: int
) -> dict[str, Any]:
    """Of the caption and of each way by regions: CIDEr, and the things that it names truly and falsely; and how far the
    description by regions is ahead of each in all three, with intervals over images. JSON values."""
    names = (MODEL, JOINED, UNCHECKED, NO_PHRASES, NO_IMAGES, TEMPLATE)
    rows: dict[str, dict[str, Any]] = {}
    cider: dict[str, Float[np.ndarray, " n"]] = {}
    named = {name: score_things(by[name], references, things) for name in names}
    for name in names:
        scores = score_captions(by[name], references)
        cider[name] = scores.cider_of
        rows[name] = {"cider": scores.cider, **named[name].told()}
    draws = numpy_generator(seed, "images").multinomial(
        len(references), [1 / len(references)] * len(references), _NUM_DRAWS
    )
    for name in names:
        if name == JOINED:
            continue
        own, other = named[JOINED], named[name]
        ahead = {"cider": cider[JOINED] - cider[name], "things_true": own.true - other.true}
        falser = _shares(own.false, own.true, draws) - _shares(other.false, other.true, draws)
        low, high = np.percentile(falser, [2.5, 97.5])
        rows[name]["joined_ahead"] = {
            measure: {"value": float(gain.mean()), "interval": mean_interval(gain, numpy_generator(seed, measure))}
            for measure, gain in ahead.items()
        } | {
            "things_false": {
                "value": rows[JOINED]["things_false"] - rows[name]["things_false"],
                "interval": [float(low), float(high)],
            }
        }
    return {"num_judged": len(references), "rows": rows}


def _shares(
    false: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"], draws: np.ndarray
) -> Float[np.ndarray, " d"]:
    """Of false things in redrawn sets of images."""
    wrong, right = draws @ false, draws @ true
    return wrong / np.maximum(wrong + right, 1)


def _in_a_row(phrases: Sequence[str]) -> str:
    *before, last = phrases or ("nothing",)
    return f"{', '.join(before)} and {last}" if before else last
