"""A model beside the one that it was made from, on a user's pictures: what export and distil tell.

Pictures of the test part are taken where the data have one, else of the validation part, else any; what the new model
is made with are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.sources import Source
from beholder.evaluate.resample import mean_interval
from beholder.portable.check import Comparison, Said, compare
from beholder.portable.cost import Speed
from beholder.portable.exportable import Exportable
from beholder.runtime.log import Log, counted, size
from beholder.runtime.seed import numpy_generator
from beholder.types import Sample, UserError

MOST_JUDGED = 500
_AT_ONCE = 16
_FEWEST = 4
_ALIKE = 1.05
"""Sizes and times that differ less are not told apart."""


@dataclass(frozen=True)
class Pictures:
    """Whose answers are compared, and others."""

    judged: tuple[Sample, ...]
    others: tuple[Sample, ...]
    first: np.ndarray
    """One of the judged, decoded."""
    limits: Limits

    def examples(self, count: int) -> list[np.ndarray]:
        """Some of the others, decoded; where there are none, of the judged."""
        return [image for _, image in decoded((self.others or self.judged)[:count], self.limits)]


@dataclass(frozen=True)
class Weight:
    """What a model is and costs."""

    num_bytes: int
    speed: Speed
    peak_bytes: int
    """Of a program that opens the model and asks it about a batch."""


@dataclass(frozen=True)
class BeforeAfter:
    """Two models and how they differ."""

    before: Weight
    after: Weight
    comparison: Comparison

    @property
    def points_interval(self) -> tuple[float, float] | None:
        """95 % interval of the points of accuracy won, under redrawn pictures."""
        was, now = self.comparison.was_right, self.comparison.is_right
        if was is None or now is None:
            return None
        low, high = mean_interval(now.astype(float) - was.astype(float), numpy_generator(0, "points won"))
        return 100 * low, 100 * high

    def findings(self) -> dict[str, Any]:
        """For machines."""
        found = self.comparison
        return {
            "before": asdict(self.before),
            "after": asdict(self.after),
            "num_pictures": found.num_pictures,
            "num_other_class": found.num_other_class,
            "num_other_unusual": found.num_other_unusual,
            "distances": found.distances,
            "accuracies": found.accuracies,
            "points_lost": found.points_lost,
            "points_won_interval": self.points_interval,
        }

    def table(self, title: str) -> str:
        """For people."""
        was, now, found = self.before, self.after, self.comparison
        rows = [
            ("", "before", title, ""),
            _bytes_row("size", was.num_bytes, now.num_bytes),
            _time_row("one picture", was.speed.seconds, now.speed.seconds),
            _time_row("CPU time a picture, in batches", 1 / was.speed.per_cpu_second, 1 / now.speed.per_cpu_second),
            _bytes_row("peak memory", was.peak_bytes, now.peak_bytes),
        ]
        if found.accuracies and self.points_interval:
            won, low, high = (round(one, 1) + 0.0 for one in (-(found.points_lost or 0.0), *self.points_interval))
            change = f"{won:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"
            rows.append(("accuracy", *(f"{one:.1%}" for one in found.accuracies), change))  # type: ignore[arg-type]
        asked = f"of {counted(found.num_pictures, 'picture')}"
        changes = {"class is another": found.num_other_class, "unusual, or no longer": found.num_other_unusual}
        rows += [(name, "", f"{count:,}", asked) for name, count in changes.items() if count is not None]
        rows += [(f"{name} differs by", "", f"{found.distances[name]:.2g}", "") for name in found.distances]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
        )


def choose_pictures(
    source: Source,
    data: Path,
    labels: str | Path | None,
    classes: Sequence[str],
    limits: Limits,
    num_others: int,
    log: Log,
) -> Pictures:
    """Of a source that was read from `data` with `labels`. Raises UserError for too few, for labels that the model has
    no classes for, and for labels where it has none."""
    if labels is not None and not classes:
        raise UserError(f"--labels {labels}: this model has no classes to compare them with; leave --labels out.")
    unknown = {sample.label for sample in source.samples if sample.label is not None} - set(classes)
    if labels is not None and unknown:
        told = ", ".join(sorted(map(str, unknown))[:5])
        raise UserError(f"--labels {labels}: {told}: not a class of this model, which has {', '.join(classes[:10])}.")
    log.stage("Read", source.description)
    order = numpy_generator(0, "before and after").permutation(len(source.samples))
    samples = [source.samples[place] for place in order]
    parts = {sample.split for sample in samples}
    part = next((name for name in ("test", "validation") if name in parts), None)
    judged = [sample for sample in samples if part is None or sample.split == part]
    others = [sample for sample in samples if part is not None and sample.split != part]
    if part is None or not others:
        num_others = min(num_others, len(judged) - max(_FEWEST, len(judged) // 4))
        others, judged = judged[:num_others], judged[num_others:]
    kept = Pictures(tuple(judged[:MOST_JUDGED]), tuple(others), np.zeros((1, 1, 3), np.uint8), limits)
    first = next((image for _, image in decoded(kept.judged, limits)), None)
    if len(kept.judged) < _FEWEST or first is None:
        raise UserError(
            f"{data} leaves {counted(len(kept.judged), 'picture')} to compare on{_told_of(part, source)}, of which "
            f"{_FEWEST} or more have to be readable; give more pictures."
        )
    if part is None:
        log.warn("the data name no test part: what the model learned from, it knows before and after")
    return replace(kept, first=first)


def _told_of(part: str | None, source: Source) -> str:
    """Where the others are."""
    of = f" of {counted(len(source.samples), 'picture')}"
    return f"{of} (the others are learned from)" if part is None else f"{of} (those of its part '{part}')"


def decoded(samples: Sequence[Sample], limits: Limits) -> Iterator[tuple[Sample, np.ndarray]]:
    """Those that can be read."""
    for sample in samples:
        try:
            yield sample, decode(sample, limits)
        except Unreadable:
            continue


def compare_on(
    pictures: Pictures,
    original: Exportable,
    new: Callable[[Sequence[np.ndarray]], Said],
    log: Log,
    own_threshold: float | None = None,
) -> Comparison:
    """Both asked about all judged pictures that can be read; `own_threshold` of the unusual is the new one's, where it
    is another."""
    said, answered, numbers = list[Said](), list[Said](), list[int | None]()
    with log.progress("Compare", len(pictures.judged)) as advance:
        for batch in _batches(decoded(pictures.judged, pictures.limits)):
            images = [image for _, image in batch]
            said.append(original.ask(images))
            answered.append(new(images))
            numbers += [None if one.label is None else original.labels.index(one.label) for one, _ in batch]
            advance(len(batch))
    has_labels = any(number is not None for number in numbers)
    return compare(_joined(said), _joined(answered), original.threshold, numbers if has_labels else None, own_threshold)


def _time_row(name: str, before: float, after: float) -> tuple[str, str, str, str]:
    return name, f"{1000 * before:.1f} ms", f"{1000 * after:.1f} ms", _gain(before / after, "faster", "slower")


def _bytes_row(name: str, before: int, after: int) -> tuple[str, str, str, str]:
    return name, size(before), size(after), _gain(before / after, "smaller", "larger")


def _gain(ratio: float, better: str, worse: str) -> str:
    if 1 / _ALIKE < ratio < _ALIKE:
        return ""
    return f"{ratio:.2g} times {better}" if ratio > 1 else f"{1 / ratio:.2g} times {worse}"


def _batches(rows: Iterator[tuple[Sample, np.ndarray]]) -> Iterator[list[tuple[Sample, np.ndarray]]]:
    waiting: list[tuple[Sample, np.ndarray]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == _AT_ONCE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _joined(parts: Sequence[Said]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
