"""The values that stages found, as the plain JSON of `results.json` and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from beholder.evaluate.label_curve import Curve
from beholder.evaluate.labels_saved import LabelsSaved
from beholder.evaluate.resample import arm_lines
from beholder.evaluate.verdict import Verdict
from beholder.metrics.classification import auc
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.estimate import Estimate
from beholder.recipes.adapt.galleries import Album
from beholder.recipes.adapt.health import Health
from beholder.runtime.energy import Cost

_MOST_LISTED = 200
_MOST_SHOWN = 6


def data_section(domain: Domain, config_photos: str) -> dict[str, Any]:
    counts = Counter(domain.classes[label] for label in domain.labels if label >= 0)
    fold = domain.folds[0]
    return {
        "folder": config_photos,
        "layout": domain.source.layout,
        "description": domain.source.description,
        "num_found": len(domain.samples) + len(domain.curation.quarantine),
        "num_kept": len(domain.samples),
        "num_quarantined": len(domain.curation.quarantine),
        "num_labelled": int(domain.is_labelled.sum()),
        "classes": dict(sorted(counts.items())),
        "num_groups": len(np.unique(domain.groups)),
        "group_source": domain.group_source,
        "split": {"train": len(domain.training_images(0)), "test": len(fold.test)},
        "notes": [*domain.source.notes, *domain.notes],
    }


def curation_section(domain: Domain, album: Album) -> dict[str, Any]:
    """What curation found: how much of each kind, and the first of them."""
    curation = domain.curation
    row_of = {sample.key: row for row, sample in enumerate(domain.samples)}
    duplicates = [
        {
            "kind": group.kind,
            "keys": list(group.keys),
            "pictures": album.show([row_of[key] for key in group.keys[:3]]) if index < _MOST_SHOWN else [],
        }
        for index, group in enumerate(curation.duplicates[:_MOST_LISTED])
    ]
    outliers = [
        {
            **asdict(outlier),
            "picture": album.show([row_of[outlier.key]])[0] if index < 2 * _MOST_SHOWN else None,
        }
        for index, outlier in enumerate(curation.outliers[:_MOST_LISTED])
    ]
    return {
        "num_duplicates": len(curation.duplicates),
        "num_conflicts": len(curation.conflicts),
        "num_outliers": len(curation.outliers),
        "quarantine": [asdict(refused) for refused in curation.quarantine[:_MOST_LISTED]],
        "duplicates": duplicates,
        "conflicts": [
            {"keys": list(conflict.keys), "labels": list(conflict.labels)}
            for conflict in curation.conflicts[:_MOST_LISTED]
        ],
        "outliers": outliers,
    }


def curve_section(curve: Curve, seed: int) -> dict[str, Any]:
    """Every arm's mean score and its 95 % band over redrawn test groups."""
    lines = [asdict(line) for line in arm_lines(curve, seed=seed)]
    arms = [{**line, **{key: numbers(line[key]) for key in ("values", "low", "high")}} for line in lines]
    left_out = [{"fraction": one.fraction, "reason": one.reason} for one in curve.left_out]
    return {
        "metric": "AUC",
        "fractions": list(curve.fractions),
        "counts": list(curve.counts),
        "num_seeds": curve.num_seeds,
        "arms": arms,
        "left_out": left_out,
    }


def verdict_section(verdict: Verdict, details: Sequence[str], shipped: str, guard: str | None) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "sentence": verdict.sentence,
        "details": list(details),
        "metric": verdict.metric,
        "difference": verdict.difference,
        "interval": list(verdict.interval) if verdict.interval else None,
        "smallest_gain": verdict.smallest_gain,
        "per_fraction": [asdict(one) for one in verdict.per_fraction],
        "num_groups": verdict.num_groups,
        "shipped": shipped,
        "guard": guard,
    }


def labels_saved_section(saved: LabelsSaved) -> dict[str, Any]:
    return {
        "reference": saved.reference,
        "level": saved.level,
        "rows": [{**asdict(row), "interval": list(row.interval) if row.interval else None} for row in saved.rows],
        "shares": dict(saved.shares) if saved.shares else None,
        "sentence": saved.sentence,
    }


def embeddings_section(health: Sequence[Health], clusters: list[dict[str, Any]]) -> dict[str, Any]:
    """Health of every space and a sentence that puts it in words."""
    best = max(health, key=lambda one: float(one.consistency.mean()))
    share = float(best.consistency.mean())
    sentence = (
        f"In the {best.title} space a random view of an image finds another view of it at place {1 / share:.1f} of "
        f"{len(best.consistency):,} on average (harmonic mean; 1 is best), and {best.effective_rank:.0f} of "
        f"{best.dimensions} directions are in use."
    )
    return {"arms": [one.as_json() for one in health], "sentence": sentence, "clusters": clusters}


def groups_section(domain: Domain, probabilities: np.ndarray) -> dict[str, Any] | None:
    """How the shipped head does in each of the user's groups of the test part."""
    test = domain.folds[0].test
    names = [domain.samples[row].group for row in test]
    if not any(names):
        return None
    rows = []
    for name in sorted({name for name in names if name is not None}):
        members = np.array([index for index, one in enumerate(names) if one == name])
        labels = domain.labels[test[members]]
        has_both = len(np.unique(labels)) > 1
        score = float(auc(probabilities[members], labels, np.ones((1, len(members))))[0]) if has_both else None
        share = float((labels == len(domain.classes) - 1).mean()) if len(domain.classes) == 2 else None
        rows.append({"group": name, "num": len(members), "score": score, "share_positive": share})
    scores = [row["score"] for row in rows if row["score"] is not None]
    sentence = (
        f"AUC within single groups lies between {min(scores):.2f} and {max(scores):.2f}; small groups vary by chance."
        if scores
        else "No test group holds more than one class, so none can be scored by itself."
    )
    return {"sentence": sentence, "rows": rows}


def cost_section(costs: Mapping[str, Cost], guess: Estimate, thousand: Cost, disk_bytes: int) -> dict[str, Any]:
    rows = [
        {"stage": stage, **asdict(cost), "estimated_seconds": guess.seconds.get(stage)} for stage, cost in costs.items()
    ]
    total = Cost()
    for cost in costs.values():
        total = total + cost
    return {
        "rows": rows,
        "total": {**asdict(total), "estimated_seconds": guess.total_seconds},
        "per_thousand": asdict(thousand),
        "disk_bytes": disk_bytes,
    }


def numbers(values: Sequence[float]) -> list[float | None]:
    """Plain numbers, None where there is no number."""
    return [float(value) if np.isfinite(value) else None for value in values]
