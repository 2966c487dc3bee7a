"""How often the verdict is wrong: planted sets whose true answer is known, judged blind.

    OMP_NUM_THREADS=1 python benchmarks/verdict_error_rates.py --sets 300 --out verdict_error_rates.json

Each set has 12 to 60 groups, 300 to 2,000 images, two to five classes of uneven size, groups that shift the images and
the balance of classes (in a third of the sets to almost one class per group), equal or very unequal group sizes, and
one of three protocols (one split, four folds, five repeated splits). Features are a latent picture plus noise, part of
it shared by a group. Five kinds are planted:

- nothing: the candidate has other noise of the same size, so the true difference is 0 by symmetry;
- rotated: the candidate is a rotated copy of the reference, 0 by symmetry of the noise up to the readout's scaling;
- picked: the candidate has the same features and labels a subset that is fixed beforehand and knows nothing, so 0;
- gain, loss: the candidate has less or more noise. The true difference is measured with fresh training and test sets.

Prints JSON: error rates with counts, coverage of the interval, power by size of the true gain. About 25 minutes on one
core for 300 sets of each kind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from beholder.evaluate.label_curve import Arm, Fold, Predict, label_curve, random_subset
from beholder.evaluate.verdict import Verdict, judge
from beholder.metrics.classification import auc
from beholder.runtime.seed import derive, numpy_generator
from beholder.types import UserError

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
KINDS = ("nothing", "rotated", "picked", "gain", "loss")
LATENT, WIDTH = 8, 16


@dataclass(frozen=True)
class World:
    """Where images come from; drawing twice gives two data sets of one domain."""

    seed: int
    num_groups: int
    num_images: int
    prior: tuple[float, ...]
    separation: float
    shift: float
    """How far groups lie apart, in units of the spread inside a class."""
    size_spread: float
    """Standard deviation of the logarithm of group sizes."""
    noises: tuple[float, float]
    """Of reference and candidate."""
    group_noise: float
    """Share of the noise that all images of a group have in common."""
    balance: float
    """Concentration of the groups' class shares: 10 varies them mildly, 0.5 makes groups of almost one class."""
    is_rotated: bool


@dataclass(frozen=True)
class Draw:
    """One data set: features of reference and candidate for the same images."""

    features: tuple[np.ndarray, np.ndarray]
    labels: np.ndarray
    groups: np.ndarray


def plant(kind: str, seed: int) -> World:
    random = numpy_generator(seed, "world", kind)
    num_classes = int(random.integers(2, 6)) if random.random() < 0.5 else 2
    prior = np.maximum(random.dirichlet(np.full(num_classes, 4.0)), 0.05)
    noise = random.uniform(0.5, 2.5)
    factor = {"gain": 1 / random.uniform(1.05, 2), "loss": random.uniform(1.05, 2)}.get(kind, 1.0)
    return World(
        seed, int(random.integers(12, 61)), int(np.exp(random.uniform(np.log(300), np.log(2000)))),
        tuple(prior / prior.sum()), random.uniform(0.4, 1.0), random.uniform(0.0, 1.0),
        float(random.choice([0.0, 0.7])), (noise, noise * factor), float(random.choice([0.0, 0.1, 0.3])),
        float(random.choice([10.0, 10.0, 0.5])), kind == "rotated",
    )  # fmt: skip


