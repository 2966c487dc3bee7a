"""A curated domain out of plain arrays, for stages that are tested alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from beholder.data.curate import Curation
from beholder.data.sources import Source
from beholder.evaluate.label_curve import Fold
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.spaces import Space
from beholder.types import Sample


def make_domain(
    labels: Sequence[int],
    *,
    classes: tuple[str, ...] = (),
    groups: Sequence[int] | None = None,
    test: Sequence[int] = (),
    normal: str | None = None,
    images: Sequence[np.ndarray] | None = None,
) -> Domain:
    """Labels are numbers of `classes`, or -1; `test` are the numbers of the images of the test part."""
    count = len(labels)
    names = [classes[label] if label >= 0 and classes else None for label in labels]
    content = [_png(image) for image in images] if images is not None else [None] * count
    samples = tuple(Sample(f"{index:04d}.png", data=content[index], label=names[index]) for index in range(count))
    own = np.arange(count)
    curation = Curation(samples, (), (), (), (), np.zeros((count, 6), np.float32), own, (), np.zeros(count, bool))
    source = Source(Path("photos"), "bare", "a test", samples)
    judged = np.flatnonzero(np.asarray(labels) >= 0) if classes else own
    is_test = np.isin(judged, np.asarray(test, np.int64))
    folds = (Fold(judged[~is_test], judged[is_test]),)
    numbers = own if groups is None else np.asarray(groups, np.int64)
    return Domain(source, curation, classes, np.asarray(labels, np.int64), numbers, folds, normal, "a test", ())


def make_space(embedding: np.ndarray, name: str = "generic") -> Space:
    """A space whose projection does nothing."""
    width = embedding.shape[1]
    rows = embedding.astype(np.float32)
    zeros, ones = np.zeros(width, np.float32), np.ones(width, np.float32)
    return Space(name, rows, zeros, ones, np.eye(width, dtype=np.float32))


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()
