"""How many labels does the default recipe need? Grouped cross-validation against the strong generic baseline.

    python benchmarks/labels.py --set elpv --out runs/labels-elpv
    python benchmarks/labels.py --set magnetic_tile --data DATA --out runs/labels-tiles
    python benchmarks/labels.py --set sign_digits --data DATA --out runs/labels-digits

The peer is what practice knows as strong: EfficientNet-Lite0 at three resolutions, multi-stage pooling, standardised,
256 principal components, RBF support vectors (C = 3, gamma = scale, balanced). Same features, folds and labelled
images for both; scores are AUC (macro one-versus-rest), mean over folds and label seeds.

`elpv`: 2,624 solar cells of the package elpv-dataset, modules inferred (examples/solar_cells.py).
`magnetic_tile`: Huang et al. 2018, 6 classes. `sign_digits`: Mavi 2020, 10 classes. DATA is a folder of image folders
with a metadata.jsonl each; near-duplicates are kept on one side of every split.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.svm import SVC

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.data.split import grouped_folds
from beholder.evaluate.label_curve import Arm, Curve, Fold, Predict, label_curve
from beholder.evaluate.pick import kmeans_pick
from beholder.evaluate.resample import point_scores
from beholder.evaluate.verdict import judge
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.adapt.domain import Domain, read_domain
from beholder.recipes.adapt.features import Features, extract
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.recipes.adapt.spaces import fit_space
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.machine import machine
from beholder.runtime.run_folder import RunFolder
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.readout import fit_readout

FRACTIONS = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
NUM_FOLDS = 4

Fitter = Callable[[np.ndarray, np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("elpv", "magnetic_tile", "sign_digits"), required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--label-seeds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    config = describe_set(asked)
    device = pick_device("cpu", asked.threads)
    with RunFolder.open(asked.out / "run", to_json(config)) as run:
        session = Session(config, run, device, Limits(), PixelConfig(), Log())
        domain = read_domain(config, run, session.limits, device.num_threads, session.log)
        features = extract(session, efficientnet_lite0(), domain.samples, "features")
        curves = [measure(domain, features, repeat, asked.label_seeds) for repeat in range(asked.repeats)]
    report(asked, curves, machine(device))


def describe_set(asked: argparse.Namespace) -> AdaptConfig:
    if asked.set == "elpv":
        table = asked.out / "solar_cells.csv"
        subprocess.run([sys.executable, "examples/solar_cells.py", table], check=True)
        return AdaptConfig(photos=str(table), labels="auto", group="module", budget="0")
    if asked.data is None:
        sys.exit("--data is needed for this set")
    return AdaptConfig(photos=str(asked.data / asked.set), labels="auto", budget="0")


def measure(domain: Domain, features: Features, repeat: int, num_seeds: int) -> Curve:
    """One grouped cross-validation; a repeat deals the groups anew."""
    labelled = np.flatnonzero(domain.is_labelled)
    names = [domain.classes[label] for label in domain.labels[labelled]]
    fold_of = grouped_folds(names, domain.groups[labelled], NUM_FOLDS, seed=repeat)
    folds = [Fold(labelled[fold_of != k], labelled[fold_of == k]) for k in range(NUM_FOLDS)]
    spaces = [fit_space("generic", [features], fold.train, width=256, seed=0).embedding for fold in folds]
    last = np.asarray(features.summary, np.float32)
    tables = {"strong": spaces, "beholder": spaces, "last layer": [last] * NUM_FOLDS}

    def arm(name: str, title: str, table: str, fit: Fitter, is_picked: bool = False) -> Arm:
        def fit_arm(train: np.ndarray, fold: int, seed: int) -> Predict:
            rows = tables[table][fold]
            predict = fit(rows[train], domain.labels[train], domain.groups[train])
            return lambda test: predict(rows[test])

        def pick(pool: np.ndarray, count: int, fold: int, seed: int) -> np.ndarray:
            return pool[kmeans_pick(tables[table][fold][pool], count, seed)]

        return Arm(name, title, "generic", fit_arm, pick if is_picked else None)

    num_classes = len(domain.classes)

    def ours(rows: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return fit_readout(rows, labels, groups, num_classes).probabilities

    def support_vectors(rows: np.ndarray, labels: np.ndarray, _: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        if len(np.unique(labels)) < 2:
            return lambda test: np.full((len(test), num_classes), 1 / num_classes)
        machine = SVC(C=3, gamma="scale", class_weight="balanced").fit(rows, labels)

        def predict(test: np.ndarray) -> np.ndarray:
            decision = machine.decision_function(test)
            scores = np.full((len(test), num_classes), -1e9)
            scores[:, machine.classes_] = np.stack([-decision, decision], 1) if decision.ndim == 1 else decision
            scores = np.exp(scores - scores.max(1, keepdims=True))
            return scores / scores.sum(1, keepdims=True)

        return predict

    arms = [
        arm("last layer", "generic last layer, our readout", "last layer", ours),
        arm("strong", "strong generic: RBF support vectors", "strong", support_vectors),
        arm("strong, picked", "strong generic, picked labels", "strong", support_vectors, is_picked=True),
        arm("beholder", "beholder default", "beholder", ours),
        arm("beholder, picked", "beholder default, picked labels", "beholder", ours, is_picked=True),
    ]
    return label_curve(arms, domain.labels, domain.groups, folds, fractions=FRACTIONS, num_seeds=num_seeds, seed=repeat)


def report(asked: argparse.Namespace, curves: list[Curve], where: dict) -> None:
    """Print the table and write labels.json: mean over repeats and folds; the spread is over folds."""
    rows = {}
    for arm in curves[0].arms:
        scores = np.concatenate([point_scores(curve, arm.name) for curve in curves], axis=1)  # F K S
        by_fold = np.nanmean(scores, axis=2)
        rows[arm.name] = {"mean": by_fold.mean(1).tolist(), "spread": by_fold.std(1).tolist()}
    verdicts = [judge(curve, "strong", "beholder", change="beholder's readout").sentence for curve in curves]
    print(f"{asked.set}: AUC in points, {len(curves)} x {NUM_FOLDS} folds, {asked.label_seeds} label seeds")
    print(f"{'':34}" + "".join(f"{fraction:>14.0%}" for fraction in curves[0].fractions))
    for arm in curves[0].arms:
        row = rows[arm.name]
        cells = zip(row["mean"], row["spread"], strict=True)
        print(f"{arm.title:34}" + "".join(f"{100 * mean:8.1f} ± {100 * spread:3.1f}" for mean, spread in cells))
    print("\n".join(verdicts))
    found = {"set": asked.set, "fractions": curves[0].fractions, "counts": curves[0].counts, "rows": rows}
    found |= {"verdicts": verdicts, "machine": where, "repeats": asked.repeats, "label_seeds": asked.label_seeds}
    (asked.out / "labels.json").write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
