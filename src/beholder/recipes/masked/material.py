"""Stage: which pictures there are, which are held out, and what can be asked for: classes and captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from beholder.recipes.coded_pictures import Collection, collect
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.sitting import Sitting
from beholder.runtime.words import words_of
from beholder.tasks.masked_pictures import Wish
from beholder.tokenizers.captions import Captions, learn_captions

FEWEST_OF_CLASS = 4
"""Pictures to learn from, below which a class cannot be asked for."""


@dataclass(frozen=True)
class Material:
    """The pictures of a run, and what is known of them."""

    collection: Collection
    labels: tuple[str, ...]
    """Classes that can be asked for, by number; none where there are fewer than two."""
    classes: Int[np.ndarray, " n"]
    """Of each picture; the number of classes where it has none of these."""
    captions: Captions | None
    """Learned from the captions to learn from; None: there are none."""
    words: Int[np.ndarray, "n words"]
    """The captions as tokens, nothing but what fills them up where there is none; no columns without captions."""

    def places(self, is_held_out: bool) -> Int[np.ndarray, " m"]:
        """Of the pictures on one side."""
        return self.collection.places(is_held_out)

    def wish_of(self, place: int) -> Wish:
        """What would have to be asked for to be given this picture."""
        label = self.labels[self.classes[place]] if self.classes[place] < len(self.labels) else None
        text = self.collection.samples[place].text
        return Wish(label, text if self.captions is not None and text and words_of(text) else None)


def gather(sitting: Sitting[MaskedTraining], facts: Mapping[str, Any]) -> Material:
    """Read and curate the folder. `facts` are the tokenizer's: what it has learned from is not held out.

    Raises UserError for too few pictures.
    """
    collection, settings = collect(sitting, facts), sitting.settings
    samples, known = collection.samples, collection.places(False)
    counts = Counter(samples[place].label for place in known)
    enough = [name for name, count in counts.items() if name is not None and count >= FEWEST_OF_CLASS]
    labels: tuple[str, ...] = tuple(sorted(enough)) if settings.has_labels and len(enough) > 1 else ()
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(labels)}
    classes = np.array([numbers.get(sample.label, len(labels)) for sample in samples])
    texts = [" ".join((sample.text or "").split()) for sample in samples]
    learned = [texts[place] for place in known if words_of(texts[place])]
    if not settings.has_texts or len(set(learned)) < 2:
        return Material(collection, labels, classes, None, np.zeros((len(samples), 0), np.int64))
    captions = learn_captions(learned, settings.captions)
    return Material(collection, labels, classes, captions, captions.encode(texts))
