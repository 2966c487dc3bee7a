"""Readouts and picking of research/PROTOCOL.md, on generic features: what they are worth apart from any pretraining.

    python benchmarks/domain_readouts.py readouts --set elpv --out full
    python benchmarks/domain_readouts.py picks --set pneumoniamnist_mini --data DATA --out full
    python benchmarks/domain_readouts.py readouts --set elpv --part test --arms default prototypes --out full

On the validation parts of all four folds (of each fold's learning images a third validates, its test part is neither
learned from nor looked at), three label seeds; `--part test` is for what was chosen there, five label seeds. Features
as `adapt` makes them: three resolutions, 256 principal components of the images that may be learned from. A line for
each arm, and research/runs/readouts-SET-PART.json or picks-SET-PART.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from domain_candidates import tokens_of
from domain_sets import SETS, OpenSet, opened, outer_folds, validation_fold
from ledger import write_run
from scipy.special import softmax
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch.nn import functional as F

from beholder.evaluate.label_curve import Arm, Fold, Pick, Predict, label_curve
from beholder.evaluate.pick import kmeans_pick
from beholder.evaluate.resample import point_scores
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import extract_by, prepare
from beholder.recipes.adapt.spaces import fit_space
from beholder.runtime.machine import machine
from beholder.train.readout import fit_readout

FRACTIONS = (0.05, 0.10, 0.25, 1.0)
FEW = 3
WIDTH, TOKEN_WIDTH, NUM_TOKENS = 256, 64, 49


@dataclass(frozen=True)
class Part:
    """One fold: what readouts may see of it."""

    domain: Domain
    fold: Fold
    rows: np.ndarray
    """n D, the space's."""
    tokens: torch.Tensor
    """n 49 d: where in the image, in the directions that vary most."""

    @property
    def num_classes(self) -> int:
        return len(self.domain.classes)


def default(part: Part, train: np.ndarray, seed: int) -> Predict:
    """`adapt`'s own."""
    return of_readout(part, train, part.domain.labels[train])


def of_readout(part: Part, train: np.ndarray, labels: np.ndarray) -> Predict:
    readout = fit_readout(part.rows[train], labels, part.domain.groups[train], part.num_classes)
    return lambda asked: readout.probabilities(part.rows[asked])


def logistic(part: Part, train: np.ndarray, seed: int) -> Predict:
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    return of_sklearn(part, train, model, "predict_proba")


def support_vectors(part: Part, train: np.ndarray, seed: int) -> Predict:
    """As practice knows them (C = 3, gamma = scale, balanced); a softmax of the decisions, calibrated by its slope."""
    model = SVC(C=3.0, gamma="scale", class_weight="balanced", decision_function_shape="ovr")
    return of_sklearn(part, train, model, "decision_function")


def of_sklearn(part: Part, train: np.ndarray, model: Any, said: str) -> Predict:
    known = np.unique(part.domain.labels[train])
    if len(known) < 2:
        return lambda asked: np.tile(np.eye(part.num_classes)[known[0]], (len(asked), 1))
    model.fit(part.rows[train], part.domain.labels[train])

    def predict(asked: np.ndarray) -> np.ndarray:
        found = getattr(model, said)(part.rows[asked])
        if found.ndim == 1:
            found = np.stack([-found, found], 1)
        told = np.zeros((len(asked), part.num_classes))
        told[:, known] = found if said == "predict_proba" else softmax(2 * found, axis=1)
        return told

    return predict


def prototypes(part: Part, train: np.ndarray, seed: int) -> Predict:
    """The class whose mean direction is nearest (Snell et al. 2017), after whitening by the unlabelled images."""
    rows = whitened(part)
    labels = part.domain.labels[train]
    known = np.unique(labels)
    means = np.stack([unit(rows[train[labels == one]].mean(0, keepdims=True))[0] for one in known])
    return by_likeness(part, known, lambda asked: 10 * rows[asked] @ means.T)


def cache(part: Part, train: np.ndarray, seed: int) -> Predict:
    """Labelled images vote by how near they are (Zhang et al. 2022, Tip-Adapter, arXiv 2111.03930), classes alike."""
    rows, labels = unit(part.rows), part.domain.labels[train]
    known, counts = np.unique(labels, return_counts=True)
    votes = (labels[:, None] == known).astype(float) / counts
    return by_likeness(part, known, lambda asked: np.log(np.exp(-5.5 * (1 - rows[asked] @ rows[train].T)) @ votes))


def by_likeness(part: Part, known: np.ndarray, likeness: Callable[[np.ndarray], np.ndarray]) -> Predict:
    def predict(asked: np.ndarray) -> np.ndarray:
        told = np.zeros((len(asked), part.num_classes))
        told[:, known] = softmax(likeness(asked), axis=1)
        return told

    return predict


