"""Stage: the label-efficiency curve over all views, and the verdict.

Every prediction is kept as it is made, so that a killed run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from jaxtyping import Int

from beholder.evaluate.label_curve import Arm, Curve, Key, Predict, label_curve
from beholder.evaluate.labels_saved import LabelsSaved, labels_saved
from beholder.evaluate.pick import kmeans_pick
from beholder.evaluate.verdict import Verdict, judge
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.session import Session
from beholder.runtime.files import write_whole
from beholder.train.readout import fit_readout


@dataclass(frozen=True)
class View:
    """One way of seeing the images, to be judged by what few labels make of it."""

    name: str
    title: str
    kind: str
    """"trivial", "last layer", "generic" or "adapted"."""
    tables: Sequence[np.ndarray]
    """One table of rows for all images, or one a fold."""
    is_also_picked: bool = False
    """Whether labels that k-means picks are measured too."""


@dataclass(frozen=True)
class Judgement:
    """The curve, and what it says of adapting and of labels saved."""

    curve: Curve
    verdict: Verdict
    saved: LabelsSaved


def judge_domain(session: Session, domain: Domain, views: Sequence[View]) -> Judgement:
    """Measure every view's curve; the verdict compares "adapted" with "generic", fixed before any result is seen."""
    config = session.config
    arms = [arm for view in views for arm in _arms(domain, view)]
    most = len(domain.folds) * len(arms) * len(config.fractions) * config.num_label_seeds
    with session.log.progress("Curve", most) as advance:
        curve = label_curve(
            arms,
            domain.labels,
            domain.groups,
            domain.folds,
            fractions=config.fractions,
            num_seeds=config.num_label_seeds,
            seed=config.seed,
            on_step=lambda done, total, note: advance(1, note),
            cache=_PredictionFiles(session.run.scratch("curve")),
        )
    names = {arm.name for arm in arms}
    if "adapted" in names:
        verdict = judge(curve, "generic", "adapted", seed=config.seed)
    else:
        reason = "Not judged: no pretraining was asked for (--budget 0), so there is nothing to compare."
        verdict = Verdict("not judged", reason, "AUC", 0)
    ladder = [("readout", "generic"), ("adapting", "adapted"), ("picking", "adapted, picked")]
    if "adapted" not in names:
        ladder = [("readout", "generic"), ("picking", "generic, picked")]
    return Judgement(curve, verdict, labels_saved(curve, "last layer", ladder, seed=config.seed))


def _arms(domain: Domain, view: View) -> Iterator[Arm]:
    tables = view.tables
    num_classes = len(domain.classes)

    def fit(train: Int[np.ndarray, " m"], fold: int, seed: int) -> Predict:
        embedding, groups = tables[fold % len(tables)], domain.groups[train]
        readout = fit_readout(embedding[train], domain.labels[train], groups, num_classes, seed=seed)
        return lambda test: readout.probabilities(embedding[test])

    def pick(pool: Int[np.ndarray, " p"], count: int, fold: int, seed: int) -> Int[np.ndarray, " count"]:
        return pool[kmeans_pick(tables[fold % len(tables)][pool], count, seed)]

    yield Arm(view.name, view.title, view.kind, fit)
    if view.is_also_picked:
        yield Arm(f"{view.name}, picked", f"{view.title}, picked labels", view.kind, fit, pick)


class _PredictionFiles(MutableMapping[Key, np.ndarray]):
    """Predictions by key, one small file each, written whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, key: Key) -> Path:
        return self._folder / f"{quote(json.dumps(key), safe='')}.npy"

    def __getitem__(self, key: Key) -> np.ndarray:
        path = self._path(key)
        if not path.exists():
            raise KeyError(key)
        return np.load(path)

    def __setitem__(self, key: Key, value: np.ndarray) -> None:
        def write(path: Path) -> None:
            with path.open("wb") as handle:
                np.save(handle, value)

        write_whole(self._path(key), write)

    def __delitem__(self, key: Key) -> None:
        self._path(key).unlink()

    def __iter__(self) -> Iterator[Key]:
        for path in sorted(self._folder.glob("*.npy")):
            arm, fold, fraction, seed = json.loads(unquote(path.stem))
            yield arm, fold, fraction, seed

    def __len__(self) -> int:
        return sum(1 for _ in self._folder.glob("*.npy"))
