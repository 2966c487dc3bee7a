"""Errors of probabilities equal scikit-learn's and torchmetrics'."""

import numpy as np
import torch
from sklearn import metrics as reference
from torchmetrics.functional.classification import multiclass_calibration_error

from beholder.metrics.calibration import ERRORS, brier, expected_calibration_error, log_loss


def draw(seed: int, n: int = 200, num_classes: int = 3):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(num_classes), n)
    return probabilities, random.integers(0, num_classes, n), random.integers(0, 4, (5, n)).astype(float)


def test_log_loss_equals_scikit_learn():
    probabilities, labels, weights = draw(0)
    theirs = [reference.log_loss(labels, probabilities, sample_weight=row) for row in weights]
    np.testing.assert_allclose(log_loss(probabilities, labels, weights), theirs, rtol=1e-9)


def test_a_certain_error_costs_much_but_not_infinity():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert 10 < log_loss(certain, np.array([1, 1]), np.array([[1.0, 0.0]]))[0] < 20


def test_brier_equals_scikit_learn():
    probabilities, labels, weights = draw(1)
    theirs = [
        reference.brier_score_loss(labels, probabilities, sample_weight=row, scale_by_half=False) for row in weights
    ]
    np.testing.assert_allclose(brier(probabilities, labels, weights), theirs, rtol=1e-9)


def test_calibration_error_equals_torchmetrics():
    probabilities, labels, _ = draw(2)
    theirs = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), 3, n_bins=15)
    ours = expected_calibration_error(probabilities, labels, np.ones((1, len(labels))))
    np.testing.assert_allclose(ours, [float(theirs)], atol=1e-6)


def test_an_integer_weight_means_the_image_stands_there_that_often():
    probabilities, labels, weights = draw(3)
    for name, error in ERRORS.items():
        for row in weights:
            repeated = np.repeat(np.arange(len(labels)), row.astype(int))
            plain = error(probabilities[repeated], labels[repeated], np.ones((1, len(repeated))))
            np.testing.assert_allclose(error(probabilities, labels, row[None]), plain, atol=1e-12, err_msg=name)
