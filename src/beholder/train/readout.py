"""Fit the few-label head: balanced kernel ridge regression, tuned and calibrated on left-out groups.

Why this one: it was better at every share of labels than the usual support vectors on all sets tried
(docs/benchmarks.md), it is deterministic, and scores of left-out groups, which it has in closed form, calibrate its
probabilities without spending a label. Kernel width and ridge keep their usual values unless another pair is better on
left-out groups by two standard errors: with a few dozen groups the best pair is mostly luck, and taking it always cost
half a point of AUC on the solar cells (research/LOG.md).

Above `max_supports` examples the kernel is taken at that many landmarks (Nystroem; Williams & Seeger 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax


@dataclass(frozen=True)
class ReadoutConfig:
    """What is tried, and how large a head may grow."""

    usual_width: float = 0.5
    """Kernel gamma, in units of 1 / (D * variance of the embedding)."""
    usual_ridge: float = 0.3
    """Ridge strength, in units of one example's weight."""
    ridges: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """What is tried beside the usual."""
    widths: tuple[float, ...] = (0.2, 0.5, 1.0)
    num_errors: float = 2.0
    """Standard errors by which another pair must beat the usual one."""
    max_supports: int = 3000
    max_selection: int = 600
    """Examples on which ridge and width are chosen; the head is then fitted on all."""


@dataclass(frozen=True)
class Readout:
    """A fitted head as plain arrays, the tensors of `models.heads.KernelHead`."""

    supports: Float[np.ndarray, "S D"]
    coefficients: Float[np.ndarray, "C S"]
    bias: Float[np.ndarray, " C"]
    gamma: float
    ridge: float
    left_out: Float[np.ndarray, "n C"]
    """Calibrated probabilities of the training examples, each predicted without its own group, or those marked as
    unseen without all of these."""

    def probabilities(self, embedding: Float[np.ndarray, "m D"]) -> Float[np.ndarray, "m C"]:
        return softmax(_kernel(embedding, self.supports, self.gamma) @ self.coefficients.T + self.bias, axis=1)


def fit_readout(
    embedding: Float[np.ndarray, "n D"],
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    num_classes: int,
    *,
    unseen: Bool[np.ndarray, " n"] | None = None,
    seed: int = 0,
    config: ReadoutConfig = ReadoutConfig(),
) -> Readout:
    """Fit on labelled embeddings. Classes without an example get probability zero (to six digits).

    `labels` are 0..num_classes-1, `groups` any integers: examples of one group are left out together when ridge and
    width are chosen and when probabilities are calibrated. With one group, single examples are left out instead.
    Where the embedding itself was taught some of the labels, `unseen` marks the examples that it was not taught:
    choosing and calibrating then look at these alone, all left out together, for the others flatter.
    """
    assert len(embedding) == len(labels) == len(groups) > 0
    embedding = np.asarray(embedding, dtype=np.float64)
    if len(np.unique(groups)) < 2:
        groups = np.arange(len(labels))
    parts = groups
    if unseen is not None:
        assert unseen.any(), "nothing to judge by"
        parts = np.where(unseen, -1, np.arange(len(labels)))
    judged = np.ones(len(labels), bool) if unseen is None else unseen
    generator = np.random.default_rng(seed)
    gamma, ridge = _choose(embedding, labels, groups, parts, judged, num_classes, generator, config)
    fit = _Ridge(embedding, labels, parts, num_classes, _landmarks(len(labels), generator, config.max_supports), gamma)
    coefficients, intercept = fit.solve(ridge)
    left_out = fit.left_out(ridge)
    slope, offset = _calibrate(left_out[judged], labels[judged], np.bincount(labels, minlength=num_classes))
    return Readout(
        supports=fit.supports.astype(np.float32),
        coefficients=(slope * coefficients).astype(np.float32).T.copy(),
        bias=(slope * intercept + offset).astype(np.float32),
        gamma=gamma,
        ridge=ridge,
        left_out=softmax(slope * left_out + offset, axis=1).astype(np.float32),
    )


