"""Stage: which pictures have a caption, what the captions are in tokens, and which pairs are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from beholder.recipes.coded_pictures import Collection, collect, tells_sides
from beholder.recipes.pair_source import text_of
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.recipes.tokenizer.drawn import FEWEST
from beholder.runtime.words import words_of
from beholder.tokenizers.captions import Captions, learn_captions
from beholder.types import UserError


@dataclass(frozen=True)
class Material:
    """Pairs of a caption and a picture."""

    collection: Collection
    """Of pictures that have a caption."""
    texts: tuple[str, ...]
    """One for each picture."""
    has_classes: bool
    """Whether they are names of classes."""
    num_silent: int
    """Pictures without a caption, which are left out."""
    captions: Captions
    """Learned from the pairs to learn from alone."""
    rows: Int[np.ndarray, "n words"]
    """The captions as tokens."""

    @property
    def is_sided(self) -> Bool[np.ndarray, " n"]:
        """Captions that would be wrong of the mirrored picture."""
        return np.array([tells_sides(text) for text in self.texts])

    def places(self, is_held_out: bool) -> Int[np.ndarray, " m"]:
        """Of the pairs on one side."""
        return self.collection.places(is_held_out)


def gather(sitting: Sitting[TextToImageTraining], facts: Mapping[str, Any]) -> Material:
    """Read and curate the folder, and learn how captions are written. `facts` are the tokenizer's.

    Raises UserError for fewer than 20 pairs, for one caption only, and where captions have no words.
    """
    found = collect(sitting, facts)
    has_texts = any(sample.text for sample in found.samples)
    texts = [" ".join((sample.text or "" if has_texts else text_of(sample)).split()) for sample in found.samples]
    kept = np.array([bool(words_of(text)) for text in texts])
    if kept.sum() < FEWEST:
        raise UserError(
            f"{sitting.data} has {int(kept.sum())} pictures with a caption ({found.description}) and at least "
            f"{FEWEST} are needed; put a text beside each picture (x.png and x.txt), give a table with a column text, "
            "or sort the pictures into one folder per class."
        )
    pairs = _only(found, np.flatnonzero(kept))
    texts = [text for text, is_kept in zip(texts, kept, strict=True) if is_kept]
    learned = [texts[place] for place in pairs.places(False)]
    if len(set(map(said, learned))) < 2 or len({said(texts[place]) for place in pairs.places(True)}) < 2:
        raise UserError(
            f"{sitting.data} has one caption only, to learn from or to judge by, such as {texts[0]!r}; give pictures "
            "captions that differ."
        )
    captions = learn_captions(learned, sitting.settings.captions)
    num_cut = sum(map(bool, captions.num_cut(learned)))
    if num_cut:
        sitting.log.warn(f"{num_cut:,} captions are longer than {captions.longest} tokens and lose their end")
    num_silent = int((~kept).sum())
    if num_silent:
        sitting.log.warn(f"{num_silent:,} pictures without a caption are left out")
    return Material(pairs, tuple(texts), not has_texts, num_silent, captions, captions.encode(texts))


def said(text: str) -> str:
    """The words of a caption: two that have the same say the same."""
    return " ".join(words_of(text))


def _only(found: Collection, kept: Int[np.ndarray, " m"]) -> Collection:
    """Of these places alone."""
    return replace(
        found, samples=tuple(found.samples[place] for place in kept), hashes=[found.hashes[place] for place in kept],
        groups=found.groups[kept],
        is_held_out=found.is_held_out[kept],
        is_grey=found.is_grey[kept],
        masks={new: found.masks[old] for new, old in enumerate(kept.tolist()) if old in found.masks},
    )  # fmt: skip
