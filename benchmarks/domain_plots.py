"""Pictures of the full run of research/PROTOCOL.md, one a set: scores by labels, and the gain with its intervals.

    python benchmarks/domain_plots.py --plots docs [--variant own-class-5e-05-instead] [--seeds 0]

Left: AUC of the plain generic features, the strong ones and the adapted ones, at the same labels. Right: how far plain
and adapted ones stand above the strong ones, paired, with 95 % intervals over groups, pretraining and label seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from domain_full import FRACTIONS, LAST, NUM_SEEDS, STRONG, Redrawn, gain, mean_scores
from domain_sets import NUM_FOLDS, SETS
from ledger import PREDICTIONS

from beholder.evaluate.charts import Axes, Level, Line, line_chart

WIDTH, HEIGHT = 560, 320
COLOURS = {LAST: "other", STRONG: "generic"}
NAMES = {LAST: "plain generic", STRONG: "strong generic"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, required=True, help="a folder")
    parser.add_argument("--variant", default="own-class-5e-05-instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(NUM_SEEDS)), help="of pretraining")
    asked = parser.parse_args()
    for name in SETS:
        folders = [PREDICTIONS / name / f"fold-{fold}" for fold in range(NUM_FOLDS)]
        files = [[folder / f"{asked.variant}-{seed}.npz" for seed in asked.seeds] for folder in folders]
        if not all(path.exists() for row in files for path in row):
            print(f"{name}: not whole, no picture")
            continue
        arms = {one: [[np.load(folder / f"{one}.npz")] for folder in folders] for one in (LAST, STRONG)}
        arms["adapted"] = [[np.load(path) for path in row] for row in files]
        path = asked.plots / f"labels-{name}.svg"
        path.write_text(standalone([scores(name, arms), gains(name, arms)], WIDTH, HEIGHT), encoding="utf-8")
        print(path)


def scores(name: str, arms: Mapping[str, list]) -> str:
    plain = [np.ones((1, len(row[0]["labels"]))) for row in arms[STRONG]]
    lines = [
        Line(NAMES.get(arm, arm), [float(value) for value in 100 * mean_scores(rows, plain)[:, 0]],
             colour=COLOURS.get(arm, "adapted"), shape=number)
        for number, (arm, rows) in enumerate(arms.items())
    ]  # fmt: skip
    return chart(lines, f"{name}: AUC, %", "{:.1f}".format)


def gains(name: str, arms: Mapping[str, list]) -> str:
    redrawn = Redrawn.of([row[0] for row in arms[STRONG]], len(arms["adapted"][0]))
    plain = [np.ones((1, len(row[0]["labels"]))) for row in arms[STRONG]]
    strong, lines = mean_scores(arms[STRONG], plain)[:, 0], []
    curves = {arm: redrawn.curve(rows) for arm, rows in arms.items()}
    for arm, shape in ((LAST, 0), ("adapted", 2)):
        draws = [gain(curves[arm], one, curves[STRONG], one) for one in FRACTIONS]
        low, high = (np.array([np.nanpercentile(one, percent) for one in draws]) for percent in (2.5, 97.5))
        points = mean_scores(arms[arm], plain)[:, 0] - strong
        told, least, most = ([float(value) for value in 100 * row] for row in (points, low, high))
        lines.append(Line(NAMES.get(arm, arm), told, least, most, colour=COLOURS.get(arm, "adapted"), shape=shape))
    return chart(lines, f"{name}: points above strong generic", "{:+.1f}".format, Level(0.0, "strong generic"))


def chart(lines: Sequence[Line], title: str, write, level: Level | None = None) -> str:
    ticks = [(one, f"{100 * one:g} %", "labels") for one in FRACTIONS]
    axes = Axes(FRACTIONS, ticks, is_logarithmic=True, y_title=title, write=write)
    return line_chart(lines, axes, width=WIDTH, height=HEIGHT, description=title, level=level)


def standalone(charts: Sequence[str], width: int, height: int) -> str:
    """One picture of charts of a size from left to right, with what a report's style says of colours and charts."""
    whole = resources.files("beholder.evaluate").joinpath("report.css").read_text(encoding="utf-8")
    style = whole.partition("* { box-sizing")[0] + whole.partition("/* charts */")[2].partition("/* tables */")[0]
    placed = "".join(
        one.replace("<svg", f'<svg x="{number * width}" width="{width}" height="{height}"', 1)
        for number, one in enumerate(charts)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 {len(charts) * width + 24} {height + 24}" '
        f'style="background: var(--card); font-family: sans-serif"><style>{style}</style>{placed}</svg>\n'
    )


if __name__ == "__main__":
    main()
