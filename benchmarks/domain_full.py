"""The full run of research/PROTOCOL.md for candidates that passed the screening, and its table.

    python benchmarks/domain_full.py run --data DATA --out full      of own class: ten to twelve hours of one core
    python benchmarks/domain_full.py run --set elpv --seeds 0 --candidate low-rank --variant low-rank-4 --out full
    python benchmarks/domain_full.py table [--folds 0 --seeds 0]      of what is there, in a minute or two

Four grouped folds, three pretraining seeds, five label seeds, 5, 10, 25 and 100 % of the labels, `adapt`'s spaces
(three resolutions, 256 principal components) and readout for all arms. A fold and a seed are a piece: a piece that is
done leaves its predictions in research/predictions/ and research/runs/full-SET-VARIANT-WAY-FOLD-SEED.json, and is not
made again, so that the run may be stopped at any time; `--out` holds what it needs on the way. `table` reads the
predictions and redraws test groups within folds, pretraining seeds and label seeds 2,000 times. What was run on some
folds and seeds alone is compared there: with others that were run on more, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from domain_candidates import CANDIDATES, Variant
from domain_sets import NUM_FOLDS, OpenSet, opened, outer_folds, parser_of, run_sets
from ledger import PREDICTIONS, RUNS, energy, write_run

from beholder.config import to_json
from beholder.evaluate.label_curve import Arm, Fold, Predict, label_curve
from beholder.evaluate.labels_saved import monotone, share_needed
from beholder.evaluate.resample import unit_weights
from beholder.metrics.classification import SCORES
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import extract_by
from beholder.recipes.adapt.spaces import fit_space
from beholder.runtime.files import read_json, write_whole
from beholder.runtime.machine import machine
from beholder.runtime.run_folder import RunFolder
from beholder.train.readout import fit_readout

FRACTIONS, FEW = (0.05, 0.10, 0.25, 1.0), 3
NUM_SEEDS, NUM_LABEL_SEEDS, NUM_DRAWS, WIDTH = 3, 5, 2000, 256
STRONG, LAST = "strong", "last layer"


def main() -> None:
    parser = parser_of(__doc__, range(NUM_FOLDS), range(NUM_SEEDS))
    parser.add_argument("--candidate", choices=CANDIDATES, default="own-class")
    parser.add_argument("--variant", default="own-class-5e-05", help="of the candidate, such as teacher-pulled-0.5")
    parser.add_argument("--way", choices=("instead", "beside"), default="instead", help="of the generic features")
    parser.add_argument("--seconds", type=float, default=300.0, help="of pretraining, on one thread")
    asked = parser.parse_args()
    run_sets(asked, run_set)
    for row in table(PREDICTIONS, asked.set, asked.folds, asked.seeds):
        print(row)


@dataclass(frozen=True)
class Piece:
    """One pretraining on a fold, judged on its test part."""

    candidate: str
    variant: str
    way: str
    fold: int
    seed: int
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.way}-{self.seed}"


def run_set(which: str, asked: argparse.Namespace) -> None:
    folder = asked.out / which
    with opened(which, asked.data, folder, "common") as found:
        for seed in asked.seeds:
            for fold in asked.folds:
                piece = Piece(asked.candidate, asked.variant, asked.way, fold, seed, asked.seconds)
                place, name = f"fold-{fold}", f"full-{which}-{asked.variant}-{asked.way}-{fold}-{seed}"
                kept = PREDICTIONS / which / place
                if not is_made(RUNS / f"{name}.json", kept / f"{piece.name}.npz", piece):
                    (RUNS / f"{name}.json").unlink(missing_ok=True)  # written again when all else is there
                    parts = outer_folds(found.domain)[fold]
                    make_generic(found, parts, kept)
                    made = make(piece, found, parts, folder / place, kept)
                    keep(name, which, piece, made)


def is_made(ledger: Path, predictions: Path, piece: Piece) -> bool:
    """Whether both are there. One that took other seconds is not overwritten."""
    if not ledger.exists():
        return False
    if (found := read_json(ledger)["seconds"]) != piece.seconds:
        sys.exit(f"{ledger} took {found:g} seconds, not {piece.seconds:g}; move it away, or give --seconds {found:g}.")
    return predictions.exists()


def make(piece: Piece, found: OpenSet, fold: Fold, place: Path, kept: Path, share: float = 1.0) -> dict[str, Any]:
    """Predictions of the piece into `kept`; scores and cost. `share` of the images that may be learned from are."""
    blind, features = dataclasses.replace(found.domain, folds=(fold,)), found.features
    learned = blind.training_images(0)
    place.mkdir(exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    own = dataclasses.replace(found.session.config, seed=piece.seed)
    few = fewer(blind, share, piece.seed)
    with RunFolder.open(place / f"{piece.candidate}-{piece.seed}", {**to_json(own), "seconds": piece.seconds}) as run:
        session = dataclasses.replace(found.session, config=own, run=run)
        variants = CANDIDATES[piece.candidate](session, few, found.generic, piece.seconds, features)
        variant = chosen(variants, piece)
        seen = extract_by(
            session, variant.look, blind.samples, f"features of {variant.name}", at_least=variant.side
        )  # fmt: skip
        used = [seen] if piece.way == "instead" else [features, seen]
        space = fit_space(piece.variant, used, learned, width=WIDTH, seed=0).embedding
        scores = judge(kept / f"{piece.name}.npz", blind, fold, space)
    return {
        "scores": scores, "pretraining": variant.story, "num_unlabelled": len(few.training_images(0)),
        **energy(variant.story["cpu_seconds"]), "machine": machine(found.session.device),
    }  # fmt: skip


def make_generic(found: OpenSet, fold: Fold, kept: Path) -> None:
    """Predictions of the generic arms into `kept`, where they are missing."""
    if all((kept / f"{arm}.npz").exists() for arm in (STRONG, LAST)):
        return
    kept.mkdir(parents=True, exist_ok=True)
    blind = dataclasses.replace(found.domain, folds=(fold,))
    space = fit_space(STRONG, [found.features], blind.training_images(0), width=WIDTH, seed=0).embedding
    judge(kept / f"{STRONG}.npz", blind, fold, space)
    judge(kept / f"{LAST}.npz", blind, fold, np.asarray(found.features.summary, np.float32))


def chosen(variants: Iterator[Variant], piece: Piece) -> Variant:
    """That of the piece, which is made as it is asked for; those behind it are not."""
    made: list[str] = []
    for one in variants:
        if one.name == piece.variant:
            return one
        made.append(one.name)
    sys.exit(f"--variant {piece.variant}: {piece.candidate} makes {', '.join(made)}; give one of these.")


@dataclass(frozen=True)
class Fewer(Domain):
    """A domain of which fewer images are learned from: a share drawn by a seed, larger ones holding smaller ones."""

    share: float = 1.0
    seed: int = 0

    def training_images(self, fold: int) -> np.ndarray:
        every = super().training_images(fold)
        order = np.random.default_rng(self.seed).permutation(len(every))
        return every[np.sort(order[: round(self.share * len(every))])]


def fewer(domain: Domain, share: float, seed: int) -> Domain:
    held = {field.name: getattr(domain, field.name) for field in dataclasses.fields(Domain)}
    return Fewer(**held, share=share, seed=seed) if share < 1 else domain


def judge(path: Path, domain: Domain, fold: Fold, rows: np.ndarray) -> dict[str, list[float]]:
    """Predictions of the test part, written whole; and the score of each label seed by fraction."""

    def fit(train: np.ndarray, fold: int, seed: int) -> Predict:
        readout = fit_readout(rows[train], domain.labels[train], domain.groups[train], len(domain.classes))
        return lambda asked: readout.probabilities(rows[asked])

    curve = label_curve(
        [Arm("arm", "arm", "adapted", fit)], domain.labels, domain.groups, (fold,), fractions=FRACTIONS,
        num_seeds=NUM_LABEL_SEEDS,
    )  # fmt: skip
    told = {
        f"{fraction:g} {seed}": predicted.astype(np.float16)
        for (_, _, fraction, seed), predicted in curve.predictions.items()
    }
    labels, groups = domain.labels[fold.test], domain.groups[fold.test]

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, labels=labels, groups=groups, **told)  # pyright: ignore

    write_whole(path, write)
    every = np.ones((1, len(labels)))
    return {
        f"{fraction:g}": [
            float(SCORES["auc"](curve.predictions["arm", 0, fraction, seed], labels, every)[0])
            for seed in range(curve.num_seeds_at(curve.arms[0], fraction))
        ]
        for fraction in curve.fractions
    }


def keep(name: str, which: str, piece: Piece, told: dict[str, Any]) -> None:
    """The small file of the ledger, and a line."""
    write_run(name, {
        "set": which, "variant": piece.variant, "way": piece.way, "part": "test", "fold": piece.fold,
        "seed": piece.seed, "seconds": piece.seconds, **told,
    })  # fmt: skip
    few = 100 * np.mean([np.mean(told["scores"][f"{one:g}"]) for one in FRACTIONS[:FEW]])
    print(f"{which:20} {piece.variant} {piece.way}, fold {piece.fold}, seed {piece.seed}: {few:.2f}", flush=True)


def table(predictions: Path, sets: Sequence[str], folds: list[int], seeds: list[int]) -> Iterator[str]:
    """A line for each set and candidate that is whole: scores by fraction, and the difference with its intervals."""
    for folder in (predictions / which for which in sets):
        names = {path.name.rpartition("-")[0] for path in folder.glob("fold-*/*-*.npz")}
        for name in sorted(names):
            files = [[folder / f"fold-{fold}" / f"{name}-{seed}.npz" for seed in seeds] for fold in folds]
            missing = sum(not path.exists() for row in files for path in row)
            if missing:
                yield f"{folder.name} {name}: {missing} of {len(folds) * len(seeds)} pieces are missing"
                continue
            strong = [np.load(folder / f"fold-{fold}" / f"{STRONG}.npz") for fold in folds]
            last = [np.load(folder / f"fold-{fold}" / f"{LAST}.npz") for fold in folds]
            yield from compare(folder.name, name, strong, last, [[np.load(path) for path in row] for row in files])


def compare(title: str, name: str, strong: list[Any], last: list[Any], adapted: list[list[Any]]) -> Iterator[str]:
    arms = {LAST: [[one] for one in last], STRONG: [[one] for one in strong], name: adapted}
    plain = [np.ones((1, len(one["labels"]))) for one in strong]
    means = {arm: 100 * mean_scores(rows, plain)[:, 0] for arm, rows in arms.items()}
    for arm, row in means.items():
        yield f"{title:20} {arm:28} " + "  ".join(
            f"{fraction:>4.0%} {score:5.1f}" for fraction, score in zip(FRACTIONS, row, strict=True)
        )
    redrawn = Redrawn.of(strong, len(adapted[0]))
    curves = {arm: redrawn.curve(rows) for arm, rows in arms.items()}
    few = np.mean([gain(curves[name], one, curves[STRONG], one) for one in FRACTIONS[:FEW]], axis=0)
    point = float((means[name] - means[STRONG])[:FEW].mean())
    yield f"{title:20} difference {point:+.2f} points; 95 % {told(few, 95)}; 99.5 % {told(few, 99.5)}"
    folds = [
        100 * (mean_scores([row], [one]) - mean_scores([[base]], [one]))[:FEW].mean()
        for row, base, one in zip(adapted, strong, plain, strict=True)
    ]
    yield f"{title:20} by fold " + " ".join(f"{one:+.2f}" for one in folds)
    for title_of, arm, rival, fraction in (
        ("adapted", name, STRONG, FRACTIONS[FEW - 1]), ("adapted", name, LAST, 1.0), (STRONG, STRONG, LAST, 1.0)
    ):  # fmt: skip
        (point,) = fewer_labels(means[rival][:, None], means[arm][:, None], fraction)
        drawn = sorted(fewer_labels(curves[rival].mean(0), curves[arm].mean(0), fraction))
        low, high = (drawn[round(percent / 100 * (len(drawn) - 1))] for percent in (2.5, 97.5))
        yield f"{title:20} {title_of} for what {rival} has at {fraction:.0%}: labels {point}; 95 % {low} to {high}"
    for title_of, arm, rival in (("adapted", name, STRONG), ("adapted", name, LAST), (STRONG, STRONG, LAST)):
        caught_up = gain(curves[arm], FRACTIONS[FEW - 1], curves[rival], 1.0)
        point = float(means[arm][FEW - 1] - means[rival][FEW])
        yield f"{title:20} {title_of} at 25 % minus {rival} at 100 %: {point:+.2f} points; 95 % {told(caught_up, 95)}"


@dataclass(frozen=True)
class Redrawn:
    """2,000 times other test groups, pretraining seeds and label seeds, for each fold."""

    weights: list[np.ndarray]
    """Of each image, R t."""
    seeds: list[np.ndarray]
    label_seeds: list[np.ndarray]

    @classmethod
    def of(cls, strong: list[Any], num_seeds: int) -> Redrawn:
        generator = np.random.default_rng(0)
        units = [np.unique(one["groups"], return_inverse=True)[1] for one in strong]
        weights = [unit_weights(int(unit.max()) + 1, NUM_DRAWS, fold)[:, unit] for fold, unit in enumerate(units)]
        pairs = [
            (generator.integers(0, num_seeds, (NUM_DRAWS, num_seeds)),
             generator.integers(0, NUM_LABEL_SEEDS, (NUM_DRAWS, NUM_LABEL_SEEDS)))
            for _ in strong
        ]  # fmt: skip
        return cls(weights, [one for one, _ in pairs], [one for _, one in pairs])

    def curve(self, arm: list[list[Any]]) -> np.ndarray:
        """D F R: of each fold an arm's mean scores in all draws, which are the same for every arm."""
        return np.array([
            [drawn_mean(label_scores(row, fraction, weights), seeds, label_seeds) for fraction in FRACTIONS]
            for row, weights, seeds, label_seeds in zip(arm, self.weights, self.seeds, self.label_seeds, strict=True)
        ])  # fmt: skip


