"""Stage: which model is shipped. The generic one, unless validation prefers another and nothing speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from beholder.evaluate.verdict import Verdict
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features
from beholder.recipes.adapt.finetune import Tuned, compare_on_test, finetune
from beholder.recipes.adapt.fit import Choice, Fitted
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.spaces import Seen, Space


@dataclass(frozen=True)
class Shipped:
    """What goes into the bundle, and why."""

    space: Space
    backbones: tuple[nn.Module, ...]
    fitted: Fitted | None
    """The head; None without classes."""
    reason: str
    tuned: Tuned | None = None
    """What fine-tuning made, where it was kept."""


def decide(generic: nn.Module, seen: Seen, choice: Choice | None, verdict: Verdict) -> Shipped:
    """The candidate only when validation prefers it, the guard let it pass and the test does not speak against it."""
    candidate = seen.candidate

    def keep(reason: str) -> Shipped:
        return Shipped(seen.generic, (generic,), choice.reference if choice else None, reason)

    if candidate is None:
        return keep("no pretraining was asked for")
    if candidate.stopped:
        return keep(f"the guard stopped pretraining: {candidate.stopped}")
    if choice is None:
        return keep("without two labelled classes to learn from nothing shows that the adapted features serve better")
    told = f"with all labels of the training part, left-out groups say {choice.said}"
    if verdict.outcome == "hurt":
        return keep("the test part says that adapting hurt")
    if not choice.prefers_candidate or choice.candidate is None:
        aside = "; the verdict is about fewer labels, too" if verdict.outcome == "helped" else ""
        return keep(f"validation does not prefer the adapted features: {told}{aside}")
    space = choice.candidate.space
    backbones = (candidate.backbone,) if space.name == "adapted" else (generic, candidate.backbone)
    why = "surely prefers" if choice.is_sure else "leans to"
    return Shipped(space, backbones, choice.candidate, f"validation {why} it: {told}")


def decide_tuned(
    session: Session, domain: Domain, generic: nn.Module, features: Features, before: Shipped, steps: int
) -> tuple[Shipped, dict[str, Any]]:
    """Fine-tune what would be shipped, ship the result where validation prefers it, and tell how both do on the test.

    The second value is the "finetuning" part of `results.json`.
    """
    tuned = finetune(session, domain, before.backbones[-1], features, before.space, steps)
    choice = tuned.choice
    assert choice.candidate is not None and before.fitted is not None
    kind = "Low-rank fine-tuning" if tuned.story["kind"] == "low-rank" else "Full fine-tuning"
    story = {
        **tuned.story,
        "num_validation": len(domain.folds[0].train) - len(tuned.shown),
        "gain": choice.gain,
        "error": choice.error,
        "kept": tuned.is_kept,
        "test": compare_on_test(domain, before.fitted, choice.candidate, session.config.seed),
    }
    low, high = story["test"]["interval"]
    gain = 100 * (story["test"]["after"] - story["test"]["before"])
    first, last = story["test"]["accuracy"]
    on_test = (
        f"on the test part the AUC changed by {gain:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
        f", the accuracy from {first:.1%} to {last:.1%}"
    )
    why = (
        f"it was stopped ({tuned.story['stopped']})"
        if tuned.story["stopped"]
        else f"{choice.said} on images kept from it"
    )
    story["sentence"] = f"{kind} was {'kept' if tuned.is_kept else 'not kept'}: {why}; {on_test}."
    if not tuned.is_kept:
        return before, story
    space = choice.candidate.space
    backbones = (tuned.backbone,) if space.name == "fine-tuned" else (generic, tuned.backbone)
    return Shipped(space, backbones, choice.candidate, f"fine-tuning won on validation: {choice.said}", tuned), story
