"""What do few labels get of pretraining's gain, once `adapt`'s rule has decided what is shipped?

    python benchmarks/domain_rule.py run --data DATA --out runs/full     after `domain_full.py run` with the same --out
    python benchmarks/domain_rule.py table

`adapt` ships the adapted features where left-out groups of the *labelled* images prefer them by two standard errors.
Here the rule is asked as somebody would who has labels for 5, 10 or 25 % of the images, and the rest without: in every
fold, for every pretraining seed and five draws of labels, by `adapt`'s own code. The fold's test part, which the rule
does not see, tells what was shipped, beside less cautious rules and none. A fold and a seed leave
research/runs/rule-SET-FOLD-SEED.json, in about a minute, and are not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from domain_full import FRACTIONS, NUM_LABEL_SEEDS, NUM_SEEDS, WIDTH
from domain_sets import NUM_FOLDS, SETS, open_set, outer_folds
from ledger import RUNS, write_run

from beholder.evaluate.label_curve import Fold, random_subset
from beholder.metrics.classification import SCORES
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features
from beholder.recipes.adapt.fit import NUM_ERRORS, Fitted, choose
from beholder.recipes.adapt.spaces import Space, fit_space
from beholder.runtime.files import read_json
from beholder.runtime.seed import numpy_generator

RULES = {f"{NUM_ERRORS:g} errors (adapt)": NUM_ERRORS, "1 error": 1.0, "any gain": 0.0, "always": -np.inf}
"""Standard errors of validation's gain that the adapted features must win by."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--set", choices=SETS, nargs="+", default=SETS)
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(NUM_FOLDS)))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(NUM_SEEDS)), help="of pretraining")
    parser.add_argument("--candidate", default="own-class")
    parser.add_argument("--variant", default="own-class-5e-05")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="the folder of domain_full.py, which holds the features")
    asked = parser.parse_args()
    if asked.what == "run":
        if asked.out is None:
            sys.exit("run needs --out")
        for which in asked.set:
            run_set(which, asked)
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
                run = folder / f"fold-{number}" / f"{asked.candidate}-{seed}"
                adapted = kept_features(run / "scratch" / f"features-of-{asked.variant}")
                draws = list(decide(domain, fold, spaces(fold, generic, adapted)))
                write_run(name, {"set": which, "fold": number, "seed": seed, "variant": asked.variant, "draws": draws})


def kept_features(folder: Path) -> Features:
    """What `domain_full.py run` left there."""
    files = [folder / f"{part}.npy" for part in ("descriptor", "summary")]
    if not all(path.exists() for path in files):
        sys.exit(f"{folder} holds no features; make them by domain_full.py run with the same --out.")
    return Features(*(np.load(path, mmap_mode="r") for path in files))


def spaces(fold: Fold, generic: Features, adapted: Features) -> list[Space]:
    """Those of `adapt`, fitted on the images that are learned from, which are all labelled in these sets."""
    used = {"generic": [generic], "adapted": [adapted], "generic + adapted": [generic, adapted]}
    return [fit_space(name, features, fold.train, width=WIDTH, seed=0) for name, features in used.items()]


def decide(domain: Domain, fold: Fold, seen: Sequence[Space]) -> Iterator[dict[str, Any]]:
    """For each share and draw of labels what validation says, and what the test part says of both sides."""
    for fraction in FRACTIONS:
        for draw in range(NUM_LABEL_SEEDS if fraction < 1 else 1):
            count = round(fraction * len(fold.train))
            labelled = random_subset(domain.labels, fold.train, count, numpy_generator(draw, "rule"))
            choice = choose(domain, Fold(labelled, fold.test), seen[0], seen[1:], seed=draw)
            assert choice.candidate is not None
            yield {
                "fraction": fraction, "draw": draw, "num_labels": count, "candidate": choice.candidate.space.name,
                "gain": choice.gain, "error": choice.error,
                "generic_score": test_auc(domain, fold, choice.reference),
                "candidate_score": test_auc(domain, fold, choice.candidate),
            }  # fmt: skip


def test_auc(domain: Domain, fold: Fold, fitted: Fitted) -> float:
    found = fitted.readout.probabilities(fitted.space.embedding[fold.test])
    return float(SCORES["auc"](found, domain.labels[fold.test], np.ones((1, len(fold.test))))[0])


def table(sets: Sequence[str], folds: Sequence[int], seeds: Sequence[int]) -> Iterator[str]:
    """A row for each set and share of labels: by rule, how often the adapted features are shipped, points of AUC above
    the generic ones on average, and how often what is shipped is worse."""
    yield "| set | labels | " + " | ".join(RULES) + " |"
    yield "|---" * (2 + len(RULES)) + "|"
    for which in sets:
        paths = [RUNS / f"rule-{which}-{fold}-{seed}.json" for fold in folds for seed in seeds]
        if missing := [path for path in paths if not path.exists()]:
            yield f"| {which} | {len(missing)} of {len(paths)} are missing |"
            continue
        draws = [draw for path in paths for draw in read_json(path)["draws"]]
        for fraction in FRACTIONS:
            rows = [draw for draw in draws if draw["fraction"] == fraction]
            num_labels = round(float(np.mean([draw["num_labels"] for draw in rows])))
            told = " | ".join(outcome(rows, num_errors) for num_errors in RULES.values())
            yield f"| {which} | {num_labels} ({fraction:.0%}) | {told} |"


def outcome(rows: Sequence[dict[str, Any]], num_errors: float) -> str:
    is_shipped = np.array(
        [row["gain"] > num_errors * row["error"] if np.isfinite(num_errors) else True for row in rows]
    )
    gains = 100 * np.array([row["candidate_score"] - row["generic_score"] for row in rows])
    got = np.where(is_shipped, gains, 0.0)
    return f"{is_shipped.mean():.0%}, {got.mean():+.2f}, worse {(got < 0).mean():.0%}"


if __name__ == "__main__":
    main()
