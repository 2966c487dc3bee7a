"""Stage: your own images and the guard's, as pixels and texts that a model of this run can be taught and asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from beholder.data.pairs import TextRows
from beholder.data.parallel import decoded
from beholder.recipes.pair_source import FEWEST, PairSource, Part, digest_of, read_pairs, text_of
from beholder.recipes.pixel_cache import squares_once
from beholder.recipes.tune.session import Session
from beholder.runtime.log import Log
from beholder.runtime.seed import numpy_generator
from beholder.tasks.shared_space import SharedSpace
from beholder.tasks.similarity import PROMPTS
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.tokenizers.text import Words
from beholder.types import Sample, UserError

_MOST_VALIDATED, _MOST_TESTED = 400, 1000
"""Images that are looked at again for every blend, and at the end; more would tell little more."""


@dataclass(frozen=True)
class Asked:
    """One part of a set: images, and the texts among which each has its own."""

    pixels: UInt8[np.ndarray, "n 3 H W"]
    wordings: Sequence[TextRows]
    """The same texts, each time in other words; a text's point is the mean of theirs."""
    text_of: Int[np.ndarray, " n"]
    """Row of each image's text."""
    groups: Int[np.ndarray, " n"]
    """What is redrawn together for intervals; numbers from 0."""
    has_classes: bool

    @property
    def num_texts(self) -> int:
        return len(self.wordings[0].tokens)


@dataclass(frozen=True)
class TuningSet:
    """One set in its parts; a guard has nothing to learn from."""

    source: PairSource
    learned: Asked | None
    validation: Asked
    test: Asked


def read_sets(session: Session) -> tuple[PairSource, PairSource | None]:
    """Both folders, read and curated. Raises UserError when one is unusable, or has changed since the run was begun."""
    config, run, log = session.config, session.run, session.log
    given = (run, session.limits, session.device, config.seed, log)
    with session.run.charged("read and curate"):
        own = read_pairs(run, Path(config.data), *given[1:])
        log.stage("Curate", _sentence(own))
        guard = None
        if config.guard is None:
            log.warn("without --guard, a folder of general images, it is not known what is forgotten")
        else:
            guard = read_pairs(run, Path(config.guard), *given[1:], is_guard=True)
            log.stage("Curate", _sentence(guard))
    for name, source in (("data", own), ("guard", guard)):
        if source is None:
            continue
        known = run.resolve(f"digest of {name}", lambda source=source: digest_of(source))
        if known != digest_of(source):
            raise UserError(f"--{name} has changed since {run.path} was begun; choose another --out.")
    return own, guard


def open_sets(session: Session, space: SharedSpace, own: PairSource, guard: PairSource | None) -> list[TuningSet]:
    """Pixels of all that is learned and asked, decoded once and kept on disk; the guard's last."""
    side_of(space.pixels)
    with session.run.charged("decode"):
        sets = [_open(session, space, own, "own", learns=True)]
        return sets if guard is None else [*sets, _open(session, space, guard, "general", learns=False)]


def side_of(pixels: PixelConfig) -> int:
    """Side of the square that a model sees. Raises UserError where it sees none."""
    side = pixels.crop if pixels.crop is not None else pixels.size
    if not isinstance(side, int) or pixels.fit == "none" or (pixels.fit == "shortest" and pixels.crop is None):
        raise UserError(
            "This model does not see all pictures as one square, which tuning needs; tune one that does, such as "
            "embedded or openai/clip-vit-base-patch32."
        )
    return side


def word(texts: Sequence[str], words: Words, *, has_classes: bool) -> list[TextRows]:
    """Names of classes in the prompts that `classify --labels` uses; texts as they are, cut where they are too long."""
    told = []
    for prompt in PROMPTS if has_classes else ("{}",):
        encoded = words.encode([prompt.replace("{}", text) for text in texts], is_cut=True)
        told.append(TextRows(encoded.numbers, encoded.is_real))
    return told


def _open(session: Session, space: SharedSpace, source: PairSource, name: str, *, learns: bool) -> TuningSet:
    names = sorted({text_of(sample) for sample in source.samples}) if source.has_classes else None
    learned = _part(session, space, source, name, "train", names) if learns else None
    validation = _part(session, space, source, name, "validation", names)
    return TuningSet(source, learned, validation, _part(session, space, source, name, "test", names))


def _part(
    session: Session, space: SharedSpace, source: PairSource, name: str, part: Part, names: list[str] | None
) -> Asked:
    rows = _chosen(source, name, part, session.config.seed, session.log)
    if len(rows) < FEWEST:
        raise UserError(
            f"{len(rows)} images are left for the {part} part, because the others have near-duplicates in another one, "
            f"and at least {FEWEST} are needed; give more images, or leave their parts to beholder."
        )
    samples = [source.samples[row] for row in rows]
    texts = [text_of(sample) for sample in samples]
    listed = list(dict.fromkeys(texts)) if names is None else names
    place = {text: index for index, text in enumerate(listed)}
    pixels = cache_fitted(session, samples, space.pixels, f"pixels-{name}-{part}")
    groups = np.unique(source.groups[rows], return_inverse=True)[1].reshape(-1)
    wordings = word(listed, space.words, has_classes=source.has_classes)
    return Asked(pixels, wordings, np.array([place[text] for text in texts]), groups, source.has_classes)


def _chosen(source: PairSource, name: str, part: Part, seed: int, log: Log) -> Int[np.ndarray, " n"]:
    """Images of a part without doubles in a part that judges later, and not too many where they only judge."""
    later: dict[str, tuple[Part, ...]] = {"train": ("validation", "test"), "validation": ("test",), "test": ()}
    rows = source.rows(part)
    judging = np.concatenate([np.zeros(0, np.int64), *(source.groups[source.rows(one)] for one in later[part])])
    rows = rows[~np.isin(source.groups[rows], judging)]
    most = {"train": len(rows), "validation": _MOST_VALIDATED, "test": _MOST_TESTED}[part]
    if len(rows) <= most:
        return rows
    log.warn(f"{most:,} of the {len(rows):,} images of the {name} {part} part are asked, drawn at random")
    return np.sort(numpy_generator(seed, "asked", name, part).choice(rows, most, replace=False))


def cache_fitted(
    session: Session, samples: Sequence[Sample], pixels: PixelConfig, name: str
) -> UInt8[np.ndarray, "n 3 H W"]:
    """The squares that the model sees, as bytes, mapped from one file; made once, then only opened."""
    folder, side = session.run.scratch(name), side_of(pixels)
    squares = (
        np.rint(fit(image, pixels)).astype(np.uint8).transpose(2, 0, 1)
        for image in decoded(samples, session.limits, session.device.num_threads)
    )
    return squares_once(squares, len(samples), side, folder, session.log, "Decode")


def _sentence(source: PairSource) -> str:
    curation = source.curation
    parts = {part: len(source.rows(part)) for part in ("train", "validation", "test")}
    told = [f"{len(source.samples):,} images kept", f"{len(curation.quarantine):,} quarantined"]
    if curation.duplicates:
        told.append(f"{len(curation.duplicates):,} groups of duplicates")
    return ", ".join(told) + "; " + ", ".join(f"{count:,} for {part}" for part, count in parts.items() if count)