def whitened(part: Part) -> np.ndarray:
    """Rows of length 1; directions weigh alike, up to a floor for those in which little varies."""
    spread = part.rows[part.fold.train].std(0)
    return unit(part.rows / (spread + spread.mean()))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def attentive(part: Part, train: np.ndarray, seed: int) -> Predict:
    """Learned queries pool the maps' places (the attentive probe of Chen et al. 2023, arXiv 2202.03026)."""
    generator = torch.Generator().manual_seed(seed)
    num_heads, width = 4, part.tokens.shape[2]
    queries = (0.1 * torch.randn(num_heads, width, generator=generator)).requires_grad_()
    weight = torch.zeros(part.num_classes, num_heads * width, requires_grad=True)
    bias = torch.zeros(part.num_classes, requires_grad=True)
    labels = torch.from_numpy(part.domain.labels[train]).long()
    counts = torch.bincount(labels, minlength=part.num_classes).float()
    balance = torch.where(counts > 0, len(labels) / counts.clamp_min(1), 0.0)
    optimizer = torch.optim.AdamW([queries, weight, bias], lr=0.01, weight_decay=0.5)

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        pooled = (tokens @ queries.T).softmax(1).transpose(1, 2) @ tokens
        return pooled.flatten(1) @ weight.T + bias

    seen = part.tokens[train]
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(logits(seen), labels, balance).backward()
        optimizer.step()

    @torch.no_grad()
    def predict(asked: np.ndarray) -> np.ndarray:
        told = logits(part.tokens[asked])
        told[:, counts == 0] = -1e4
        return told.softmax(1).numpy()

    return predict


def both(part: Part, train: np.ndarray, seed: int) -> Predict:
    """The mean of the default's and the attentive probabilities."""
    first, second = default(part, train, seed), attentive(part, train, seed)
    return lambda asked: (first(asked) + second(asked)) / 2


def self_trained(part: Part, train: np.ndarray, seed: int) -> Predict:
    """The default, fitted again with the unlabelled images that it is surest of: as many of each class as have a label,
    and only where it is sure by nine tenths."""
    first, labels = default(part, train, seed), part.domain.labels[train]
    free = np.setdiff1d(part.fold.train, train)
    if not len(free):
        return first
    said = first(free)
    taken, given = [train], [labels]
    for one in np.unique(labels):
        sure = np.argsort(-said[:, one])[: int((labels == one).sum())]
        sure = sure[said[sure, one] >= 0.9]
        taken.append(free[sure])
        given.append(np.full(len(sure), one))
    return of_readout(part, np.concatenate(taken), np.concatenate(given))


READOUTS = {one.__name__: one for one in (
    default, logistic, support_vectors, prototypes, cache, attentive, both, self_trained,
)}  # fmt: skip


