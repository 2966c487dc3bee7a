"""Scores equal scikit-learn's under any weights, ties included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from beholder.metrics.classification import (
    SCORES,
    accuracy,
    auc,
    balanced_accuracy,
    confusion,
    macro_f1,
    weighted_auc,
)


def draw(seed: int, n: int = 80, num_classes: int = 3, digits: int = 1):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(num_classes), n).round(digits) + 1e-9
    labels = random.integers(0, num_classes, n)
    labels[:num_classes] = np.arange(num_classes)
    weights = random.multinomial(n, np.ones(n) / n, size=6).astype(float)
    return probabilities, labels, weights


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 8]))
def test_weighted_auc_equals_scikit_learn_with_ties(seed, digits):
    probabilities, labels, weights = draw(seed, digits=digits)
    weights[:, labels < 2] += 0.5  # both classes keep some weight
    ours = weighted_auc(probabilities[:, 1], labels == 1, weights)
    theirs = [reference.roc_auc_score(labels == 1, probabilities[:, 1], sample_weight=row) for row in weights]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_auc_is_nan_when_a_class_has_no_weight():
    scores, positive = np.array([0.1, 0.5, 0.9]), np.array([False, True, True])
    weights = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(weighted_auc(scores, positive, weights), [np.nan, np.nan, 1.0])
    assert np.isnan(weighted_auc(scores, np.zeros(3, bool), weights)).all()


def test_an_integer_weight_means_the_image_stands_there_that_often():
    probabilities, labels, weights = draw(3)
    for name, score in SCORES.items():
        for row in weights:
            repeated = np.repeat(np.arange(len(labels)), row.astype(int))
            plain = score(probabilities[repeated], labels[repeated], np.ones((1, len(repeated))))
            np.testing.assert_allclose(score(probabilities, labels, row[None]), plain, atol=1e-12, err_msg=name)


def test_many_classes_give_the_macro_one_versus_rest_auc():
    probabilities, labels, _ = draw(4, num_classes=4, digits=6)
    probabilities /= probabilities.sum(1, keepdims=True)
    theirs = reference.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    np.testing.assert_allclose(auc(probabilities, labels, np.ones((1, len(labels)))), [theirs], atol=1e-12)


def test_auc_leaves_out_a_class_that_is_absent():
    probabilities, labels, _ = draw(5, num_classes=4, digits=6)
    labels[labels == 3] = 0
    ones = np.ones((1, len(labels)))
    present = [reference.roc_auc_score(labels == c, probabilities[:, c]) for c in range(3)]
    np.testing.assert_allclose(auc(probabilities, labels, ones), [np.mean(present)], atol=1e-12)


def test_two_classes_give_the_auc_of_the_second():
    probabilities, labels, weights = draw(6, num_classes=2, digits=3)
    np.testing.assert_array_equal(
        auc(probabilities, labels, weights), weighted_auc(probabilities[:, 1], labels == 1, weights)
    )


@pytest.mark.parametrize("seed", range(5))
def test_accuracies_and_f1_equal_scikit_learn(seed):
    probabilities, labels, weights = draw(seed, digits=6)
    predicted = probabilities.argmax(1)
    for i, row in enumerate(weights):
        expected = {
            accuracy: reference.accuracy_score(labels, predicted, sample_weight=row),
            balanced_accuracy: reference.balanced_accuracy_score(labels, predicted, sample_weight=row),
            macro_f1: reference.f1_score(labels, predicted, average="macro", sample_weight=row),
        }
        for score, value in expected.items():
            np.testing.assert_allclose(score(probabilities, labels, weights)[i], value, atol=1e-12)


def test_confusion_equals_scikit_learn():
    probabilities, labels, _ = draw(7)
    predicted = probabilities.argmax(1)
    np.testing.assert_array_equal(confusion(labels, predicted, 3), reference.confusion_matrix(labels, predicted))
