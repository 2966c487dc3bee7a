"""Scores of captions against worked examples, and what must hold of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beholder.metrics.captions import answer_accuracy, fluency, plain, score_captions
from beholder.runtime.words import words_of
from beholder.types import UserError

pytest.importorskip("pycocoevalcap", reason="beholder[metrics] is not installed")
pytest.importorskip("sacrebleu", reason="beholder[metrics] is not installed")

REFERENCES = [
    ["a dog runs on the grass", "a brown dog is running"],
    ["two men sit on a bench", "two people sit outside"],
    ["a red car is parked", "the red car stands by the road"],
]


def test_cider_is_that_of_its_paper_by_hand() -> None:
    """CIDEr-D of one-word captions, where the formula can be written out: Vedantam et al. 2015, equations 2 to 5, with
    one reference each, equal lengths, and runs of one word alone that differ from nothing."""
    captions, references = ["cat", "dog", "cat"], [["cat"], ["cow"], ["hen"]]
    scores = score_captions(captions, references)
    # tf-idf of the only word is the only entry: cosine 1 where words are equal, 0 else; runs of 2 to 4 words are
    # absent and count 0 of the mean of four; the scale is 10
    assert scores.cider_of == pytest.approx([10 / 4, 0, 0])


def test_cider_counts_rare_words_more() -> None:
    """Two words: one in every reference has an idf of log(3/3) = 0, so that the other alone decides."""
    references = [["the cat"], ["the dog"], ["the cow"]]
    scores = score_captions(["the hen", "a dog", "the cow"], references)
    assert scores.cider_of[0] == pytest.approx(0)
    # "a dog" is (log 3, log 3) and "the dog" is (0, log 3): their cosine is the root of a half
    assert scores.cider_of[1] == pytest.approx(10 / 4 / math.sqrt(2))
    assert scores.cider_of[2] > scores.cider_of[1]


def test_bleu_is_that_of_its_formula() -> None:
    captions = ["a dog runs on the grass now"]
    scores = score_captions(captions, [["a dog runs on the grass"]])
    precisions = [6 / 7, 5 / 6, 4 / 5, 3 / 4]  # no penalty for brevity: it is longer
    assert scores.bleu4 == pytest.approx(math.prod(precisions) ** 0.25, rel=1e-4)


def test_rouge_is_that_of_its_formula() -> None:
    scores = score_captions(["a dog on grass"], [["a brown dog runs on grass"]])
    precision, recall, beta = 4 / 4, 4 / 6, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert scores.rouge_l == pytest.approx(expected)


def test_what_people_said_is_best_and_nonsense_is_nothing() -> None:
    best = score_captions([one[0] for one in REFERENCES], REFERENCES)
    some = score_captions(["a dog sits", "two men run", "a car"], REFERENCES)
    none = score_captions(["x", "y", "z"], REFERENCES)
    for name in ("cider", "bleu4", "rouge_l", "chrf"):
        assert getattr(best, name) > getattr(some, name) > getattr(none, name) - 1e-12
    assert best.rouge_l == pytest.approx(1) and none.cider == 0


def test_case_and_punctuation_do_not_count() -> None:
    one = score_captions(["A dog, runs ON the grass!"] * 3, REFERENCES)
    other = score_captions(["a dog runs on the grass"] * 3, REFERENCES)
    assert one.told() == other.told()


def test_chinese_is_compared_sign_by_sign() -> None:
    assert words_of("两只狗在路上。") == list("两只狗在路上")
    scores = score_captions(["两只狗", "一只猫"], [["两只狗在路上"], ["一只猫"]])
    assert scores.rouge_l_of[1] == pytest.approx(1) and 0 < scores.rouge_l_of[0] < 1


def test_an_image_without_a_reference_is_told() -> None:
    with pytest.raises(UserError, match="Image 2 has no reference"):
        score_captions(["a", "b"], [["a"], ["..."]])


def test_saying_the_same_of_everything_shows() -> None:
    same, varied = fluency(["a man in a shirt"] * 4), fluency(["a man", "two dogs run", "red car here", "one cat"])
    assert same["different"] == 0.25 and varied["different"] == 1
    assert same["distinct"] < varied["distinct"] == 1
    assert same["words"] == 5


def test_answers_are_right_as_vqa_counts() -> None:
    assert plain("The wash_basin.") == "wash basin"
    told = answer_accuracy(["a cup", "2", "red", "dog"], [["Cup"], ["two"], ["red", "red", "blue"], ["dog"] * 10])
    assert np.allclose(told, [1, 0, 2 / 3, 1])