def pick_centres(part: Part, pool: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`pick`'s own."""
    return pool[kmeans_pick(part.rows[pool], count, seed)]


def pick_typical(part: Part, pool: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Of each cluster the image with the nearest neighbours (Hacohen et al. 2022, arXiv 2202.02794)."""
    points = part.rows[pool, :64]
    cluster = KMeans(count, random_state=seed, n_init=1).fit(points).labels_
    chosen = []
    for one in range(count):
        members = np.flatnonzero(cluster == one)
        apart = np.linalg.norm(points[members, None] - points[None, members], axis=2)
        near = np.sort(apart, axis=1)[:, 1 : 1 + min(20, max(1, len(members) - 1))]
        chosen.append(members[np.argmin(near.mean(1) if near.size else np.zeros(len(members)))])
    return pool[np.array(chosen)]


def pick_balanced(part: Part, pool: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Half the labels for typical points; what a readout of these says of the others shares out the rest among the
    classes alike, each class by its own clusters. The labels that it reads are those that were bought."""
    first = pick_typical(part, pool, max(2, count // 2), seed)
    rest, left = np.setdiff1d(pool, first), count - max(2, count // 2)
    if left <= 0 or not len(rest):
        return first[:count]
    said = default(part, first, seed)(rest).argmax(1)
    bought = np.bincount(part.domain.labels[first], minlength=part.num_classes)
    chosen = [first]
    while left > 0 and len(rest):
        wanted = bought_next(bought, np.bincount(said, minlength=part.num_classes), left)
        for one in np.flatnonzero(wanted):
            members = rest[said == one]
            chosen.append(
                pick_typical(part, members, int(wanted[one]), seed) if wanted[one] < len(members) else members
            )
        taken = np.concatenate(chosen)
        keep = ~np.isin(rest, taken)
        rest, said, left = rest[keep], said[keep], count - len(taken)
        bought = bought + wanted
    return np.concatenate(chosen)


def bought_next(bought: np.ndarray, there: np.ndarray, left: int) -> np.ndarray:
    """How many of each class next, so that all come as near to alike as what is there allows."""
    wanted = np.zeros_like(bought)
    for _ in range(min(left, int(there.sum()))):
        open_classes = np.flatnonzero(wanted < there)
        poorest = open_classes[np.argmin((bought + wanted)[open_classes])]
        wanted[poorest] += 1
    return wanted


PICKS = {"random": None, "centres": pick_centres, "typical": pick_typical, "balanced": pick_balanced}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("readouts", "picks"))
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--data", type=Path, help="the folder of data sets; not for elpv and digits")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--arms", nargs="+", help="all if not given")
    parser.add_argument("--out", type=Path, required=True, help="as of domain_full.py, which shares the features")
    asked = parser.parse_args()
    with opened(asked.set, asked.data, asked.out / asked.set, "common") as found:
        session, generic = found.session, prepare(found.generic, found.session.device)

        def look(images: Any) -> tuple[np.ndarray, np.ndarray]:
            tokens = tokens_of(generic, images, session)
            return tokens.flatten(1).numpy(), tokens.mean(1).numpy()

        maps = extract_by(session, look, found.domain.samples, "maps", at_least=224)
        parts = list(deal(found, asked.part, np.asarray(maps.descriptor)))
        scores = compare(asked.what, parts, asked.arms, 3 if asked.part == "validation" else 5)
        keep(asked, scores, {"machine": machine(session.device)})


def deal(found: OpenSet, part: str, maps: np.ndarray) -> Iterator[Part]:
    for outer in outer_folds(found.domain):
        fold = validation_fold(found.domain, outer) if part == "validation" else outer
        space = fit_space("strong", [found.features], fold.train, width=WIDTH, seed=0).embedding
        yield Part(found.domain, fold, space, narrow(maps, fold.train))


def narrow(maps: np.ndarray, train: np.ndarray) -> torch.Tensor:
    """Places in the directions that vary most over the images that may be learned from, with spread 1 in the first."""
    places = maps.reshape(len(maps), NUM_TOKENS, -1).astype(np.float32)
    seen = places[train].reshape(-1, places.shape[2])
    some = np.random.default_rng(0).permutation(len(seen))[:20_000]
    analysis = PCA(TOKEN_WIDTH, svd_solver="randomized", random_state=0).fit(seen[some])
    mean, directions = analysis.mean_.astype(np.float32), analysis.components_.T.astype(np.float32)
    told = (places - mean) @ directions
    return torch.from_numpy(told / np.sqrt(analysis.explained_variance_[0]).astype(np.float32))


def compare(what: str, parts: list[Part], arms: list[str] | None, num_seeds: int) -> dict[str, Any]:
    domain, folds = parts[0].domain, [one.fold for one in parts]

    def arm(name: str) -> Arm:
        readout = READOUTS[name] if what == "readouts" else default
        picked: Pick | None = None
        chooser = None if what == "readouts" else PICKS[name]
        if chooser is not None:

            def picked(pool: np.ndarray, count: int, fold: int, seed: int) -> np.ndarray:
                return chooser(parts[fold], pool, count, seed)

        return Arm(name, name, "generic", lambda train, fold, seed: readout(parts[fold], train, seed), picked)

    table = READOUTS if what == "readouts" else PICKS
    curve = label_curve(
        [arm(name) for name in arms or table], domain.labels, domain.groups, folds,
        fractions=FRACTIONS if what == "readouts" else FRACTIONS[:FEW], num_seeds=num_seeds,
    )  # fmt: skip
    told = {}
    for name in arms or table:
        by_fold = np.nanmean(point_scores(curve, name), axis=2)  # fraction, fold
        told[name] = {"by_fraction": by_fold.mean(1).tolist(), "few_by_fold": by_fold[:FEW].mean(0).tolist()}
    return told


def keep(asked: argparse.Namespace, found: dict[str, Any], told: dict[str, Any]) -> None:
    first = next(iter(found.values()))
    for name, row in found.items():
        gains = [100 * (one - other) for one, other in zip(row["few_by_fold"], first["few_by_fold"], strict=True)]
        print(
            f"{asked.set:20} {name:16} " + "  ".join(f"{100 * one:5.1f}" for one in row["by_fraction"])
            + f"   few labels {np.mean(gains):+.2f}, by fold " + " ".join(f"{gain:+.1f}" for gain in gains),
            flush=True,
        )  # fmt: skip
    write_run(f"{asked.what}-{asked.set}-{asked.part}", {
        "set": asked.set, "part": asked.part, "fractions": FRACTIONS, "arms": found, **told,
    })  # fmt: skip


if __name__ == "__main__":
    main()