def draw(world: World, random: np.random.Generator) -> Draw:
    fixed = numpy_generator(world.seed, "classes")
    num_classes, num_groups = len(world.prior), world.num_groups
    means = world.separation * fixed.normal(size=(num_classes, LATENT))
    mixing = np.linalg.qr(fixed.normal(size=(WIDTH, WIDTH)))[0][:LATENT]
    sizes = np.exp(world.size_spread * random.normal(size=num_groups))
    others = random.choice(num_groups, world.num_images - num_groups, p=sizes / sizes.sum())
    groups = np.concatenate([np.arange(num_groups), others])
    balance = random.dirichlet(world.balance * np.array(world.prior), size=num_groups)  # each group has its own
    labels = (balance[groups].cumsum(1) < random.random(len(groups))[:, None]).sum(1).clip(max=num_classes - 1)
    shift = world.shift * random.normal(size=(num_groups, LATENT))
    latent = means[labels] + shift[groups] + random.normal(size=(len(groups), LATENT))
    features = [latent @ mixing + noise * _noise(world, groups, random) for noise in world.noises]
    if world.is_rotated:
        features[1] = features[0] @ np.linalg.qr(fixed.normal(size=(WIDTH, WIDTH)))[0]
    return Draw((features[0], features[1]), labels, groups)


