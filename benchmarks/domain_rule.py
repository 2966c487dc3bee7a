"""What do few labels get of pretraining's gain, once `adapt`'s rule has decided what is shipped?

    python benchmarks/domain_rule.py run --data DATA --out runs/full     after `domain_full.py run` with the same --out
    python benchmarks/domain_rule.py table

`adapt` ships the adapted features where left-out groups of the *labelled* images prefer them. Here the rule is asked as
somebody would who has labels for 5, 10 or 25 % of the images, and the rest without: in every fold, for every
pretraining seed and five draws of labels, by the heads and comparisons of `adapt`. Its guard and its verdict, which may
keep the generic features too, are not asked, and all of the labels are learned from (`adapt` keeps a quarter to judge
by). The fold's test part, which the rule does not see, tells what that was worth, for `adapt`'s rule and others. A fold
and a seed leave research/runs/rule-SET-FOLD-SEED.json, in about a minute, and are not made again.

A cell of the table: points of AUC above the generic features, on average over folds, seeds and draws; in brackets how
often other features than the generic ones are shipped, and how often these are more than half a point better and worse.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from domain_full import FEW, FRACTIONS, NUM_LABEL_SEEDS, NUM_SEEDS, WIDTH
from domain_sets import NUM_FOLDS, open_set, outer_folds, parser_of, run_sets
from ledger import RUNS, write_run

from beholder.evaluate.label_curve import Fold, random_subset
from beholder.metrics.classification import SCORES
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features
from beholder.recipes.adapt.fit import SURE_ERRORS, Fitted, compare, fit_space_head
from beholder.recipes.adapt.spaces import Space, fit_space
from beholder.runtime.files import read_json
from beholder.runtime.seed import numpy_generator

Row = dict[str, Any]
CANDIDATE, VARIANT = "own-class", "own-class-5e-05"
GENERIC, ALONE, BESIDE = "generic", "adapted", "generic + adapted"


def sparing(row: Row) -> Row:
    """As `adapt` takes one: both side by side, at twice the cost, only where they are surely better than each."""
    is_sure = row["beside_is_sure"] and by_errors(SURE_ERRORS)(row[BESIDE])
    return row[BESIDE] if is_sure else row[ALONE]


def better(row: Row) -> Row:
    return max((row[ALONE], row[BESIDE]), key=lambda one: one["gain"])


def any_gain(taken: Row) -> bool:
    return taken["gain"] > 0


def by_errors(num_errors: float) -> Callable[[Row], bool]:
    return lambda taken: taken["error"] is not None and taken["gain"] > num_errors * taken["error"]


def always(taken: Row) -> bool:
    return True


RULES: dict[str, tuple[Callable[[Row], Row], Callable[[Row], bool]]] = {
    "adapt: any gain": (sparing, any_gain),
    "1 error": (sparing, by_errors(1.0)),
    "2 errors": (sparing, by_errors(SURE_ERRORS)),
    "always": (sparing, always),
    "the better, any gain": (better, any_gain),
    "the better, 2 errors": (better, by_errors(SURE_ERRORS)),
}
"""What may be shipped, and when it is, by what validation says of it."""
MUCH = 0.5
"""Points."""
FEW_LABELS = f"{FRACTIONS[0]:.0%} to {FRACTIONS[FEW - 1]:.0%}"


def main() -> None:
    asked = parser_of(__doc__, range(NUM_FOLDS), range(NUM_SEEDS)).parse_args()
    run_sets(asked, run_set)
    for line in table(asked.set, asked.folds, asked.seeds):
        print(line)


def run_set(which: str, asked: argparse.Namespace) -> None:
    folder = asked.out / which
    with open_set(which, asked.data, folder, "rule") as (_, domain):
        generic = kept_features(folder / "common" / "scratch" / "features")
        for number, fold in enumerate(outer_folds(domain)):
            for seed in asked.seeds:
                name = f"rule-{which}-{number}-{seed}"
                if number not in asked.folds or (RUNS / f"{name}.json").exists():
                    continue
                run = folder / f"fold-{number}" / f"{CANDIDATE}-{seed}"
                adapted = kept_features(run / "scratch" / f"features-of-{VARIANT}")
                draws = list(decide(domain, fold, spaces(fold, generic, adapted)))
                write_run(name, {"set": which, "fold": number, "seed": seed, "variant": VARIANT, "draws": draws})


def kept_features(folder: Path) -> Features:
    """What `domain_full.py run` left there."""
    files = [folder / f"{part}.npy" for part in ("descriptor", "summary")]
    if not all(path.exists() for path in files):
        sys.exit(f"{folder} holds no features; make them by domain_full.py run with the same --out.")
    return Features(*(np.load(path, mmap_mode="r") for path in files))


def spaces(fold: Fold, generic: Features, adapted: Features) -> list[Space]:
    """Those of `adapt`, fitted on the images that are learned from, which are all labelled in these sets."""
    used = {GENERIC: [generic], ALONE: [adapted], BESIDE: [generic, adapted]}
    return [fit_space(name, features, fold.train, width=WIDTH, seed=0) for name, features in used.items()]


def decide(domain: Domain, fold: Fold, seen: Sequence[Space]) -> Iterator[Row]:
    """For each share and draw of labels what validation says of every space, and what the test part says."""
    for fraction in FRACTIONS:
        for draw in range(NUM_LABEL_SEEDS if fraction < 1 else 1):
            count = round(fraction * len(fold.train))
            labelled = random_subset(domain.labels, fold.train, count, numpy_generator(draw, "rule"))
            part = Fold(labelled, fold.test)
            heads = {space.name: fit_space_head(domain, part, space, draw) for space in seen}
            told: Row = {"fraction": fraction, "draw": draw, "num_labels": count}
            for name, head in heads.items():
                choice = compare(domain, part, heads[GENERIC], head, draw)
                told[name] = {"gain": choice.gain, "error": choice.error, "score": score_of(domain, fold, head)}
            told["beside_is_sure"] = compare(domain, part, heads[ALONE], heads[BESIDE], draw).is_sure
            yield told


def score_of(domain: Domain, fold: Fold, fitted: Fitted) -> float:
    found = fitted.readout.probabilities(fitted.space.embedding[fold.test])
    return float(SCORES["auc"](found, domain.labels[fold.test], np.ones((1, len(fold.test))))[0])


def table(sets: Sequence[str], folds: Sequence[int], seeds: Sequence[int]) -> Iterator[str]:
    """A row for each set and share of labels, one for few labels, and one for few labels of all sets; a column for each
    rule."""
    yield "| set | labels | " + " | ".join(RULES) + " |"
    yield "|---" * (2 + len(RULES)) + "|"
    every: list[Row] = []
    for which in sets:
        paths = [RUNS / f"rule-{which}-{fold}-{seed}.json" for fold in folds for seed in seeds]
        if missing := [path for path in paths if not path.exists()]:
            yield f"| {which} | {len(missing)} of {len(paths)} are missing |"
            continue
        draws: list[Row] = [draw for path in paths for draw in read_json(path)["draws"]]
        for fraction in FRACTIONS:
            rows = [draw for draw in draws if draw["fraction"] == fraction]
            num_labels = round(float(np.mean([draw["num_labels"] for draw in rows])))
            yield row_of(which, f"{num_labels} ({fraction:.0%})", rows)
        few = [draw for draw in draws if draw["fraction"] in FRACTIONS[:FEW]]
        every += few
        yield row_of(which, FEW_LABELS, few)
    if every:
        yield row_of("all", FEW_LABELS, every)
        yield mistakes(every)


def row_of(title: str, labels: str, rows: Sequence[Row]) -> str:
    return f"| {title} | {labels} | " + " | ".join(outcome(rows, *rule) for rule in RULES.values()) + " |"


def outcome(rows: Sequence[Row], take: Callable[[Row], Row], is_shipped: Callable[[Row], bool]) -> str:
    """Points of AUC above the generic features on average; in brackets how often another space is shipped, and how
    often what is shipped is more than half a point better and worse."""
    got = np.array([gain_of_shipped(row, take, is_shipped) for row in rows])
    shares = (np.isfinite(got).mean(), (got > MUCH).mean(), (got < -MUCH).mean())
    return f"{np.nan_to_num(got).mean():+.2f} ({', '.join(f'{share:.0%}' for share in shares)})"


def gain_of_shipped(row: Row, take: Callable[[Row], Row], is_shipped: Callable[[Row], bool]) -> float:
    """Points on the test part; nan where the generic features are shipped."""
    taken = take(row)
    return 100 * (taken["score"] - row[GENERIC]["score"]) if is_shipped(taken) else float("nan")


def mistakes(rows: Sequence[Row]) -> str:
    """What the table does not tell of `adapt`'s rule."""
    got = np.array([gain_of_shipped(row, sparing, any_gain) for row in rows])
    missed = np.array([gain_of_shipped(row, sparing, always) for row in rows])[np.isnan(got)]
    num_both = sum(sparing(row) is row[BESIDE] for row in rows)
    return (
        f"adapt, {len(rows)} draws of few labels: shipped something worse, by however little, in "
        f"{(got < 0).mean():.0%}; kept the generic features, and others were more than half a point better, in "
        f"{(missed > MUCH).sum() / len(rows):.0%}; took both side by side in {num_both}"
    )


if __name__ == "__main__":
    main()