def gain(arm: np.ndarray, fraction: float, rival: np.ndarray, rival_fraction: float) -> np.ndarray:
    """R: mean over folds of an arm's redrawn scores (D F R) at a share of the labels minus a rival's at another."""
    return (arm[:, FRACTIONS.index(fraction)] - rival[:, FRACTIONS.index(rival_fraction)]).mean(0)


@dataclass(frozen=True, order=True)
class Times:
    """How many times fewer labels; 0 for a score that is never reached."""

    ratio: float
    is_at_least: bool
    """The smallest share measured is already enough."""

    def __str__(self) -> str:
        return "never" if self.ratio == 0 else f"{'>= ' * self.is_at_least}{self.ratio:.2f} times fewer"


def fewer_labels(rival: np.ndarray, arm: np.ndarray, fraction: float) -> list[Times]:
    """For each draw how many labels a rival (F R) needs for one of an arm, at the score that the rival has at a share
    of them. Curves are made monotone and read off between the measured shares, never beyond them."""
    kept = np.isfinite(rival).all(0) & np.isfinite(arm).all(0)
    rival, arm = rival.T[kept], arm.T[kept]
    levels = monotone(rival)[:, FRACTIONS.index(fraction)]
    asked, given = (share_needed(scores, levels, FRACTIONS) for scores in (rival, arm))
    return [Times(float(a / b), bool(b == FRACTIONS[0])) for a, b in zip(asked, given, strict=True)]


