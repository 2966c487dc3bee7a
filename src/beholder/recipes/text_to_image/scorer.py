"""Whether pictures go with captions, told by what nothing else in a run uses: fixed filters and colours of pictures,
words of captions, and canonical correlation between the two, in closed form on the pairs to learn from.

It sees colours, coarse shapes and textures, and knows no objects. How well it tells true pictures apart stands beside
every figure that it gives.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from beholder.metrics.filters import NUM_FEATURES, filter_features
from beholder.models.pairs import PairMaps
from beholder.recipes.text_to_image.material import Material, said
from beholder.runtime.seed import numpy_generator
from beholder.runtime.words import words_of
from beholder.train.closed_form import Decomposed, correlation_maps, decompose

_AT_ONCE = 256
_BINS, _THUMBNAIL = 4, 8
_MOST_WORDS = 1500
_WIDTHS, _OF_IMAGES, _OF_TEXTS = (16, 64), (0.03, 0.3, 3.0), (0.1, 1.0)
_CHECKED = 5
"""One pair in so many chooses among these settings."""
NAME = (
    f"{NUM_FEATURES} responses of fixed filters over the whole picture and its quarters, its colours and an 8 x 8 "
    "thumbnail, with the words of captions by canonical correlation"
)


@dataclass(frozen=True)
class Scorer:
    """Maps of both sides, fitted on the pairs to learn from."""

    maps: PairMaps
    words: dict[str, int]
    weights: Float[np.ndarray, " D"]
    """How rare each word is."""
    checked: float
    """Share of comparisons on the pairs that chose the settings in which a picture's own caption came out ahead."""

    def scores(self, pictures: UInt8[np.ndarray, "n S S 3"], texts: Sequence[str]) -> Float[np.ndarray, "n m"]:
        """Cosine of every picture with every text, -1 to 1; 0 for a text none of whose words is known."""
        return _cosines(self.maps, picture_features(pictures), text_features(texts, self.words, self.weights))


def fit_scorer(
    material: Material, squares: UInt8[np.ndarray, "n S S 3"], painted: UInt8[np.ndarray, "n S S 3"], seed: int
) -> Scorer:
    """From the pairs to learn from, each picture as it is and as the tokenizer paints it: what is judged is painted."""
    places = material.places(False)
    texts = [material.texts[place] for place in places]
    counts = Counter(word for text in texts for word in set(words_of(text)))
    listed = [word for word, count in counts.most_common(_MOST_WORDS) if count > 1] or list(counts)[:_MOST_WORDS]
    words = {word: number for number, word in enumerate(listed)}
    weights = np.log(len(texts) / np.array([counts[word] for word in listed]) + 1).astype(np.float32)
    seen = [picture_features(one[places]) for one in (squares, painted)]
    said = text_features(texts, words, weights)
    is_checked = numpy_generator(seed, "scorer").permutation(len(texts)) % _CHECKED == 0
    best: tuple[float, tuple[float, float, int]] | None = None
    apart = _apart([one[~is_checked] for one in seen], said[~is_checked])
    asked = [texts[place] for place in np.flatnonzero(is_checked)]
    for chosen in itertools.product(_OF_IMAGES, _OF_TEXTS, _WIDTHS):
        maps = correlation_maps(*apart, *chosen)
        found = _cosines(maps, seen[1][is_checked], said[is_checked])
        share = float(np.mean(preferred(found, asked)))
        if best is None or share > best[0]:
            best = share, chosen
    assert best is not None
    return Scorer(correlation_maps(*_apart(seen, said), *best[1]), words, weights, best[0])


def _apart(seen: Sequence[Tensor], said: Tensor) -> tuple[Decomposed, Decomposed]:
    return (
        decompose(torch.cat(list(seen)), is_standardised=True),
        decompose(said.repeat(len(seen), 1), is_standardised=False),
    )


def picture_features(pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[Tensor, "n F"]:
    """Filters over the whole and its quarters, shares of 64 colours, and a thumbnail."""
    found = []
    for first in range(0, len(pictures), _AT_ONCE):
        part = torch.from_numpy(np.array(pictures[first : first + _AT_ONCE]))
        pixels = part.permute(0, 3, 1, 2).float() / 255
        height, width = pixels.shape[2] // 2, pixels.shape[3] // 2
        quarters = [pixels[:, :, top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
        told = [filter_features(one) for one in (pixels, *quarters)]
        level = (part.long() * _BINS) // 256  # n S S 3
        colour = ((level[..., 0] * _BINS + level[..., 1]) * _BINS + level[..., 2]).flatten(1)
        shares = torch.stack([(colour == number).float().mean(1) for number in range(_BINS**3)], dim=1)
        thumbnail = F.adaptive_avg_pool2d(pixels, _THUMBNAIL).flatten(1)
        found.append(torch.cat([*told, shares.sqrt(), thumbnail], dim=1))
    return torch.cat(found)


def text_features(
    texts: Sequence[str], words: dict[str, int], weights: Float[np.ndarray, " D"]
) -> Float[Tensor, "m D"]:
    """Known words of each text, rare ones counting more, of unit length."""
    found = np.zeros((len(texts), len(words)), np.float32)
    for row, text in enumerate(texts):
        for word in set(words_of(text)) & words.keys():
            found[row, words[word]] = weights[words[word]]
    return F.normalize(torch.from_numpy(found), dim=1)


def preferred(scores: Float[np.ndarray, "n n"], texts: Sequence[str]) -> Float[np.ndarray, " n"]:
    """For each picture, the share of other captions that score less than its own; equal ones count half. Captions that
    say the same are no other ones."""
    own = np.diag(scores)[:, None]
    is_other = others_of(texts)
    won = (scores < own) + 0.5 * (scores == own)
    return (won * is_other).sum(1) / np.maximum(is_other.sum(1), 1)


def others_of(texts: Sequence[str]) -> np.ndarray:
    """Which captions say something else (bool n n)."""
    _, number = np.unique([said(text) for text in texts], return_inverse=True)
    return number[:, None] != number[None]


def _cosines(maps: PairMaps, seen: Tensor, said: Tensor) -> Float[np.ndarray, "n m"]:
    with torch.inference_mode():
        points, others = maps.encode_images(seen), maps.encode_texts(said)
        others = others * (said.abs().sum(1, keepdim=True) > 0)
        return (points @ others.T).numpy()


def own_less_others(scores: Float[np.ndarray, "n n"], texts: Sequence[str]) -> Float[np.ndarray, " n"]:
    """How much more each picture's own caption scores than the mean of other ones."""
    is_other: Int[np.ndarray, "n n"] = others_of(texts).astype(np.int64)
    return np.diag(scores) - (scores * is_other).sum(1) / np.maximum(is_other.sum(1), 1)