class _Ridge:
    """Weighted kernel ridge regression onto one-hot labels, for one kernel width and any ridge."""

    def __init__(
        self,
        embedding: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        num_classes: int,
        landmarks: np.ndarray,
        gamma: float,
    ) -> None:
        self.supports = embedding[landmarks]
        self._groups = groups
        counts = np.bincount(labels, minlength=num_classes)
        weights = 1.0 / counts[labels]  # every class weighs the same
        self._weights = weights * len(labels) / weights.sum()
        targets = np.eye(num_classes)[labels]
        self._intercept = (self._weights @ targets) / self._weights.sum()
        self._targets = targets - self._intercept
        # Features whose inner products are the kernel at the landmarks: K_nm L^-T with K_mm = L L^T.
        root = cholesky(_kernel(self.supports, self.supports, gamma) + 1e-8 * np.eye(len(landmarks)), lower=True)
        self._root = root
        self._features = solve_triangular(root, _kernel(self.supports, embedding, gamma), lower=True).T
        self._weighted = self._features * np.sqrt(self._weights)[:, None]
        self._gram = self._weighted.T @ self._weighted

    def solve(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the supports (S, C) and the intercept (C)."""
        factor = cho_factor(self._gram + ridge * np.eye(len(self._gram)), lower=True)
        primal = cho_solve(factor, self._features.T @ (self._weights[:, None] * self._targets))
        return solve_triangular(self._root, primal, lower=True, trans=1), self._intercept

    def left_out(self, ridge: float) -> np.ndarray:
        """Scores (n, C) of every example from a fit without its group: residuals divided by one minus the hat block."""
        factor = cho_factor(self._gram + ridge * np.eye(len(self._gram)), lower=True)
        half = solve_triangular(factor[0], self._weighted.T, lower=True)  # m n; hat matrix = half^T half
        root_weights = np.sqrt(self._weights)[:, None]
        targets = root_weights * self._targets
        residuals = targets - half.T @ (half @ targets)
        scores = np.empty_like(self._targets)
        order = np.argsort(self._groups, kind="stable")
        _, starts = np.unique(self._groups[order], return_index=True)
        for members in np.split(order, starts[1:]):
            block = np.eye(len(members)) - half[:, members].T @ half[:, members]
            left_out_residual = np.linalg.solve(block, residuals[members])
            scores[members] = (targets[members] - left_out_residual) / root_weights[members]
        return scores + self._intercept


def _choose(
    embedding: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    parts: np.ndarray,
    judged: np.ndarray,
    num_classes: int,
    generator: np.random.Generator,
    config: ReadoutConfig,
) -> tuple[float, float]:
    """Kernel gamma and ridge: the usual ones, or the pair that is surely better on left-out parts.

    The balanced squared error of the judged examples is compared group by group.
    """
    chosen = np.sort(_stratified(labels, generator, config.max_selection))
    embedding, labels, parts, judged = embedding[chosen], labels[chosen], parts[chosen], judged[chosen]
    unit = 1.0 / max(float(embedding.var(axis=0).sum()), 1e-12)
    usual = (config.usual_width, config.usual_ridge)
    _, group = np.unique(groups[chosen], return_inverse=True)
    num_groups = int(group.max()) + 1
    if num_groups < 2 or not judged.any():
        return unit * usual[0], usual[1]
    weights = judged / np.bincount(labels, minlength=num_classes)[labels]
    targets = np.eye(num_classes)[labels]
    errors = {}
    for width in dict.fromkeys((*config.widths, config.usual_width)):
        fit = _Ridge(embedding, labels, parts, num_classes, np.arange(len(labels)), unit * width)
        for ridge in dict.fromkeys((*config.ridges, config.usual_ridge)):
            misses = weights * ((fit.left_out(ridge) - targets) ** 2).sum(1)
            errors[width, ridge] = np.bincount(group, misses, minlength=num_groups)
    gains = {pair: errors[usual] - error for pair, error in errors.items()}  # by group
    sure = [usual] + [
        pair for pair, gain in gains.items() if gain.sum() > config.num_errors * np.sqrt(num_groups) * gain.std(ddof=1)
    ]
    width, ridge = max(sure, key=lambda pair: gains[pair].sum())
    return unit * width, ridge


def _calibrate(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
    """One slope and one offset a class that make softmax(slope * scores + offset) a probability (Platt 1999; Guo et al.
    2017, arXiv 1706.04599), with a weak pull to slope 5 and to the classes' shares so that few labels stay tame."""
    prior = np.log((counts + 1e-6) / counts.sum())

    def loss(parameters: np.ndarray) -> float:
        logits = np.exp(parameters[0]) * scores + prior + parameters[1:]
        fitted = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].sum()
        return float(fitted + 0.5 * (parameters[0] - np.log(5.0)) ** 2 + 0.5 * (parameters[1:] ** 2).sum())

    start = np.concatenate([[np.log(5.0)], np.zeros(len(counts))])
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(-3, 6)] + [(-5, 5)] * len(counts)).x
    return float(np.exp(found[0])), prior + found[1:]


def _landmarks(num: int, generator: np.random.Generator, most: int) -> np.ndarray:
    return np.arange(num) if num <= most else np.sort(generator.choice(num, most, replace=False))


def _stratified(labels: np.ndarray, generator: np.random.Generator, most: int) -> np.ndarray:
    """At most `most` indices, every class thinned alike but never to none."""
    if len(labels) <= most:
        return np.arange(len(labels))
    share = most / len(labels)
    parts = []
    for value in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == value))
        parts.append(members[: max(1, round(share * len(members)))])
    return np.concatenate(parts)


def _kernel(first: np.ndarray, second: np.ndarray, gamma: float) -> np.ndarray:
    # |a - b|^2 as one matrix product: twenty times faster than pair by pair, exact enough in float64.
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2.0 * first @ second.T
    return np.exp(-gamma * np.maximum(squares, 0.0))
