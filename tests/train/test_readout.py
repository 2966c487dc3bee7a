from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score

from beholder.models.heads import KernelHead
from beholder.train.readout import ReadoutConfig, _Ridge, fit_readout


def plant(seed: int, count: int = 240, num_classes: int = 3, width: int = 12) -> tuple[np.ndarray, ...]:
    """Gaussian classes with a shift per group."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, count)
    groups = generator.integers(0, 20, count)
    centres = generator.normal(0, 1.0, (num_classes, width))
    shifts = generator.normal(0, 0.5, (20, width))
    embedding = centres[labels] + shifts[groups] + generator.normal(0, 1.0, (count, width))
    return embedding.astype(np.float32), labels, groups


def test_it_equals_scikit_learns_kernel_ridge() -> None:
    embedding, labels, groups = plant(0)
    fit = _Ridge(embedding.astype(float), labels, groups, 3, np.arange(len(labels)), gamma=0.02)
    coefficients, intercept = fit.solve(0.5)
    weights = 1.0 / np.bincount(labels)[labels]
    weights *= len(labels) / weights.sum()
    reference = KernelRidge(alpha=0.5, kernel="rbf", gamma=0.02)
    reference.fit(embedding.astype(float), np.eye(3)[labels] - intercept, sample_weight=weights)
    assert np.allclose(coefficients, reference.dual_coef_, atol=1e-5)


def test_left_out_scores_equal_refitting_without_the_group() -> None:
    embedding, labels, groups = plant(1, count=90)
    embedding = embedding.astype(float)
    fit = _Ridge(embedding, labels, groups, 3, np.arange(len(labels)), gamma=0.02)
    left_out = fit.left_out(0.7)
    counts = np.bincount(labels)
    weights = 1.0 / counts[labels]
    weights *= len(labels) / weights.sum()
    intercept = weights @ np.eye(3)[labels] / weights.sum()
    for group in np.unique(groups)[:5]:
        kept = groups != group
        reference = KernelRidge(alpha=0.7, kernel="rbf", gamma=0.02)
        reference.fit(embedding[kept], np.eye(3)[labels[kept]] - intercept, sample_weight=weights[kept])
        assert np.allclose(left_out[~kept], reference.predict(embedding[~kept]) + intercept, atol=1e-5)


def test_probabilities_sum_to_one_rank_well_and_are_calibrated() -> None:
    embedding, labels, groups = plant(2, count=900)
    train, test = groups < 12, groups >= 12
    readout = fit_readout(embedding[train], labels[train], groups[train], 3)
    probabilities = readout.probabilities(embedding[test])
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert roc_auc_score(labels[test], probabilities, multi_class="ovr") > 0.85
    is_right = probabilities.argmax(1) == labels[test]
    assert abs(probabilities.max(1).mean() - is_right.mean()) < 0.06


def test_the_head_module_gives_the_same_probabilities() -> None:
    embedding, labels, groups = plant(3)
    readout = fit_readout(embedding, labels, groups, 3)
    head = KernelHead(embedding.shape[1], 3, len(readout.supports))
    head.load_state_dict(
        {
            **{name: torch.from_numpy(getattr(readout, name)) for name in ("supports", "coefficients", "bias")},
            "gamma": torch.tensor(readout.gamma, dtype=torch.float32),
        }
    )
    probabilities = torch.softmax(head(torch.from_numpy(embedding)), 1).numpy()
    assert np.allclose(probabilities, readout.probabilities(embedding), atol=1e-4)


def test_landmarks_come_close_to_the_full_kernel() -> None:
    embedding, labels, groups = plant(4, count=600)
    full = fit_readout(embedding, labels, groups, 3).probabilities(embedding)
    thin = fit_readout(embedding, labels, groups, 3, config=ReadoutConfig(max_supports=200, max_selection=200))
    assert len(thin.supports) == 200
    assert np.abs(thin.probabilities(embedding) - full).mean() < 0.06


def test_an_absent_class_gets_next_to_no_probability() -> None:
    embedding, labels, groups = plant(5, num_classes=2)
    probabilities = fit_readout(embedding, labels, groups, 4).probabilities(embedding)
    assert probabilities[:, 2:].max() < 1e-4


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_handful_of_labels_is_enough_to_fit(count: int) -> None:
    embedding, _, _ = plant(6, count=count)
    labels = np.arange(count) % 2
    probabilities = fit_readout(embedding, labels, np.zeros(count, int), 2).probabilities(embedding)
    assert np.isfinite(probabilities).all()


def test_the_same_seed_gives_the_same_bits() -> None:
    embedding, labels, groups = plant(7)
    first, second = (fit_readout(embedding, labels, groups, 3, seed=4) for _ in range(2))
    assert np.array_equal(first.coefficients, second.coefficients)
