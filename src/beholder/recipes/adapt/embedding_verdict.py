"""The verdict without enough labels: did adapting make images easier to recognise again? It says no more than that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from beholder.evaluate.verdict import MIN_GROUPS, Outcome, Verdict
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.fit import group_weights
from beholder.recipes.adapt.health import Health, viewed_images
from beholder.runtime.seed import numpy_generator

METRIC = "view consistency"


def judge_embeddings(domain: Domain, health: Sequence[Health], seed: int) -> Verdict:
    """Paired difference of view consistency between the adapted and the generic space, over groups of unseen images.

    Self-supervised training asks for such consistency, so a gain here promises nothing about a task; a loss is a
    warning.
    """
    spaces = {one.title: one for one in health}
    if "adapted" not in spaces:
        return Verdict(
            "not judged",
            f"Not judged: there is no pretraining to compare (--budget 0), and {domain.why_not_judged}.",
            METRIC,
            0,
        )
    groups = domain.groups[viewed_images(domain, seed)]
    num_groups = len(np.unique(groups))
    if num_groups < MIN_GROUPS:
        reason = (
            f"Not judged: a fair interval takes images of at least {MIN_GROUPS} groups, and the judged images belong "
            f"to {num_groups}; add images of other groups."
        )
        return Verdict("not judged", reason, METRIC, num_groups)
    difference = spaces["adapted"].consistency - spaces["generic"].consistency
    weights = group_weights(groups, numpy_generator(seed, "embedding verdict"))
    draws = (weights @ difference) / weights.sum(1)
    error = float(draws.std() * np.sqrt(num_groups / (num_groups - 1)))
    mean, half = float(difference.mean()), float(student.ppf(0.975, num_groups - 1)) * error
    low, high = mean - half, mean + half
    outcome: Outcome = "helped" if low > 0 else "hurt" if high < 0 else "no difference"
    words = {"helped": "Embeddings only: adapting made images easier to recognise again",
             "hurt": "Embeddings only: adapting made images harder to recognise again",
             "no difference": "Embeddings only: no difference that this data could show"}  # fmt: skip
    sentence = (
        f"{words[outcome]} (view consistency {100 * mean:+.1f} points, 95 % interval {100 * low:+.1f} to "
        f"{100 * high:+.1f}); nothing more can be said, because {domain.why_not_judged}."
    )
    smallest = half + float(student.ppf(0.8, num_groups - 1)) * error
    return Verdict(outcome, sentence, METRIC, num_groups, mean, (low, high), smallest)
