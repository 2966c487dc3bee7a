"""Stage: the test parts, once: before, with all that was learned, and as shipped; with a veto for what lost on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beholder.recipes.tune.blend import Blends
from beholder.recipes.tune.score import METRICS, Outcome, ask, compare, tell
from beholder.recipes.tune.session import Session
from beholder.recipes.tune.sets import TuningSet
from beholder.recipes.tune.tunable import Tunable

NAMES = ("own", "general")


def judge(session: Session, tunable: Tunable, sets: Sequence[TuningSet], blends: Blends) -> dict[str, Any]:
    """ "own" and "general" (None without a guard) with "before", "tuned", "shipped" and "change"; "share" is what is
    shipped and "vetoed" what was chosen instead, where the test parts spoke against it."""
    with session.run.charged("test"):
        return session.run.stage("test", lambda: _judge(session, tunable, sets, blends))


def _judge(session: Session, tunable: Tunable, sets: Sequence[TuningSet], blends: Blends) -> dict[str, Any]:
    chosen, seed = blends.choose(session.config.may_lose), session.config.seed
    shares = sorted({0.0, chosen, blends.shares[-1]})
    outcomes: dict[float, list[Outcome]] = {}
    for share in shares:
        space = tunable.at(share)
        outcomes[share] = [ask(space.model, one.test, space.pixels, session.device) for one in sets]
    before, after, tuned = outcomes[0.0], outcomes[chosen], outcomes[blends.shares[-1]]
    is_worse = all(new.score < old.score for old, new in zip(before, after, strict=True))
    shipped = before if is_worse else after
    share, vetoed = (0.0, chosen) if is_worse else (chosen, None)
    told: dict[str, Any] = {"share": share, "vetoed": vetoed, "general": None}
    for place, one in enumerate(sets):
        told[NAMES[place]] = {
            "metric": METRICS[one.test.has_classes],
            "before": tell(before[place], seed),
            "tuned": tell(tuned[place], seed),
            "shipped": tell(shipped[place], seed),
            "change": compare(before[place], shipped[place], seed),
            "change_tuned": compare(before[place], tuned[place], seed),
        }
    return told


def verdict(test: Mapping[str, Any], stopped: str | None) -> dict[str, str]:
    """ "outcome" ("helped", "no difference" or "hurt"), "sentence" and "aside", which has the figures."""
    own, general, share = test["own"], test["general"], test["share"]
    unknown = "" if general else " Without a guard set it is not known what is forgotten."
    if stopped is not None:
        return _unchanged(f"training broke down ({stopped.removesuffix('.')}).")
    if test["vetoed"] is not None:
        both = "both test scores" if general else "the test score"
        return _unchanged(f"the blend that validation chose ({test['vetoed']:.0%}) lost on {both}.{unknown}")
    if share == 0:
        return _unchanged(f"on the validation parts nothing that was learned was worth its price.{unknown}")
    kept = "All that was learned is shipped" if share == 1 else f"{share:.0%} of what was learned is shipped"
    aside = [f"{kept}. Test images of your own: {change(own)}."]
    low, high = own["change"]["interval"]
    sentence = f"Your own score {_went(own)}"
    if general:
        sentence += f"; the general one {_went(general)}"
        aside.append(f"General ones: {change(general)}.")
    outcome = "helped" if low > 0 else "hurt" if high < 0 else "no difference"
    return {"outcome": outcome, "sentence": f"{sentence}.", "aside": " ".join(aside) + unknown}


def change(scores: Mapping[str, Any], after: str = "shipped") -> str:
    """balanced accuracy 41.0% to 63.2%, +22.2 points (95% interval +15.0 to +29.1)"""
    moved = scores["change" if after == "shipped" else "change_tuned"]
    low, high = moved["interval"]
    return (
        f"{scores['metric']} {scores['before']['value']:.1%} to {scores[after]['value']:.1%}, "
        f"{100 * moved['difference']:+.1f} points (95% interval {100 * low:+.1f} to {100 * high:+.1f})"
    )


def _unchanged(why: str) -> dict[str, str]:
    return {"outcome": "no difference", "sentence": "The model is returned as it was.", "aside": f"Why: {why}"}


def _went(scores: Mapping[str, Any]) -> str:
    points, (low, high) = round(100 * scores["change"]["difference"], 1), scores["change"]["interval"]
    doubt = ", which may be chance" if low <= 0 <= high else ""
    return "stayed" if points == 0 else f"{'rose' if points > 0 else 'fell'} by {abs(points):.1f} points{doubt}"
