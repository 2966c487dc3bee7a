"""`pick`: which images to label first: the ones that stand for most others, far from what is labelled already."""

from __future__ import annotations

import csv
import io
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sklearn.preprocessing import StandardScaler

from beholder.data.curate import Curation, curate
from beholder.data.decode import Limits
from beholder.data.parallel import decoded
from beholder.data.sources import read_source
from beholder.evaluate.pick import kmeans_pick
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.pretrained.load import load_own
from beholder.recipes.adapt.features import BATCH_SIZE, prepare, see_batches
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import refuse_inside, told_kindly, write_text
from beholder.runtime.log import Log, counted
from beholder.tasks.embed import embed_arrays
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import Sample, UserError

_RESOLUTION = 224


def pick(
    photos: str | Path,
    *,
    count: int,
    out: str | Path,
    labels: str | Path | None = None,
    model: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> list[str]:
    """Write a table of `count` images with an empty label column; returns their keys, those of large clusters first.

    One image of each duplicate group is offered. Images labelled in `labels` (a table, or "auto") are not picked
    again, and images like them come last. Raises UserError when the table exists, the count is no positive number,
    the folder or the model is unusable, or all images are labelled.
    """
    log, out = log or Log(quiet=True), Path(out)
    if not isinstance(count, int) or count < 1:
        raise UserError(f"--count {count}: ask for a whole number of images, at least one.")
    refuse_inside(out, Path(photos))
    if out.exists():
        raise UserError(f"{out} exists and may hold labels; choose another --out.")
    picked_device, limits = pick_device(device, threads), Limits(max_pixels=max_pixels)
    bundle = None if model is None else load_own(model)
    source = read_source(Path(photos), labels=labels)
    log.stage("Read", source.description)
    with tempfile.TemporaryDirectory() as scratch:
        curation = curate(source, Path(scratch), limits=limits, num_workers=picked_device.num_threads, log=log)
    if curation.quarantine:
        log.warn(f"{counted(len(curation.quarantine), 'broken image')} cannot be picked; beholder curate lists them")
    samples = _one_of_each(curation)
    if all(sample.label is not None for sample in samples):
        raise UserError(f"All images of {photos} are labelled, or double a labelled one; there is nothing to pick.")
    rows = _embed(samples, bundle, limits, picked_device, log)
    labelled = np.array([index for index, sample in enumerate(samples) if sample.label is not None], dtype=np.int64)
    chosen = [samples[index] for index in kmeans_pick(rows, count, seed, labelled)]
    if len(chosen) < count:
        log.warn(f"{counted(count, 'image')} asked for, {len(chosen):,} different and unlabelled in {photos}")
    with told_kindly(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, _table(chosen))
    return [sample.key for sample in chosen]


def _one_of_each(curation: Curation) -> list[Sample]:
    """The first sample of each duplicate group, a labelled one if there is one."""
    best: dict[int, Sample] = {}
    for sample, cluster in zip(curation.samples, curation.cluster.tolist(), strict=True):
        known = best.get(cluster)
        if known is None or (known.label is None and sample.label is not None):
            best[cluster] = sample
    return list(best.values())


def _embed(
    samples: Sequence[Sample], bundle: Bundle | None, limits: Limits, device: Device, log: Log
) -> Float[np.ndarray, "n D"]:
    """Rows to cluster: embeddings of the given model as they are, or generic descriptors, which mix mean, maximum and
    spread of several depths and are therefore standardised."""
    backbone = prepare(efficientnet_lite0(), device)
    if bundle is not None:
        bundle.model.to(device.torch_device)
    images, rows = decoded(samples, limits, device.num_threads, at_least=_RESOLUTION), []
    batches = iter(lambda: list(itertools.islice(images, BATCH_SIZE)), [])
    if bundle is None:
        seen = (row for row, _ in see_batches(backbone, batches, (_RESOLUTION,), PixelConfig(), device))
    else:
        seen = (embed_arrays(bundle, batch, device).cpu().numpy() for batch in batches)
    with log.progress("Look", len(samples)) as advance:
        for row in seen:
            rows.append(row)
            advance(len(row))
    table = np.concatenate(rows)
    return table if bundle is not None else StandardScaler(copy=False).fit_transform(table.astype(np.float32))


def _table(chosen: Sequence[Sample]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label"])
    table.writerows([sample.key, ""] for sample in chosen)
    return text.getvalue()
