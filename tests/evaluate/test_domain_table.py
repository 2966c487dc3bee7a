"""The tables of benchmarks/domain_full.py, domain_against.py, domain_trend.py and domain_rule.py: what is the same
differs by nothing, what is sure is sure, what is chance is found to be chance about as often as is said."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from domains import make_domain, make_space

from beholder.evaluate.label_curve import Fold, random_subset
from beholder.recipes.adapt.fit import choose
from beholder.runtime.seed import numpy_generator

FRACTIONS, NUM_LABEL_SEEDS, NUM_FOLDS = (0.05, 0.10, 0.25, 1.0), 5, 4
Pieces = list[dict[str, Any]]


@pytest.fixture(scope="module")
def full() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        import domain_full

        patch.setattr(domain_full, "NUM_DRAWS", 300)
        yield domain_full
        for name in [name for name in sys.modules if name.startswith("domain_")]:
            del sys.modules[name]


def pieces(seed: int, skill: float) -> Pieces:
    """A fold each: 40 groups of 3 images; scores tell the two classes apart by `skill`, groups err together."""
    found = []
    for fold in range(NUM_FOLDS):
        there = np.random.default_rng((7, fold))  # the same images for every arm
        labels, groups = there.integers(0, 2, 120), np.repeat(np.arange(40), 3)
        own = np.random.default_rng((seed, fold))
        piece: dict[str, Any] = {"labels": labels, "groups": groups}
        for fraction in FRACTIONS:
            for number in range(1 if fraction == 1 else NUM_LABEL_SEEDS):
                noise = own.normal(size=40)[groups] + 0.5 * own.normal(size=120)
                told = skill * (labels - 0.5) + noise
                first = 1 / (1 + np.exp(-told))
                piece[f"{fraction:g} {number}"] = np.stack([1 - first, first], 1).astype(np.float16)
        found.append(piece)
    return found


def test_an_arm_stands_nowhere_above_itself(full: ModuleType) -> None:
    strong = pieces(1, 2.0)
    redrawn = full.Redrawn.of(strong, 3)
    once, thrice = redrawn.curve([[one] for one in strong]), redrawn.curve([[one] * 3 for one in strong])
    for fraction in FRACTIONS:
        assert full.gain(thrice, fraction, once, fraction) == pytest.approx(np.zeros(300), abs=1e-12)
        assert once[:, FRACTIONS.index(fraction)].std() > 0


def test_a_large_gain_is_sure_and_told_with_its_size(full: ModuleType) -> None:
    strong, adapted = pieces(1, 0.5), [pieces(seed, 4.0) for seed in (2, 3)]
    rows = [[arm[fold] for arm in adapted] for fold in range(NUM_FOLDS)]
    lines = list(full.compare("set", "adapted", strong, strong, rows))
    (said,) = (line for line in lines if "difference" in line)
    found = re.search(r"difference (\S+) points; 95 % (\S+) to (\S+);", said)
    assert found is not None
    point, low, high = map(float, found.groups())
    assert 0 < low < point < high
    every = [np.ones((1, 120))] * NUM_FOLDS
    gains = full.mean_scores(rows, every)[:3, 0] - full.mean_scores([[one] for one in strong], every)[:3, 0]
    assert point == pytest.approx(100 * gains.mean(), abs=0.006)


@pytest.mark.parametrize(
    ("arm", "fraction", "said"),
    [
        ((0.70, 0.75, 0.80, 0.90), 0.25, "1.00 times fewer"),
        ((0.75, 0.80, 0.85, 0.90), 0.25, "2.50 times fewer"),  # a tenth for a quarter
        ((0.65, 0.70, 0.75, 0.85), 0.25, "0.50 times fewer"),  # half way in the logarithm, between 0.25 and 1
        ((0.85, 0.75, 0.80, 0.90), 0.25, ">= 5.00 times fewer"),  # more labels do not harm: 0.80 from the first on
        ((0.90, 0.91, 0.92, 0.93), 1.0, ">= 20.00 times fewer"),
        ((0.10, 0.10, 0.10, 0.10), 0.25, "never"),
    ],
)
def test_labels_are_saved_by_a_curve_that_rises_earlier(
    full: ModuleType, arm: tuple[float, ...], fraction: float, said: str
) -> None:
    strong = np.array([[0.70, 0.75, 0.80, 0.90]]).T
    (found,) = full.fewer_labels(strong, np.array([arm]).T, fraction)
    assert str(found) == said


def test_what_is_saved_is_told_with_its_interval(full: ModuleType) -> None:
    strong = pieces(1, 2.0)
    lines = list(full.compare("set", "adapted", strong, pieces(4, 0.1), [[one] for one in pieces(2, 4.0)]))
    above, *of_plain = (line for line in lines if "labels" in line)
    assert re.search(r"strong has at 25%: labels >= \S+ times fewer; 95 % >= \S+ times fewer to >= \S+ times", above)
    assert len(of_plain) == 2 and all("last layer has at 100%: labels" in line for line in of_plain)
    (itself,) = (
        line
        for line in full.compare("set", "again", strong, strong, [[one] for one in strong])
        if "strong has at 25%" in line
    )
    assert itself.count("1.00 times fewer") == 3


def test_one_seed_with_all_labels_is_compared_with_each_seed_of_a_quarter(full: ModuleType) -> None:
    strong = [[one] for one in pieces(1, 2.0)]
    curve = full.Redrawn.of([row[0] for row in strong], 1).curve(strong)
    behind = full.gain(curve, 0.25, curve, 1.0)
    assert behind.shape == (300,) and np.isfinite(behind).all() and behind.std() > 0


def test_where_nothing_is_gained_the_interval_holds_nothing_about_as_often_as_it_says(full: ModuleType) -> None:
    held = 0
    for trial in range(40):
        strong, rows = pieces(100 + trial, 1.0), [[one] for one in pieces(500 + trial, 1.0)]
        redrawn = full.Redrawn.of(strong, 1)
        draws = full.gain(redrawn.curve(rows), 0.10, redrawn.curve([[one] for one in strong]), 0.10)
        low, high = np.percentile(draws, [2.5, 97.5])
        held += low <= 0 <= high
    assert held >= 34  # 38 are meant; with five seeds the intervals are a little short


def test_the_row_against_a_rival_is_the_difference_of_their_scores(full: ModuleType) -> None:
    against, strong = importlib.import_module("domain_against"), pieces(1, 2.0)
    ours, rival = ([[one] for one in pieces(seed, skill)] for seed, skill in ((2, 4.0), (3, 0.5)))
    there = list(against.differences(ours, rival, strong))
    back = list(against.differences(rival, ours, strong))
    assert len(there) == len(back) == len(FRACTIONS)
    for said, other, own, behind in zip(there, back, *scores_of(full, ours, rival), strict=True):
        point, low, high = map(float, re.findall(r"[+-][0-9.]+", said))
        assert 0 < low < point < high and point == pytest.approx(100 * (own - behind), abs=0.051)
        assert [-float(one) for one in re.findall(r"[+-][0-9.]+", other)] == [point, high, low]
    same = list(against.differences(ours, ours, strong))
    assert all(re.fullmatch(r"[+-]0.0 \([+-]0.0+ to [+-]0.0+\)", one) for one in same)


def scores_of(full: ModuleType, *arms: list[list[dict[str, Any]]]) -> list[np.ndarray]:
    return [full.mean_scores(arm, [np.ones((1, 120))] * NUM_FOLDS)[:, 0] for arm in arms]


def test_a_rival_of_which_a_piece_is_missing_has_no_row(full: ModuleType, tmp_path: Path) -> None:
    against = importlib.import_module("domain_against")
    for fold, piece in enumerate(pieces(1, 2.0)):
        (tmp_path / f"fold-{fold}").mkdir()
        for name in ("strong", "ours-0", "rival-0")[: 2 if fold == 3 else 3]:
            np.savez(tmp_path / f"fold-{fold}" / f"{name}.npz", **piece)
    assert len(list(against.rows(tmp_path, "ours", "rival", [0, 1, 2], [0]))) == 1
    assert not list(against.rows(tmp_path, "ours", "rival", [0, 1, 2, 3], [0]))


def test_a_trend_tells_points_above_the_generic_features_draw_by_draw(full: ModuleType) -> None:
    trend = importlib.import_module("domain_trend")
    strong = {"0.05": np.array([0.6, 0.8]), "0.1": np.array([0.7, 0.9]), "0.25": np.array([0.8, 0.9])}
    one = {"scores": {"0.05": [0.7, 0.8], "0.1": [0.7, 0.9], "0.25": [0.7, 0.9], "1": [0.99]}}
    assert trend.gain(one, strong) == pytest.approx({"0.05": 5.0, "0.1": 0.0, "0.25": -5.0})


def test_fewer_images_are_some_of_more(full: ModuleType) -> None:
    found = []
    for share in (0.1, 0.3, 1.0):
        few = object.__new__(full.Fewer)  # of a domain's fields these two alone say what may be learned from
        vars(few).update(groups=np.arange(120), folds=(Fold(np.arange(20, 90), np.arange(20)),), share=share, seed=3)
        found.append(few.training_images(0).tolist())
    assert [len(one) for one in found] == [10, 30, 100]
    assert set(found[0]) < set(found[1]) < set(found[2]) == set(range(20, 120))
    assert all(one == sorted(one) for one in found)


def test_the_rule_that_is_told_is_the_one_that_adapt_has(full: ModuleType) -> None:
    rule = importlib.import_module("domain_rule")
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 200)
    domain = make_domain(labels.tolist(), classes=("no", "yes"), groups=(np.arange(200) // 4).tolist(), test=range(40))
    told, seen = 0.4 * labels[:, None], []
    for name, knows in (("generic", 1.0), ("adapted", 0.8), ("generic + adapted", 1.6)):
        seen.append(make_space(generator.normal(size=(200, 6)) + knows * told, name))
    taken = set()
    for row in rule.decide(domain, domain.folds[0], seen):
        labelled = random_subset(
            domain.labels, domain.folds[0].train, row["num_labels"], numpy_generator(row["draw"], "rule")
        )
        part = Fold(labelled, domain.folds[0].test)
        choice = choose(domain, part, seen[0], seen[1:], seed=row["draw"])
        assert choice.candidate is not None
        assert rule.sparing(row) is row[choice.candidate.space.name]
        assert np.isfinite(rule.gain_of_shipped(row, *rule.RULES["adapt: any gain"])) == choice.prefers_candidate
        taken.add((choice.candidate.space.name, choice.prefers_candidate))
    assert {("adapted", True), ("adapted", False), ("generic + adapted", True)} <= taken


def test_a_rule_gets_the_gain_of_what_it_ships_and_nothing_of_the_rest(full: ModuleType) -> None:
    rule = importlib.import_module("domain_rule")
    found = [(0.03, 0.01, 0.84), (0.01, 0.01, 0.78), (-0.01, 0.01, 0.79), (0.0, 0.0, 0.80)]
    rows = [
        {
            "generic": {"score": 0.80},
            "adapted": {"gain": gain, "error": error, "score": score},
            "generic + adapted": {"gain": 0.02, "error": 0.01, "score": 0.82},
            "beside_is_sure": False,
        }
        for gain, error, score in found
    ]
    assert rule.outcome(rows, rule.sparing, rule.by_errors(2.0)) == "+1.00 (25%, 25%, 0%)"
    assert rule.outcome(rows, rule.sparing, rule.any_gain) == "+0.50 (50%, 25%, 25%)"
    assert rule.outcome(rows, rule.sparing, rule.always) == "+0.25 (100%, 25%, 50%)"
    # the first alone, the others beside
    assert rule.outcome(rows, rule.better, rule.any_gain) == "+2.50 (100%, 100%, 0%)"
    sure = [{**row, "beside_is_sure": True} for row in rows]
    # not surely better than the generic ones
    assert rule.outcome(sure, rule.sparing, rule.any_gain) == "+0.50 (50%, 25%, 25%)"
    surer = [{**row, "generic + adapted": {"gain": 0.03, "error": 0.01, "score": 0.82}} for row in sure]
    assert rule.outcome(surer, rule.sparing, rule.any_gain) == "+2.00 (100%, 100%, 0%)"
