"""Stage: whether what is drawn for held-out captions goes with them, how it compares as a set, and what it copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from beholder.evaluate.resample import grouped_interval
from beholder.metrics.coverage import NUM_NEIGHBOURS, coverage
from beholder.metrics.filters import NUM_FEATURES, filter_features
from beholder.recipes.coded_pictures import PLAIN, CodeTables
from beholder.recipes.nearest import likeness, nearest_of
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image.material import Material, said
from beholder.recipes.text_to_image.reranker import choose_best
from beholder.recipes.text_to_image.scorer import NAME, Scorer, own_less_others, preferred
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.runtime.seed import derive, numpy_generator
from beholder.tasks.captioned_pictures import USUAL, CaptionedPictures
from beholder.tasks.shared_space import SharedSpace

_LEAST_SPREAD = 0.01
"""Of a feature, in units of a pixel from 0 to 1: grey pictures have no spread of colour to divide by."""
_COPY = 0.98
"""Likeness of thumbnails from which on two pictures are taken for one."""

_MOST_LOOKED, _FEWEST_LOOKED = 48, 4


@dataclass(frozen=True)
class Asked:
    """Held-out captions, and what was drawn for them."""

    places: Int[np.ndarray, " q"]
    texts: tuple[str, ...]
    drawn: UInt8[np.ndarray, "q k S S 3"]
    """Under guidance, `k` each."""
    unguided: UInt8[np.ndarray, "q S S 3"]
    best: Int[np.ndarray, " q"]
    """Which of the `k` the reranker prefers."""
    nearest: Int[np.ndarray, " q"]
    """Place of the training picture that is most like the preferred one."""

    @property
    def chosen(self) -> UInt8[np.ndarray, "q S S 3"]:
        return self.drawn[np.arange(len(self.best)), self.best]


def looked_at(material: Material, seed: int) -> Int[np.ndarray, " p"]:
    """Held-out pictures that choose the weights on the way, at most a third of them; they judge nothing. None at all
    where these are too few to tell captions apart, or would leave too few."""
    places = _held_out(material, seed)
    count = min(_MOST_LOOKED, len(places) // 3)
    for part in (places[:count], places[count:]):
        if len(part) < _FEWEST_LOOKED or len({said(material.texts[place]) for place in part}) < 2:
            return places[:0]
    return places[:count]


def ask(material: Material, num_asked: int, seed: int) -> Int[np.ndarray, " q"]:
    """Held-out pictures to ask for, each with another caption as far as there are some, in a drawn order."""
    places = _held_out(material, seed)[len(looked_at(material, seed)) :]
    seen: set[str] = set()
    first, again = [], []
    for place in places.tolist():
        (again if said(material.texts[place]) in seen else first).append(place)
        seen.add(said(material.texts[place]))
    return np.array([*first, *again][:num_asked])


def _held_out(material: Material, seed: int) -> Int[np.ndarray, " h"]:
    return numpy_generator(seed, "asked").permutation(material.places(True))


def draw_all(
    sitting: Sitting[TextToImageTraining], material: Material, drawer: CaptionedPictures, space: SharedSpace | None,
    painted: UInt8[np.ndarray, "n S S 3"],
) -> Asked:  # fmt: skip
    """Draw for each held-out caption that is asked, choose, and look for what was copied."""
    settings, seed = sitting.settings, derive(sitting.seed, "drawn") % 2**31
    places = ask(material, settings.num_judged, sitting.seed)
    texts = tuple(material.texts[place] for place in places)
    num = settings.num_candidates
    wanted = [text for text in texts for _ in range(num)]
    codes = drawer.draw(wanted, USUAL, settings.guidance, seed)
    drawn = drawer.pictures.decode(codes)
    drawn = drawn.reshape(len(texts), num, *drawn.shape[1:])
    unguided = drawer.pictures.decode(drawer.draw(texts, USUAL, 1.0, seed))
    readable = [drawer.captions.decode(row) for row in drawer.captions.encode(texts)]
    best = choose_best(space, readable, drawn)
    known = material.places(False)
    nearest, _ = nearest_of(drawn[np.arange(len(best)), best], painted[known])
    return Asked(places, texts, drawn, unguided, best, known[nearest])


def judge(
    sitting: Sitting[TextToImageTraining], material: Material, tables: CodeTables, drawer: CaptionedPictures,
    scorer: Scorer, asked: Asked, painted: UInt8[np.ndarray, "n S S 3"],
) -> dict[str, Any]:  # fmt: skip
    """Everything that is told of the model, JSON values."""
    generator, groups = numpy_generator(sitting.seed, "bootstrap"), material.collection.groups[asked.places]
    sets = {
        "true pictures": np.stack([tables.squares[PLAIN][place] for place in asked.places]),
        "true pictures as the tokenizer paints them": painted[asked.places],
        "drawn, without guidance": asked.unguided,
        "drawn": asked.drawn[:, 0],
        "drawn, reranked": asked.chosen,
    }
    if sitting.settings.num_candidates == 1 or not sitting.settings.reranker_share:
        del sets["drawn, reranked"]
    rows = {name: _goes_with(scorer, pictures, asked.texts, generator, groups) for name, pictures in sets.items()}
    separates = (rows["true pictures"]["gain"]["interval"] or [0.0])[0] > 0
    reranking = _gain_of_reranking(scorer, asked, separates, generator, groups)
    given = asked.drawn[:, 0] if reranking["harms"] else asked.chosen  # what a user gets
    return {
        "scorer": {"name": NAME, "checked": scorer.checked, "separates": separates},
        "num_captions": len(asked.texts),
        "guidance": sitting.settings.guidance,
        "num_candidates": sitting.settings.num_candidates,
        "rows": rows,
        "reranking": reranking,
        "nats": _nats(material, tables, drawer, asked, generator),
        "copies": _copies(material, painted, asked, given),
        "sets": _sets(material, painted, asked, given, generator),
    }


def _goes_with(
    scorer: Scorer,
    pictures: UInt8[np.ndarray, "q S S 3"],
    texts: Sequence[str],
    generator: np.random.Generator,
    groups: Int[np.ndarray, " q"],
) -> dict[str, Any]:
    """Whether pictures score more with their own caption than with those of the others."""
    scores = scorer.scores(pictures, texts)
    gain, share = own_less_others(scores, texts), preferred(scores, texts)
    return {
        "own": float(np.diag(scores).mean()),
        "others": float((np.diag(scores) - gain).mean()),
        "gain": _told(gain, generator, groups),
        "preferred": _told(share, generator, groups),
    }


def _gain_of_reranking(
    scorer: Scorer, asked: Asked, separates: bool, generator: np.random.Generator, groups: Int[np.ndarray, " q"]
) -> dict[str, Any]:
    """What choosing is worth beside taking the first, caption by caption; and whether it surely harms, which only a
    scorer that `separates` true pictures can tell."""
    first, chosen = (
        preferred(scorer.scores(pictures, asked.texts), asked.texts) for pictures in (asked.drawn[:, 0], asked.chosen)
    )
    told = _told(chosen - first, generator, groups)
    return {**told, "harms": separates and told["interval"] is not None and told["interval"][1] < 0}


def _nats(
    material: Material, tables: CodeTables, drawer: CaptionedPictures, asked: Asked, generator: np.random.Generator
) -> dict[str, Any]:
    """What a code of the true pictures costs under their own caption, under another's, and under none: whether the
    model has learned what words mean needs no scorer to be told."""
    codes = np.stack([tables.plain(int(place), 0) for place in asked.places])
    groups = material.collection.groups[asked.places]
    own = drawer.nats(asked.texts, codes)
    wrong = drawer.nats(exchanged(asked.texts), codes)
    none = drawer.nats([""] * len(codes), codes)
    return {
        "own": float(own.mean()),
        "others": float(wrong.mean()),
        "none": float(none.mean()),
        "gain_over_others": _told(wrong - own, generator, groups),
        "gain_over_none": _told(none - own, generator, groups),
    }


def exchanged(texts: Sequence[str]) -> list[str]:
    """Captions in another order, so that each says something else, as far as there are others."""
    count = len(texts)
    shifts = [next((step for step in range(1, count) if said(texts[(at + step) % count]) != said(text)), 0)
              for at, text in enumerate(texts)]  # fmt: skip
    return [texts[(at + step) % count] for at, step in enumerate(shifts)]


def _copies(
    material: Material, painted: UInt8[np.ndarray, "n S S 3"], asked: Asked, given: UInt8[np.ndarray, "q S S 3"]
) -> dict[str, Any]:
    """How like its nearest training picture each drawn one is, beside the same of true held-out ones."""
    known = painted[material.places(False)]
    _, drawn = nearest_of(given, known)
    _, true = nearest_of(painted[asked.places], known)
    pairs = likeness(given, given)
    apart = pairs[~np.eye(len(pairs), dtype=bool)]
    return {
        "limit": _COPY,
        "drawn": float(np.median(drawn)),
        "true": float(np.median(true)),
        "share_drawn": float((drawn > _COPY).mean()),
        "share_true": float((true > _COPY).mean()),
        "between_drawn": float(np.median(apart)) if len(apart) else None,
    }


def _sets(
    material: Material, painted: UInt8[np.ndarray, "n S S 3"], asked: Asked, given: UInt8[np.ndarray, "q S S 3"],
    generator: np.random.Generator,
) -> dict[str, Any] | None:  # fmt: skip
    """Precision and recall of what is drawn beside those of as many learned pictures, which are the best to be hoped
    for; None where there are too few."""
    true, known = painted[asked.places], material.places(False)
    count = min(len(true), len(known))
    if count <= NUM_NEIGHBOURS:
        return None
    others = painted[np.sort(generator.choice(known, count, replace=False))]
    seen = _filtered(true)
    mean, spread = seen.mean(0), np.maximum(seen.std(0), _LEAST_SPREAD)
    of_true, of_drawn, of_others = ((_filtered(one) - mean) / spread for one in (true, given, others))
    drawn, best = coverage(of_true, of_drawn), coverage(of_true, of_others)
    return {
        "features": f"{NUM_FEATURES} responses of fixed filters, in units of their spread over the true pictures",
        "precision": drawn.precision,
        "recall": drawn.recall,
        "precision_true": best.precision,
        "recall_true": best.recall,
    }


def _filtered(pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[np.ndarray, "n F"]:
    return filter_features(torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255).numpy()


def _told(
    values: Float[np.ndarray, " q"], generator: np.random.Generator, groups: Int[np.ndarray, " q"]
) -> dict[str, Any]:
    return {"value": float(values.mean()), "interval": grouped_interval(values, groups, generator)}
