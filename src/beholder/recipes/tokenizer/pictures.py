"""Stage: which pictures are learned from, which are held out, and all of them as squares of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8

from beholder.data.curate import Curation, curate
from beholder.data.sources import Source, read_source
from beholder.data.split import combine_groups, grouped_folds
from beholder.recipes.masks import split_masks
from beholder.recipes.pixel_cache import cache_pixels
from beholder.recipes.same_pictures import hash_once, identify, refuse_changed
from beholder.recipes.tokenizer.drawn import FEWEST, SHARE, draw, kinds_of, masks_of, some
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.runtime.log import counted
from beholder.runtime.seed import derive
from beholder.types import Sample, UserError

NUM_FOLDS = 10
"""One of them is held out."""
_MOST_LEARNED, _MOST_JUDGED = 50_000, 2_000


@dataclass(frozen=True)
class Pictures:
    """What was read, and its pixels."""

    source: Source
    curation: Curation
    groups: Int[np.ndarray, " n"]
    """Of each kept sample; near-duplicates and what the data call a group are one."""
    is_held_out: Bool[np.ndarray, " n"]
    judged: Int[np.ndarray, " m"]
    """Rows of the samples that are judged by: all that are held out, or so many of them."""
    held_out: UInt8[np.ndarray, "m 3 S S"]
    learned: UInt8[np.ndarray, "l 3 R R"]
    """A little larger than what is learned, so that crops differ."""
    drawn: UInt8[np.ndarray, "d 3 R R"] | None
    """What is learned beside them, as large."""
    masks: UInt8[np.ndarray, "k 3 S S"] | None
    """Of held-out pictures, where masks are learned; never learned from."""
    masks_of: Int[np.ndarray, " k"]
    """Rows of the samples that these belong to."""
    hashes: list[str]
    """Of the content of each kept sample: what was learned from, no later verb may hold out."""

    @property
    def keys(self) -> list[str]:
        """Of what is judged by."""
        return [self.curation.samples[row].key for row in self.judged]


def read_pictures(sitting: Sitting) -> Pictures:
    """Read, curate, split and cache. Raises UserError for fewer than 20 readable pictures."""
    config, run, log = sitting.config, sitting.run, sitting.log
    source, masks = split_masks(read_source(Path(config.data), group=config.group), Path(config.data))
    log.stage("Read", source.description)
    curation = curate(
        source, run.scratch("survey"), limits=sitting.limits, num_workers=sitting.device.num_threads, log=log,
        quarantine_file=run.path / "quarantine.jsonl",
    )  # fmt: skip
    samples = curation.samples
    doubles = len(samples) - len(np.unique(curation.cluster))
    log.stage("Curate", f"{counted(len(samples), 'picture')}, {doubles:,} of them doubles, "
              f"{len(curation.quarantine):,} set aside")  # fmt: skip
    if len(samples) < FEWEST:
        raise UserError(
            f"{config.data} has {counted(len(samples), 'picture')} that can be used and at least {FEWEST} are needed "
            "to learn from some and judge by others; give more."
        )
    found = identify(samples, masks)
    refuse_changed(run, config.data, run.expect("pictures", found), found)
    hashes = hash_once(run, samples, found, sitting.device.num_threads)
    groups = groups_of(samples, curation.cluster)
    is_held_out = hold_out(samples, groups, config.seed)
    learned, judged = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    if not len(learned) or not len(judged):
        raise UserError(
            f"{config.data} holds one picture again and again, or one group, so that none can be held out; give others."
        )
    learned = some(learned, _MOST_LEARNED, config.seed, "learned")
    judged = some(judged, _MOST_JUDGED, config.seed, "judged")
    size = sitting.codec.image_size
    owned = sum(samples[row].key in masks for row in learned)
    kinds = kinds_of(config.also, owned, config.data)
    if kinds:
        log.stage("Also", f"{' and '.join(kinds)} are learned, one picture of {SHARE} in a batch")
    log.stage("Split", f"{len(learned):,} to learn from, {len(judged):,} held out, doubles and groups together")

    def cache(rows: np.ndarray, side: int, name: str) -> np.ndarray:
        chosen = [samples[row] for row in rows]
        folder, workers = run.scratch(name), sitting.device.num_threads
        return cache_pixels(chosen, side, folder, sitting.limits, workers, log, is_cropped=True)

    with sitting.run.charged("cache"):
        held_out, pixels = cache(judged, size, "held-out"), cache(learned, room_for(size), "learned")
        drawn = draw(sitting, kinds, [samples[row] for row in learned], pixels, masks) if kinds else None
        owners = [row for row in judged if "masks" in kinds and samples[row].key in masks]
        shown = list(masks_of(sitting, [samples[row] for row in owners], masks, size))
    return Pictures(
        source, curation, groups, is_held_out, judged, held_out, pixels, drawn, np.stack(shown) if shown else None,
        np.array(owners, np.int64), hashes,
    )  # fmt: skip


def room_for(size: int) -> int:
    """Side of the squares that crops of `size` are cut from."""
    return size + max(2, size // 8)


def groups_of(samples: tuple[Sample, ...], cluster: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Near-duplicates together, and what the data call a group."""
    named = np.array([derive(0, sample.group) if sample.group else -1 - row for row, sample in enumerate(samples)])
    return combine_groups(cluster, named)


def hold_out(
    samples: tuple[Sample, ...],
    groups: Int[np.ndarray, " n"],
    seed: int,
    is_known: Bool[np.ndarray, " n"] | None = None,
) -> Bool[np.ndarray, " n"]:
    """The test part where the data name one that is not all of them, else a tenth; whole groups either way, and the
    same for the same samples and seed. `is_known`: what a tokenizer has learned from, of whose groups none is held out;
    where the others are hardly more than a tenth, such as what that tokenizer held out itself, it is all of these."""
    is_free = np.ones(len(samples), bool) if is_known is None else ~np.isin(groups, groups[is_known])
    is_test = np.array([sample.split == "test" for sample in samples])
    if is_test.any() and not is_test.all():
        return np.isin(groups, groups[is_test]) & is_free
    rows = np.flatnonzero(is_free)
    num_folds = min(round(len(rows) * NUM_FOLDS / len(samples)), len(np.unique(groups[rows])))
    if num_folds < 2:
        return is_free
    is_held_out = np.zeros(len(samples), bool)
    is_held_out[rows[grouped_folds([None] * len(rows), groups[rows], num_folds, seed) == 0]] = True
    return is_held_out