def label_scores(row: list[Any], fraction: float, weights: np.ndarray) -> np.ndarray:
    """P S R: of every pretraining seed and label seed under redrawn groups."""
    return np.stack([[score(one, fraction, seed, weights) for seed in range(num_label_seeds(fraction))] for one in row])


def num_label_seeds(fraction: float) -> int:
    return 1 if fraction == 1 else NUM_LABEL_SEEDS


def mean_scores(adapted: list[list[Any]], weights: list[np.ndarray]) -> np.ndarray:
    """F R: mean over folds, pretraining seeds and label seeds."""
    return np.stack([
        np.mean([
            score(one, fraction, seed, weights[fold])
            for fold, row in enumerate(adapted)
            for one in row
            for seed in range(num_label_seeds(fraction))
        ], axis=0)
        for fraction in FRACTIONS
    ])  # fmt: skip


def score(predictions: Any, fraction: float, seed: int, weights: np.ndarray) -> np.ndarray:
    return SCORES["auc"](predictions[f"{fraction:g} {seed}"].astype(np.float32), predictions["labels"], weights)


def drawn_mean(values: np.ndarray, seeds: np.ndarray, label_seeds: np.ndarray) -> np.ndarray:
    """P S R to R: mean over the seeds that each draw took; what has one seed alone has it in every draw."""
    draws = np.arange(NUM_DRAWS)[:, None, None]
    pretrained, labelled = seeds % len(values), label_seeds % values.shape[1]
    return np.nanmean(values[pretrained[:, :, None], labelled[:, None, :], draws], axis=(1, 2))


def told(values: np.ndarray, percent: float) -> str:
    low, high = 100 * np.nanpercentile(values, [(100 - percent) / 2, (100 + percent) / 2])
    return f"{low:+.2f} to {high:+.2f}"


if __name__ == "__main__":
    main()
