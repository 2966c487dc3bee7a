"""Fit which names go with what is seen, from captions alone: ridge regression onto who says what, calibrated where it
was not fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beholder.models.names import Names, NamesConfig, evidence
from beholder.train.closed_form import Decomposed, decompose

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Of the penalty, in units of a feature's variance; the one that foretells left-out images best is taken."""
_NUM_FOLDS = 5


@dataclass(frozen=True)
class NamesFit:
    """The names, and what they say of the images that they were fitted on, each without itself."""

    names: Names
    probabilities: Float[Tensor, "n V"]
    scores: Float[Tensor, "n K V"]
    """Of the parts."""


def fit_names(
    config: NamesConfig,
    whole: Float[Tensor, "n C"],
    parts: Float[Tensor, "n K C"],
    is_named: Bool[np.ndarray, "n V"],
    groups: Int[np.ndarray, " n"],
) -> NamesFit:
    """From summaries of images and of their parts, and which names people said of each image; each name must be said of
    some and not of all. Images of one group are left out together."""
    named = torch.from_numpy(is_named).double()
    fold_of = _folds(groups)
    left_out = {strength: _Scores.empty(named, parts) for strength in STRENGTHS}
    for fold in np.unique(fold_of):
        own = torch.from_numpy(fold_of == fold)
        taken = decompose(whole[~own], is_standardised=True)
        for strength, scores in left_out.items():
            weight, bias = _ridge(taken, named[~own], strength)
            scores.write(own, taken, weight, bias, whole[own], parts[own])
    strength = max(STRENGTHS, key=lambda one: _agreement(left_out[one], named))
    best = left_out[strength]
    names = Names(config)
    taken = decompose(whole, is_standardised=True)
    weight, bias = _ridge(taken, named, strength)
    slope, offset = _calibrate(evidence(best.whole, best.parts), is_named)
    for name, value in (("mean", taken.mean), ("spread", taken.scale), ("weight", weight), ("bias", bias),
                        ("slope", slope), ("offset", offset)):  # fmt: skip
        names.get_buffer(name).copy_(value)
    names.eval().requires_grad_(False)
    return NamesFit(names, names.probabilities(best.whole.float(), best.parts.float()), best.parts.float())


@dataclass(frozen=True)
class _Scores:
    whole: Float[Tensor, "n V"]
    parts: Float[Tensor, "n K V"]

    @classmethod
    def empty(cls, named: Tensor, parts: Tensor) -> _Scores:
        return cls(torch.zeros_like(named), named.new_zeros(len(named), parts.shape[1], named.shape[1]))

    def write(self, own: Tensor, taken: Decomposed, weight: Tensor, bias: Tensor, whole: Tensor, parts: Tensor) -> None:
        self.whole[own] = (whole.double() - taken.mean) / taken.scale @ weight.T + bias
        self.parts[own] = (parts.double() - taken.mean) / taken.scale @ weight.T + bias


def _ridge(
    taken: Decomposed, named: Float[Tensor, "n V"], strength: float
) -> tuple[Float[Tensor, "V C"], Float[Tensor, " V"]]:
    """Least squares with a penalty (Hoerl & Kennard 1970)."""
    mean = named.mean(0)
    shrunk = taken.sizes / (taken.sizes.square() + strength)
    weight = taken.axes.T @ (shrunk[:, None] * (taken.rows.T @ (named - mean)) / len(named) ** 0.5)
    return weight.T, mean


def _agreement(scores: _Scores, named: Float[Tensor, "n V"]) -> float:
    """Mean correlation with what is named."""
    told, right = (values - values.mean(0) for values in (evidence(scores.whole, scores.parts), named))
    return float(((told * right).sum(0) / (told.norm(dim=0) * right.norm(dim=0) + 1e-12)).mean())


def _calibrate(
    told: Float[Tensor, "n V"], is_named: Bool[np.ndarray, "n V"]
) -> tuple[Float[Tensor, " V"], Float[Tensor, " V"]]:
    """Of each name the slope and offset that make evidence a probability (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression  # here: slow to import

    slopes, offsets = [], []
    for values, right in zip(told.T.numpy(), is_named.T, strict=True):
        spread = float(values.std()) or 1.0
        fit = LogisticRegression(C=1.0).fit(values[:, None] / spread, right)
        slopes.append(max(0.0, float(fit.coef_[0, 0])) / spread)
        offsets.append(float(fit.intercept_[0]))
    return torch.tensor(slopes), torch.tensor(offsets)


def _folds(groups: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Of each image, groups whole and dealt in turn by their size."""
    names, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    fold_of = np.empty(len(names), int)
    fold_of[np.argsort(-counts, kind="stable")] = np.arange(len(names)) % _NUM_FOLDS
    return fold_of[place]
