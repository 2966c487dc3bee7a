"""Stage: fit the head that is shipped, choose between generic and adapted on left-out groups, report on test once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from beholder.evaluate.label_curve import Fold
from beholder.evaluate.verdict import MIN_GROUPS
from beholder.metrics.calibration import expected_calibration_error
from beholder.metrics.classification import SCORES, auc, confusion
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.spaces import Space
from beholder.runtime.seed import derive, numpy_generator
from beholder.train.readout import Readout, fit_readout

_NUM_RESAMPLES = 1000
SURE_ERRORS = 2.0
"""Standard errors of validation's gain that make it sure."""
FLATTERY = 0.01
"""AUC by which a random split must exceed a grouped one to be warned of."""


@dataclass(frozen=True)
class Fitted:
    """A space with its head and how well that head does on training groups it has not seen."""

    space: Space
    readout: Readout
    validation: float
    """AUC of the left-out predictions of the images that may judge."""


@dataclass(frozen=True)
class Choice:
    """What validation says about replacing one space by another."""

    reference: Fitted
    candidate: Fitted | None
    """The one taken of the others; None when there are none."""
    gain: float
    """Candidate's validation AUC minus the reference's, each at least one half."""
    error: float | None
    """Standard error of the gain over groups; None where fewer than `MIN_GROUPS` judge."""

    @property
    def prefers_candidate(self) -> bool:
        """By anything at all; a tie keeps the reference. Asked to be sure, with few labels it would hardly ever prefer
        what is better (benchmarks/domain_rule.py)."""
        return self.candidate is not None and self.gain > 0

    @property
    def is_sure(self) -> bool:
        """Whether it prefers the candidate by more than `SURE_ERRORS` standard errors."""
        return self.candidate is not None and self.error is not None and self.gain > SURE_ERRORS * self.error

    @property
    def said(self) -> str:
        """The gain in points of AUC, for people."""
        if np.isnan(self.gain):
            return "nothing, for one class alone is among them"
        if self.error is None:
            return f"{_points(self.gain)} points, from fewer than {MIN_GROUPS} groups"
        return f"{_points(self.gain)} points, standard error {100 * self.error:.2g}"


def fit_space_head(
    domain: Domain, fold: Fold, space: Space, seed: int, unseen: Bool[np.ndarray, " m"] | None = None
) -> Fitted:
    """The head on all labels of the fold's training part.

    `unseen` marks those of its images whose labels the space was not taught; without it, the space was taught none.
    """
    train = fold.train
    readout = fit_readout(
        space.embedding[train], domain.labels[train], domain.groups[train], len(domain.classes),
        unseen=unseen, seed=derive(seed, "head") % 2**32,
    )  # fmt: skip
    judged = _judged(fold, unseen)
    every = np.ones((1, int(judged.sum())))
    return Fitted(space, readout, float(auc(readout.left_out[judged], domain.labels[train[judged]], every)[0]))


def choose(
    domain: Domain,
    fold: Fold,
    before: Space,
    others: Sequence[Space],
    seed: int,
    unseen: Bool[np.ndarray, " m"] | None = None,
) -> Choice:
    """Fit every space's head and compare one of the others with `before` on left-out groups, not on the test part.

    The first of the others is taken. Later ones cost more to run, so each has to be surely better than `before` and
    than the one taken until then. Where labels taught one of the spaces, all are compared on the images marked as
    `unseen`.
    """
    reference, *fitted = (fit_space_head(domain, fold, space, seed, unseen) for space in (before, *others))
    if not fitted:
        return Choice(reference, None, 0.0, None)
    taken = fitted[0]
    for dearer in fitted[1:]:
        if all(compare(domain, fold, cheaper, dearer, seed, unseen).is_sure for cheaper in (reference, taken)):
            taken = dearer
    return compare(domain, fold, reference, taken, seed, unseen)


