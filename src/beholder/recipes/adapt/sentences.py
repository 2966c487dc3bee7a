"""Stage: what a model of visual sentences sees in every image, judged beside the other spaces and never shipped.

A shipped model answers alone, and would have to carry the trunk and its codec; so these spaces are told only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.data.fingerprint import content_hash
from beholder.evaluate.label_curve import Curve
from beholder.evaluate.verdict import judge
from beholder.models.heads import describe
from beholder.pretrained.part_folder import Part
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features, Look, extract_by
from beholder.recipes.adapt.fit import choose
from beholder.recipes.adapt.judge import View
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.spaces import Seen, Space, fit_space
from beholder.runtime.log import counted
from beholder.tasks.sentence_features import see_sentences
from beholder.tasks.visual_sentences import VisualSentences, open_sentences
from beholder.types import UserError

ALONE, BESIDE = "sentences", "generic + sentences"
"""Names of the two spaces."""
_LABELLED_TASKS = {"classes": "their classes", "masks": "their masks"}
"""Tasks of `train lvm` that are made of what somebody said of the pictures."""


@dataclass(frozen=True)
class Sentences:
    """A model of visual sentences, ready to look."""

    speaker: VisualSentences
    part: Part

    def look(self, batch: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Descriptor rows (mean, maximum and spread of the middle and the last depth) and summary rows."""
        outputs = see_sentences(self.speaker, self.speaker.pictures.squares(batch))
        return describe(outputs).cpu().numpy(), outputs.summary.cpu().numpy()

    @property
    def side(self) -> int:
        """Of the squares that it looks at."""
        return self.speaker.pictures.side


def open_model(session: Session, part: Part | None) -> Sentences | None:
    """On the run's device; None where none was asked for. Raises UserError where a resumed run began with another."""
    if part is None:
        return None
    begun = session.run.resolve("sentences", lambda: part.fingerprint)
    if begun != part.fingerprint:
        raise UserError(
            f"--lvm {session.config.lvm} holds other weights than when {session.run.path} was begun (SHA-256 "
            f"{part.fingerprint[:12]} instead of {begun[:12]}); name those, or choose another --out."
        )
    return Sentences(open_sentences(part, session.device), part)


def extract_sentences(session: Session, domain: Domain, sentences: Sentences) -> Features:
    """Rows of all images, the same for every fold: nothing is trained here."""
    look: Look = sentences.look
    with session.run.charged("sentence features"):
        return extract_by(session, look, domain.samples, "sentence features", at_least=sentences.side)


def fit_spaces(
    session: Session, domain: Domain, fold: int, generic: Features, sentences: Features
) -> tuple[Space, ...]:
    """The space of sentences alone and the one beside the generic features, fitted on a fold's training images."""
    train, width, seed = domain.training_images(fold), session.config.embedding_width, session.config.seed
    with session.run.charged("sentence features"):
        return (
            fit_space(ALONE, [sentences], train, width=width, seed=seed),
            fit_space(BESIDE, [generic, sentences], train, width=width, seed=seed),
        )


def views_of(seen: Sequence[Seen]) -> list[View]:
    """What the label curve measures of them."""
    return [
        View(name, name.capitalize(), "sentences", [one.space(name).embedding for one in seen])
        for name in (ALONE, BESIDE)
        if seen[0].told
    ]


def tell_sentences(
    session: Session, domain: Domain, part: Part, seen: Sequence[Seen], curve: Curve | None
) -> dict[str, Any]:
    """The "sentences" part of `results.json`: what validation and the test part say, and whether the model knows the
    judged images."""
    seed = session.config.seed
    choice = choose(domain, domain.folds[0], seen[0].generic, [seen[0].space(BESIDE)], seed)
    told: dict[str, Any] = {
        "model": str(part.source),
        "space": BESIDE,
        "gain": choice.gain,
        "error": choice.error,
        "is_preferred": choice.prefers_candidate,
        "overlap": overlap_of(domain, part),
    }
    would = "validation would have preferred them" if choice.prefers_candidate else "validation did not prefer them"
    said = [
        f"Left-out training groups say {choice.said}, for {BESIDE} over generic features: {would}; they are told here "
        "and never shipped."
    ]
    if curve is not None:
        verdict = judge(curve, "generic", BESIDE, change="adding the features of visual sentences", seed=seed)
        told["verdict"] = {
            "outcome": verdict.outcome,
            "sentence": verdict.sentence,
            "difference": verdict.difference,
            "interval": list(verdict.interval) if verdict.interval else None,
        }
        said.append(verdict.sentence)
    told["sentences"] = [*said, told["overlap"]["sentence"]]
    return told


def overlap_of(domain: Domain, part: Part) -> dict[str, Any]:
    """How many of the judged images the model learned from, by the content of their files."""
    judged = np.unique(np.concatenate([fold.test for fold in domain.folds]))
    learned = part.facts.get("pictures", {}).get("learned")
    if learned is None:
        return {
            "is_known": False,
            "num_judged": len(judged),
            "sentence": f"{part.source} does not tell which pictures it learned from: it may know the judged images, "
            "and its scores may flatter.",
        }
    known = set(learned)
    num_known = sum(content_hash(domain.samples[row]) in known for row in judged)
    labelled = [_LABELLED_TASKS[task] for task in part.facts.get("tasks", ()) if task in _LABELLED_TASKS]
    if not num_known:
        sentence = (
            f"The model of visual sentences learned from none of the {counted(len(judged), 'judged image')}, by the "
            "content of their files."
        )
    else:
        taken = f"with {' and '.join(labelled)}" if labelled else "without their labels"
        sentence = (
            f"The model of visual sentences learned from {num_known:,} of the {counted(len(judged), 'judged image')}, "
            f"{taken}: its scores flatter; train it on the others to know what it does with new images."
        )
    return {"is_known": True, "num_judged": len(judged), "num_learned": num_known, "sentence": sentence}
