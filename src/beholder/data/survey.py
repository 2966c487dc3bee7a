"""One pass over all samples: each is decoded, measured and fingerprinted once, in shards that a rerun reuses."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from beholder.data.decode import Limits, Unreadable, read_picture
from beholder.data.fingerprint import HASH_BYTES, SIDE, TINT_SIDE, fingerprint, pixel_hash, tint
from beholder.data.parallel import map_in_order
from beholder.data.quality import MEASURES, measure
from beholder.runtime.files import write_whole
from beholder.runtime.log import Log
from beholder.types import Sample

SHARD_SIZE = 1000
_LOOKED_AT = 256
"""JPEGs are decoded at the smallest scale whose shorter side keeps so many pixels."""


@dataclass(frozen=True)
class Survey:
    """What was seen of each sample, in the order of the samples; zeros where a sample is unreadable."""

    readable: Bool[np.ndarray, " n"]
    quality: Float32[np.ndarray, "n 6"]
    """MEASURES of quality.py."""
    fingerprints: UInt8[np.ndarray, "n 32 32"]
    tints: UInt8[np.ndarray, "n 8 8 2"]
    hashes: UInt8[np.ndarray, "n 16"]
    reasons: np.ndarray
    """n texts, empty where readable."""


def survey(samples: Sequence[Sample], folder: Path, *, limits: Limits, num_workers: int, log: Log) -> Survey:
    """Look at every sample with `num_workers` threads, at most a few pictures per thread in memory at a time.

    `folder` keeps one file per 1,000 samples. A shard is read instead of computed when its samples (name, place, size
    and time of change) and the limits are the same, so that a rerun gives the same result as an uninterrupted one.
    """
    result = _empty(len(samples))
    shards = [samples[start : start + SHARD_SIZE] for start in range(0, len(samples), SHARD_SIZE)]
    files = [folder / f"survey-{index:05d}-{_digest(shard, limits)}.npz" for index, shard in enumerate(shards)]
    finished = [_load_shard(file, len(shard)) for file, shard in zip(files, shards, strict=True)]
    for index, part in enumerate(finished):
        if part is not None:
            _place(result, index * SHARD_SIZE, part)
    missing = [index for index, part in enumerate(finished) if part is None]
    finished.clear()
    todo = (sample for index in missing for sample in shards[index])
    done = len(samples) - sum(len(shards[index]) for index in missing)
    with ThreadPoolExecutor(num_workers) as pool, log.progress("Look", len(samples), done) as advance:
        seen = map_in_order(pool, lambda sample: look(sample, limits), todo, 4 * num_workers)
        for index in missing:
            part = _empty(len(shards[index]))
            for row, glance in enumerate(itertools.islice(seen, len(shards[index]))):
                _place(part, row, glance)
                advance()
            write_whole(files[index], lambda path, part=part: _save_shard(path, part))
            _place(result, index * SHARD_SIZE, part)
    return result


def look(sample: Sample, limits: Limits) -> Survey:
    """The survey of one sample."""
    glance = _empty(1)
    try:
        picture = read_picture(sample, limits, at_least=_LOOKED_AT)
    except Unreadable as error:
        glance.reasons[0] = error.reason
        return glance
    glance.readable[0] = True
    glance.quality[0] = measure(picture.pixels, picture.width, picture.height)
    glance.fingerprints[0] = fingerprint(picture.pixels)
    glance.tints[0] = tint(picture.pixels)
    glance.hashes[0] = pixel_hash(picture.pixels)
    return glance


def _empty(num: int) -> Survey:
    return Survey(
        np.zeros(num, bool),
        np.zeros((num, len(MEASURES)), np.float32),
        np.zeros((num, SIDE, SIDE), np.uint8),
        np.zeros((num, TINT_SIDE, TINT_SIDE, 2), np.uint8),
        np.zeros((num, HASH_BYTES), np.uint8),
        np.full(num, "", dtype=object),
    )


def _place(whole: Survey, start: int, part: Survey) -> None:
    for field in fields(Survey):
        values = getattr(part, field.name)
        getattr(whole, field.name)[start : start + len(values)] = values


def _digest(shard: Sequence[Sample], limits: Limits) -> str:
    digest = hashlib.blake2b(repr((limits, _LOOKED_AT)).encode(), digest_size=8)
    for sample in shard:
        digest.update(repr((sample.key, str(sample.path), _version(sample))).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _version(sample: Sample) -> tuple[object, ...]:
    if sample.data is not None:
        return (hashlib.blake2b(sample.data, digest_size=8).hexdigest(),)
    assert sample.path is not None
    try:
        status = sample.path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_mode


def _save_shard(path: Path, part: Survey) -> None:
    arrays = {field.name: getattr(part, field.name) for field in fields(Survey)}
    arrays["reasons"] = part.reasons.astype(str)  # fixed-width text: nothing is pickled
    with path.open("wb") as handle:
        np.savez(handle, **arrays)


def _load_shard(path: Path, num: int) -> Survey | None:
    """The shard, or None when it is missing or damaged and must be computed again."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            part = Survey(**{field.name: arrays[field.name] for field in fields(Survey)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return part if len(part.readable) == num else None
