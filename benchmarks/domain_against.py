"""One candidate of the full run minus others at every share of the labels: ours minus lightly-train, say.

    python benchmarks/domain_against.py

Read from research/predictions/, as the table of `domain_full.py` is, on the folds and seeds named (0 and 0, where the
peer was run). A row for each set and rival that is there: points of AUC, with the 95 % interval of the paired
difference over redrawn test groups and label seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from domain_full import FRACTIONS, STRONG, Redrawn, gain, mean_scores, told
from domain_peer import METHODS
from domain_sets import SETS
from ledger import PREDICTIONS

OURS = "own-class-5e-05-instead"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, nargs="+", default=SETS)
    parser.add_argument("--ours", default=OURS, help="variant and way")
    parser.add_argument("--rivals", nargs="+", default=[f"lightly-train-{one}-instead" for one in METHODS])
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = parser.parse_args()
    print("| set | ours minus | " + " | ".join(f"{one:.0%}" for one in FRACTIONS) + " |")
    print("|---" * (2 + len(FRACTIONS)) + "|")
    for which in asked.set:
        for rival in asked.rivals:
            for row in rows(PREDICTIONS / which, asked.ours, rival, asked.folds, asked.seeds):
                print(f"| {which} | {rival} | {row} |")


def rows(folder: Path, ours: str, rival: str, folds: list[int], seeds: list[int]) -> Iterator[str]:
    """One where all pieces of both are there, else none."""
    arms = [[[folder / f"fold-{fold}" / f"{arm}-{seed}.npz" for seed in seeds] for fold in folds]
            for arm in (ours, rival)]  # fmt: skip
    if not all(path.exists() for arm in arms for row in arm for path in row):
        return
    own, other = ([[np.load(path) for path in row] for row in arm] for arm in arms)
    yield " | ".join(differences(own, other, [np.load(folder / f"fold-{fold}" / f"{STRONG}.npz") for fold in folds]))


def differences(ours: list[list[Any]], rival: list[list[Any]], units: list[Any]) -> Iterator[str]:
    """For each share of the labels; `units` hold the labels and groups of each fold's test part."""
    plain = [np.ones((1, len(one["labels"]))) for one in units]
    points = 100 * (mean_scores(ours, plain) - mean_scores(rival, plain))[:, 0]
    redrawn = Redrawn.of(units, len(ours[0]))
    own, other = redrawn.curve(ours), redrawn.curve(rival)
    for fraction, point in zip(FRACTIONS, points, strict=True):
        yield f"{point:+.1f} ({told(gain(own, fraction, other, fraction), 95)})"


if __name__ == "__main__":
    main()
