"""What more pretraining and more unlabelled images are worth: the trend of research/PROTOCOL.md.

    python benchmarks/domain_trend.py run --minutes 1.25 5 20 40 --out full [--seeds 0 1]
    python benchmarks/domain_trend.py run --minutes 5 --shares 0.1 0.3 --out full
    python benchmarks/domain_trend.py plot --plots docs

One fold of one set, the winner of the full run, its readout, labels and test part. A run is a piece as in
`domain_full.py`: it leaves research/runs/trend-SET-VARIANT-MINUTES-SHARE-FOLD-SEED.json, and is not made again. The
principal components are of all unlabelled images in every run: the shares tell of pretraining alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from domain_candidates import CANDIDATES
from domain_full import FEW, FRACTIONS, NUM_LABEL_SEEDS, STRONG, Piece, keep, make, score
from domain_plots import standalone
from domain_sets import SETS, opened, outer_folds
from ledger import PREDICTIONS, RUNS

from beholder.evaluate.charts import Axes, Level, Line, line_chart

WIDTH, HEIGHT = 900, 420


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "plot"))
    parser.add_argument("--set", choices=SETS, default="elpv")
    parser.add_argument("--candidate", choices=CANDIDATES, default="own-class")
    parser.add_argument("--variant", default="own-class-5e-05")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0], help="of pretraining, on one thread")
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0], help="of the unlabelled images")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="a folder for what `run` needs on the way")
    parser.add_argument("--plots", type=Path, help="a folder for the two pictures")
    asked = parser.parse_args()
    if asked.what == "run":
        if asked.out is None:
            sys.exit("run needs --out")
        run(asked)
    else:
        plot(asked)


def run(asked: argparse.Namespace) -> None:
    folder = asked.out / asked.set
    with opened(asked.set, asked.data, folder, "common") as found:
        fold = outer_folds(found.domain)[asked.fold]
        for minutes, share, seed in product(asked.minutes, asked.shares, asked.seeds):
            name = f"trend-{asked.set}-{asked.variant}-{minutes:g}-{share:g}-{asked.fold}-{seed}"
            if (RUNS / f"{name}.json").exists():
                continue
            place = folder / f"trend-{minutes:g}-{share:g}-{asked.fold}"
            piece = Piece(asked.candidate, asked.variant, "instead", asked.fold, seed, 60 * minutes)
            keep(
                name,
                asked.set,
                piece,
                {
                    "share": share,
                    "minutes": minutes,
                    **make(piece, found, fold, place, place, share),
                },
            )


def plot(asked: argparse.Namespace) -> None:
    """A line for each run, and two pictures: over minutes with all images, and over images with five minutes."""
    files = sorted(RUNS.glob(f"trend-{asked.set}-{asked.variant}-*.json"))
    runs = [one for one in (json.loads(path.read_text()) for path in files) if one["fold"] == asked.fold]
    runs.sort(key=lambda one: (one["minutes"], one["num_unlabelled"], one["seed"]))
    strong = generic_scores(asked)
    for one in runs:
        gains = " ".join(f"{100 * float(key):g} % {value:+.2f}" for key, value in gain(one, strong).items())
        print(f"{one['minutes']:>5g} min, {one['num_unlabelled']:,} images, seed {one['seed']}: {gains}")
    whole = [one for one in runs if one["share"] == 1]
    shares = [one for one in runs if one["minutes"] == 5]
    for name, rows, key in (("minutes", whole, "minutes"), ("images", shares, "num_unlabelled")):
        if asked.plots and rows:
            (asked.plots / f"trend-{name}.svg").write_text(drawn(rows, key, name, strong), encoding="utf-8")


def generic_scores(asked: argparse.Namespace) -> dict[str, np.ndarray]:
    """Of the same readout on the generic features, for each draw of labels."""
    path = PREDICTIONS / asked.set / f"fold-{asked.fold}" / f"{STRONG}.npz"
    if not path.exists():
        sys.exit(f"{path} is missing; make it by domain_full.py run --set {asked.set} --folds {asked.fold} --seeds 0.")
    told = np.load(path)
    every = np.ones((1, len(told["labels"])))
    return {f"{one:g}": np.array([score(told, one, seed, every)[0] for seed in range(NUM_LABEL_SEEDS)])
            for one in FRACTIONS[:FEW]}  # fmt: skip


def gain(one: dict[str, Any], strong: dict[str, np.ndarray]) -> dict[str, float]:
    """Points of a run above the generic features, by the share of labels."""
    return {key: 100 * float(np.mean(np.array(one["scores"][key]) - base)) for key, base in strong.items()}


def drawn(rows: list[dict[str, Any]], key: str, name: str, strong: dict[str, np.ndarray]) -> str:
    """A picture of its own: means over pretraining seeds."""
    places = sorted({one[key] for one in rows})
    lines = []
    for number, (fraction, colour) in enumerate(zip(strong, ("adapted", "generic", "other"), strict=True)):
        values = [np.mean([gain(one, strong)[fraction] for one in rows if one[key] == place]) for place in places]
        title = f"{100 * float(fraction):g} % of the labels"
        lines.append(Line(title, [float(value) for value in values], colour=colour, shape=number))
    ticks = [(float(place), f"{place:,g}", name) for place in places]
    axes = Axes(
        places, ticks, is_logarithmic=True, y_title="AUC above the generic features, points", write="{:+.2f}".format
    )  # fmt: skip
    chart = line_chart(
        lines, axes, width=WIDTH, height=HEIGHT, description=f"Gain by {name}", level=Level(0.0, "generic")
    )
    return standalone([chart], WIDTH, HEIGHT)


if __name__ == "__main__":
    main()
