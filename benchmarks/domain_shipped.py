"""Is what `beholder adapt` ships ever worse than the generic model? The question of research/PROTOCOL.md, asked with
images that no part of `adapt` saw: not its pretraining, its validation nor its verdict.

    python benchmarks/domain_shipped.py run --data DATA --out shipped [--set elpv --folds 0 --seeds 0]
    python benchmarks/domain_shipped.py table

Of each set three of the protocol's four folds are given to `adapt` (defaults, all their labels, one thread), as a user
gives a table. It splits them itself, says its verdict and ships a model. That model then classifies the fourth fold. So
does, where something else than the generic features was shipped, the model of `adapt --budget 0`; the difference of the
two has a 95 % interval over 2,000 redrawn sets of groups. Where the generic features were shipped there is none. About
a quarter of an hour a fold; a fold leaves research/runs/shipped-SET-FOLD-SEED.json and is not made again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from domain_sets import open_set, outer_folds, parser_of, run_sets
from ledger import RUNS, write_run

import beholder
from beholder.evaluate.label_curve import Fold
from beholder.evaluate.resample import unit_weights
from beholder.metrics.classification import SCORES
from beholder.recipes.adapt.domain import Domain
from beholder.runtime.files import read_json
from beholder.runtime.log import Log

NUM_DRAWS = 2000


def main() -> None:
    asked = parser_of(__doc__, [0], [0]).parse_args()
    run_sets(asked, run_set)
    for line in table(asked.set, asked.folds, asked.seeds):
        print(line)


def run_set(which: str, asked: argparse.Namespace) -> None:
    folder = asked.out / which
    with open_set(which, asked.data, folder, "read") as (_, domain):
        for number in asked.folds:
            fold, photos = outer_folds(domain)[number], folder / f"fold-{number}.csv"
            for seed in asked.seeds:
                name = f"shipped-{which}-{number}-{seed}"
                if not (RUNS / f"{name}.json").exists():
                    write_table(photos, domain, fold.train)
                    told = judge(photos, domain, fold, folder / f"fold-{number}-seed-{seed}", seed)
                    write_run(name, {"set": which, "fold": number, "seed": seed, **told})


def write_table(path: Path, domain: Domain, images: Sequence[int]) -> None:
    """The images that `adapt` gets; their groups, near-duplicates among them, hold together in its splits, too."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(("path", "label", "part_of"))
        for index in images:
            file = domain.samples[index].path
            assert file is not None
            table.writerow((file.resolve(), domain.classes[domain.labels[index]], f"g{domain.groups[index]}"))


def judge(photos: Path, domain: Domain, fold: Fold, out: Path, seed: int) -> dict[str, Any]:
    """What `adapt` says and ships, and how that does on the images that it was not given."""
    results = adapted(photos, out / "adapted", seed, "5m")
    every = np.ones((1, len(fold.test)))
    shipped = probabilities(out / "adapted", domain, fold.test)
    told = {**said(results), "outer_score": float(auc(shipped, domain, fold.test, every)[0])}
    if told["verdict"]["shipped"] == "generic":
        return told
    adapted(photos, out / "generic", seed, "0")
    generic = probabilities(out / "generic", domain, fold.test)
    unit = np.unique(domain.groups[fold.test], return_inverse=True)[1]
    weights = unit_weights(int(unit.max()) + 1, NUM_DRAWS, seed)[:, unit]
    draws = auc(shipped, domain, fold.test, weights) - auc(generic, domain, fold.test, weights)
    before = float(auc(generic, domain, fold.test, every)[0])
    low, high = (float(one) for one in np.nanpercentile(draws, [2.5, 97.5]))
    return {**told, "outer_generic_score": before, "outer_difference": told["outer_score"] - before,
            "outer_interval": [low, high]}  # fmt: skip


def adapted(photos: Path, out: Path, seed: int, budget: str) -> dict[str, Any]:
    """`results.json` of a run, which goes on if it was begun and is not made again if it ended."""
    if (out / "results.json").exists():
        return read_json(out / "results.json")
    return beholder.adapt(
        photos, out=out, labels="auto", group="part_of", budget=budget, seed=seed, threads=1, log=Log()
    )


def said(results: dict[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of `results.json`."""
    kept = ("outcome", "difference", "interval", "num_groups", "shipped", "guard")
    return {
        "split": results["data"]["split"],
        "verdict": {key: results["verdict"].get(key) for key in kept},
        "saved": results["labels_saved"]["sentence"],
        "pretraining": {key: results["training"][key] for key in ("objective", "steps", "num_images", "seconds")},
        "cost": results["cost"]["total"],
        "machine": results["machine"],
    }


def probabilities(run: Path, domain: Domain, images: np.ndarray) -> np.ndarray:
    """n C, in the order of the domain's classes; every image of a set can be read."""
    answers = beholder.classify(run / "model", [domain.samples[index].path for index in images], threads=1)
    return np.array([[answer.details["probabilities"][name] for name in domain.classes] for answer in answers])


def auc(found: np.ndarray, domain: Domain, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return SCORES["auc"](found.astype(np.float32), domain.labels[images], weights)


def table(sets: Sequence[str], folds: Sequence[int], seeds: Sequence[int]) -> Iterator[str]:
    for name in (f"{which}-{fold}-{seed}" for which in sets for fold in folds for seed in seeds):
        path = RUNS / f"shipped-{name}.json"
        if not path.exists():
            yield f"{name}: not run"
            continue
        found = read_json(path)
        verdict = found["verdict"]
        low, high = (100 * one for one in verdict["interval"])
        yield (
            f"{name}: verdict {verdict['outcome']}, {100 * verdict['difference']:+.2f} points "
            f"({low:+.2f} to {high:+.2f}), {verdict['num_groups']} groups; {found['pretraining']['steps']} steps; "
            f"shipped {verdict['shipped']}"
        )
        kept_apart = f"  on what adapt did not see: AUC {100 * found['outer_score']:.2f}"
        if "outer_interval" in found:
            low, high = (100 * one for one in found["outer_interval"])
            kept_apart += f", {100 * found['outer_difference']:+.2f} above generic ({low:+.2f} to {high:+.2f})"
        yield kept_apart
        yield f"  {found['saved']}"


if __name__ == "__main__":
    main()