def _noise(world: World, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    own = random.normal(size=(len(groups), WIDTH))
    shared = random.normal(size=(world.num_groups, WIDTH))[groups]
    return (1 - world.group_noise) ** 0.5 * own + world.group_noise**0.5 * shared


def folds_of(groups: np.ndarray, protocol: int, random: np.random.Generator) -> list[Fold]:
    """0: one split, 1: four folds, 2: five repeated splits."""
    order = random.permutation(groups.max() + 1)
    if protocol == 0:
        parts = [order[: max(5, round(0.3 * len(order)))]]
    elif protocol == 1:
        parts = np.array_split(order, 4)
    else:
        parts = [random.permutation(order)[: max(3, len(order) // 4)] for _ in range(5)]
    is_test = [np.isin(groups, part) for part in parts]
    return [Fold(np.flatnonzero(~test), np.flatnonzero(test)) for test in is_test]


def fit_on(features: np.ndarray, labels: np.ndarray, num_classes: int) -> Callable[[np.ndarray, int, int], Predict]:
    def fit(train: np.ndarray, fold: int, seed: int) -> Predict:
        return lambda test: readout(features[train], labels[train], features[test], num_classes)

    return fit


def readout(train: np.ndarray, labels: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=0.3, max_iter=300, tol=1e-3).fit(scaler.transform(train), labels)
    probabilities = np.zeros((len(test), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(scaler.transform(test))
    return probabilities


def judge_planted(kind: str, world: World, seed: int, num_seeds: int) -> tuple[Verdict, list[Fold], np.ndarray]:
    random = numpy_generator(seed, "data", kind)
    data = draw(world, random)
    folds = folds_of(data.groups, seed % 3, random)
    fit = fit_on(data.features[0], data.labels, len(world.prior))
    arms = [Arm("reference", "reference", "generic", fit)]
    if kind == "picked":

        def pick(pool: np.ndarray, count: int, _fold: int, _label_seed: int) -> np.ndarray:  # the set's own seed alone
            return random_subset(data.labels, pool, count, numpy_generator(seed, "fixed pick", int(pool.sum())))

        arms.append(Arm("candidate", "candidate", "generic", fit, pick))
    else:
        arms.append(Arm("candidate", "candidate", "adapted", fit_on(data.features[1], data.labels, len(world.prior))))
    curve = label_curve(arms, data.labels, data.groups, folds, fractions=FRACTIONS, num_seeds=num_seeds, seed=seed)
    return judge(curve, "reference", "candidate", seed=seed), folds, data.groups


def true_difference(world: World, folds: list[Fold], groups: np.ndarray, num_draws: int = 24) -> float:
    """Mean over fresh training sets of the folds' usual size, each scored on fresh test sets of the usual size."""
    random = numpy_generator(world.seed, "truth")
    size = {
        part: (
            round(np.mean([len(np.unique(groups[getattr(fold, part)])) for fold in folds])),
            round(np.mean([len(getattr(fold, part)) for fold in folds])),
        )
        for part in ("train", "test")
    }
    train_world, test_world = (replace(world, num_groups=g, num_images=n) for g, n in size.values())
    differences = []
    for _ in range(num_draws):
        train, tests = draw(train_world, random), [draw(test_world, random) for _ in range(12)]
        for fraction in FRACTIONS:
            pool = np.arange(len(train.labels))
            chosen = random_subset(train.labels, pool, round(fraction * len(pool)), random)
            score = [_mean_auc(train, tests, chosen, which, len(world.prior)) for which in (0, 1)]
            differences.append(score[1] - score[0])
    return float(np.mean(differences))


def _mean_auc(train: Draw, tests: list[Draw], chosen: np.ndarray, which: int, num_classes: int) -> float:
    together = np.concatenate([test.features[which] for test in tests])
    predicted = readout(train.features[which][chosen], train.labels[chosen], together, num_classes)
    parts = np.split(predicted, np.cumsum([len(test.labels) for test in tests])[:-1])
    scores = [auc(p, test.labels, np.ones((1, len(p)))) for p, test in zip(parts, tests, strict=True)]
    return float(np.nanmean(scores))


def summarise(rows: list[dict]) -> dict:
    """Rates of one kind: `rows` hold the outcome, the truth, the interval and the smallest gain of each set."""
    judged = [row for row in rows if row["outcome"] != "not judged"]
    truth = np.array([row["truth"] for row in judged])
    low, high = np.array([row["interval"] for row in judged]).T
    called = np.array([row["outcome"] for row in judged])
    summary = {
        "sets": len(rows),
        "judged": len(judged),
        "helped": round(float((called == "helped").mean()), 4),
        "hurt": round(float((called == "hurt").mean()), 4),
        "interval_covers_truth": round(float(((low <= truth) & (truth <= high)).mean()), 4),
        "wrong_sign": round(
            float((((called == "helped") & (truth < 0)) | ((called == "hurt") & (truth > 0))).mean()), 4
        ),
        "median_half_width_points": round(100 * float(np.median(high - low)) / 2, 2),
    }
    if truth.any():
        right = np.where(truth > 0, called == "helped", called == "hurt")
        summary["power_by_true_points"] = _by_bin(100 * np.abs(truth), right, (0, 1, 2, 4, 8, 100))
        told = np.abs(truth) / np.array([row["smallest_gain"] for row in judged])
        summary["power_by_true_over_smallest_gain"] = _by_bin(told, right, (0, 0.5, 0.8, 1.25, 2, 100))
    return summary


def _by_bin(values: np.ndarray, right: np.ndarray, edges: tuple[float, ...]) -> dict[str, str]:
    table = {}
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.any():
            table[f"{low:g} to {high:g}"] = f"{right[inside].mean():.2f} of {inside.sum()}"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates of the verdict on planted sets.")
    parser.add_argument("--sets", type=int, default=300, help="sets of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--label-seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    asked = parser.parse_args()
    report = {"label_seeds": asked.label_seeds, "seed": asked.seed}
    for kind in asked.kinds:
        rows = []
        for index in range(asked.sets):
            seed = derive(asked.seed, kind, index) // 3 * 3 + index % 3  # protocols in turn
            world = plant(kind, seed)
            try:
                verdict, folds, groups = judge_planted(kind, world, seed, asked.label_seeds)
            except UserError:  # no fold has all classes on its train side
                continue
            truth = true_difference(world, folds, groups) if kind in ("gain", "loss") else 0.0
            rows.append(
                {"protocol": seed % 3, "groups": world.num_groups, "truth": truth, "outcome": verdict.outcome,
                 "interval": verdict.interval, "smallest_gain": verdict.smallest_gain}
            )  # fmt: skip
        report[kind] = summarise(rows)
        for protocol, name in enumerate(("one split", "four folds", "five repeated splits")):
            part = summarise([row for row in rows if row["protocol"] == protocol])
            report[kind][name] = {key: part[key] for key in ("judged", "helped", "hurt", "interval_covers_truth")}
        print(json.dumps({kind: report[kind]}), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
