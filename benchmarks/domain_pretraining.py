"""Screening of research/PROTOCOL.md: does a candidate's pretraining raise the validation score above the generic one?

    python benchmarks/domain_pretraining.py --set elpv --candidates teacher statistics --out runs/s
    python benchmarks/domain_pretraining.py --set pneumoniamnist_mini --data DATA --candidates teacher --out runs/s

One fold, its validation part alone (the test part is neither learned from nor looked at), one pretraining seed, three
label seeds; features at 224 pixels. A line for each variant, and research/runs/screen-SET-VARIANT.json: the score's
difference to the strong generic baseline, mean over 5, 10 and 25 % of the labels, with the readout of `adapt` on both
sides.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from domain_candidates import CANDIDATES, Variant
from domain_sets import SETS, opened, outer_folds, validation_fold
from ledger import energy, write_run

from beholder.evaluate.label_curve import Arm, Fold, Predict, label_curve
from beholder.evaluate.resample import point_scores
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features, extract_by
from beholder.recipes.adapt.spaces import fit_space
from beholder.runtime.machine import machine
from beholder.train.readout import fit_readout

FRACTIONS = (0.05, 0.10, 0.25)
NUM_LABEL_SEEDS = 3
SIDE = 224


@dataclass(frozen=True)
class Parts:
    """Image numbers of one fold: those that are learned from, and those that judge; the test part is in neither."""

    learn: np.ndarray
    validation: np.ndarray
    hidden: np.ndarray
    """Validation and test part."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--data", type=Path, help="the folder of data sets; not for elpv and digits")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--seconds", type=float, default=300.0, help="of pretraining, on one thread")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    with opened(asked.set, asked.data, asked.out / asked.set, "run", (SIDE,)) as found:
        session, domain, features = found.session, found.domain, found.features
        parts = deal(domain)
        hidden = (Fold(parts.learn, parts.hidden),)  # what pretraining and the spaces may not see
        blind = dataclasses.replace(domain, folds=hidden)
        for candidate in asked.candidates:
            for variant in CANDIDATES[candidate](session, blind, found.generic, asked.seconds, features):
                name = f"features of {variant.name}"
                seen = extract_by(session, variant.look, domain.samples, name, at_least=variant.side)
                scores = compare(domain, parts, features, seen)
                told = {**parts_told(parts), **energy(variant.story["cpu_seconds"]), "machine": machine(session.device)}
                keep(asked.set, variant, scores, told)


def deal(domain: Domain) -> Parts:
    """Fold 0 of the protocol: a quarter is the test part, a third of the rest validates."""
    outer = outer_folds(domain)[0]
    fold = validation_fold(domain, outer)
    return Parts(fold.train, fold.test, np.sort(np.concatenate([fold.test, outer.test])))


def compare(domain: Domain, parts: Parts, generic: Features, adapted: Features) -> dict[str, Any]:
    """Validation scores by arm and fraction, label seeds averaged, and the differences to the generic arm."""
    tables = {
        name: fit_space(name, used, parts.learn, width=256, seed=0).embedding
        for name, used in (("strong", [generic]), ("instead", [adapted]), ("beside", [generic, adapted]))
    }

    def arm(name: str) -> Arm:
        def fit(train: np.ndarray, fold: int, seed: int) -> Predict:
            rows = tables[name]
            readout = fit_readout(rows[train], domain.labels[train], domain.groups[train], len(domain.classes))
            return lambda asked: readout.probabilities(rows[asked])

        return Arm(name, name, "generic" if name == "strong" else "adapted", fit)

    folds = (Fold(parts.learn, parts.validation),)
    curve = label_curve(
        [arm(name) for name in tables], domain.labels, domain.groups, folds,
        fractions=FRACTIONS, num_seeds=NUM_LABEL_SEEDS,
    )  # fmt: skip
    scores = {name: np.nanmean(point_scores(curve, name), axis=(1, 2)) for name in tables}
    gains = {name: float((scores[name] - scores["strong"]).mean()) for name in ("instead", "beside")}
    return {"fractions": curve.fractions, "counts": curve.counts, "gains": gains,
            "scores": {name: row.tolist() for name, row in scores.items()}}  # fmt: skip


def parts_told(parts: Parts) -> dict[str, int]:
    return {"num_learned_from": len(parts.learn), "num_validating": len(parts.validation)}


def keep(name: str, variant: Variant, found: dict[str, Any], told: dict[str, Any]) -> None:
    gains = ", ".join(f"{way} {100 * gain:+.2f}" for way, gain in found["gains"].items())
    baseline = 100 * np.mean(found["scores"]["strong"])
    print(f"{name:20} {variant.name:20} points: {gains}; strong {baseline:.1f}", flush=True)
    write_run(f"screen-{name}-{variant.name}", {
        "set": name, "variant": variant.name, "part": "validation", **found, "pretraining": variant.story, **told,
    })  # fmt: skip


if __name__ == "__main__":
    main()