def compare(
    domain: Domain,
    fold: Fold,
    reference: Fitted,
    candidate: Fitted,
    seed: int,
    unseen: Bool[np.ndarray, " m"] | None = None,
) -> Choice:
    """Two heads on the same left-out groups."""
    judged = _judged(fold, unseen)
    labels, groups = domain.labels[fold.train[judged]], domain.groups[fold.train[judged]]
    weights = group_weights(groups, numpy_generator(seed, "validation"))
    drawn = [_above_chance(auc(one.readout.left_out[judged], labels, weights)) for one in (candidate, reference)]
    scores = _above_chance(np.array([candidate.validation, reference.validation]))
    error = float(np.nanstd(drawn[0] - drawn[1])) if len(np.unique(groups)) >= MIN_GROUPS else None
    return Choice(reference, candidate, float(scores[0] - scores[1]), error)


def _points(share: float) -> str:
    """Two digits that tell something, so that a hair is no tie."""
    return f"{round(100 * share, 3) + 0.0:+.2g}"


def _above_chance(scores: Float[np.ndarray, " R"]) -> Float[np.ndarray, " R"]:
    """A head that leaves a group out bets against that group's share of a class, so that labels which say nothing give
    an AUC below one half, and the less a space sees, the less below: that is no gain."""
    return np.maximum(scores, 0.5)


def _judged(fold: Fold, unseen: Bool[np.ndarray, " m"] | None) -> Bool[np.ndarray, " m"]:
    return np.ones(len(fold.train), bool) if unseen is None else unseen


def random_split(domain: Domain, fold: Fold, space: Space, seed: int) -> dict[str, object]:
    """What a split that ignores groups would have claimed: single images left out instead of whole groups."""
    train = fold.train
    every = np.ones((1, len(train)))
    scores = {}
    for name, groups in (("grouped", domain.groups[train]), ("random", np.arange(len(train)))):
        readout = fit_readout(
            space.embedding[train], domain.labels[train], groups, len(domain.classes), seed=derive(seed, "head") % 2**32
        )
        scores[name] = float(auc(readout.left_out, domain.labels[train], every)[0])
    flatters = scores["random"] - scores["grouped"] > FLATTERY
    sentence = f"Leaving out single images instead of whole groups would have claimed an AUC of {scores['random']:.3f}"
    if flatters:
        sentence += f" where {scores['grouped']:.3f} is true: a random split flatters here."
    else:
        sentence += f", leaving out groups {scores['grouped']:.3f}: a random split does not flatter here."
    return {**scores, "flatters": flatters, "sentence": sentence}


def test_score(domain: Domain, fold: Fold, fitted: Fitted, seed: int) -> dict[str, object]:
    """Everything about the shipped head on the test part: the report's `score`."""
    labels = domain.labels[fold.test]
    probabilities = fitted.readout.probabilities(fitted.space.embedding[fold.test])
    every = np.ones((1, len(labels)))
    resampled = auc(probabilities, labels, group_weights(domain.groups[fold.test], numpy_generator(seed, "score")))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    counts = confusion(labels, probabilities.argmax(1), len(domain.classes))
    return {
        "metric": "AUC",
        "value": float(auc(probabilities, labels, every)[0]),
        "interval": [float(low), float(high)],
        "accuracy": float(SCORES["accuracy"](probabilities, labels, every)[0]),
        "balanced_accuracy": float(SCORES["balanced_accuracy"](probabilities, labels, every)[0]),
        "f1": float(SCORES["macro_f1"](probabilities, labels, every)[0]),
        "calibration_error": float(expected_calibration_error(probabilities, labels, every)[0]),
        "confusion": {"labels": list(domain.classes), "counts": counts.tolist()},
    }


def group_weights(groups: Int[np.ndarray, " n"], generator: np.random.Generator) -> Float[np.ndarray, "R n"]:
    """How often each image's group comes when groups are drawn with replacement."""
    _, unit = np.unique(groups, return_inverse=True)
    num_units = int(unit.max()) + 1
    draws = generator.multinomial(num_units, np.full(num_units, 1 / num_units), size=_NUM_RESAMPLES)
    return draws[:, unit].astype(float)
