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
from domain_sets import NUM_FOLDS, SETS, describe_set, outer_folds
from ledger import energy, write_run

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.data.split import grouped_folds
from beholder.evaluate.label_curve import Arm, Fold, Predict, label_curve
from beholder.evaluate.resample import point_scores
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.adapt.domain import Domain, read_domain
from beholder.recipes.adapt.features import Features, extract, extract_by
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.spaces import fit_space
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.machine import machine
from beholder.runtime.run_folder import RunFolder
from beholder.tokenizers.pixels import PixelConfig
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
    folder = asked.out / asked.set
    folder.mkdir(parents=True, exist_ok=True)
    config = describe_set(asked.set, asked.data, folder, (SIDE,))
    device = pick_device("cpu", 1)
    with RunFolder.open(folder / "run", to_json(config)) as run:
        session = Session(config, run, device, Limits(), PixelConfig(), Log())
        domain = read_domain(config, run, session.limits, 1, session.log)
        parts = deal(domain)
        hidden = (Fold(parts.learn, parts.hidden),)  # what pretraining and the spaces may not see
        blind = dataclasses.replace(domain, folds=hidden)
        generic = efficientnet_lite0()
        features = extract(session, generic, domain.samples, "features")
        for candidate in asked.candidates:
            for variant in CANDIDATES[candidate](session, blind, generic, asked.seconds, features):
                name = f"features of {variant.name}"
                seen = extract_by(session, variant.look, domain.samples, name, at_least=variant.side)
                found = compare(domain, parts, features, seen)
                keep(
                    asked.set,
                    variant,
                    found,
                    {**parts_told(parts), "machine": machine(device), **energy(variant.story["cpu_seconds"])},
                )


def deal(domain: Domain) -> Parts:
    """Fold 0 of the protocol: a quarter is the test part, a third of the rest validates."""
    outer = outer_folds(domain)[0]
    rest = outer.train
    names = [domain.classes[label] for label in domain.labels[rest]]
    third_of = grouped_folds(names, domain.groups[rest], NUM_FOLDS - 1, seed=1)
    learn, validation = rest[third_of != 0], rest[third_of == 0]
    return Parts(learn, validation, np.sort(np.concatenate([validation, outer.test])))


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
