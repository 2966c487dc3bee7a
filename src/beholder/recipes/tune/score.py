"""How good a model is on a part of a set, and how sure that is: right answers, weighed by redrawn groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from beholder.evaluate.resample import unit_weights
from beholder.metrics.retrieval import match_ranks
from beholder.models.pairs import PairModel
from beholder.recipes.pair_maps import RECALLS
from beholder.recipes.tune.sets import Asked
from beholder.runtime.device import Device
from beholder.tokenizers.pixels import PixelConfig, normalise

IMAGES_AT_ONCE = 16
_TEXTS_AT_ONCE = 64
_NUM_DRAWS = 1000
METRICS = {True: "balanced accuracy", False: "mean recall"}
"""By whether the set has classes."""


@dataclass(frozen=True)
class Outcome:
    """What a model answered: `value` in [0, 1] for each question; a score is the mean over `strata` of their means.

    Classes: a question an image, a stratum a class, so that the score is balanced accuracy. Pairs: a question an image
    (which text?) and one a text (which image?), the value being the share of recall at 1, 5 and 10 that is met, so that
    the score is the mean of the six recalls.
    """

    values: Float[np.ndarray, " q"]
    strata: Int[np.ndarray, " q"]
    groups: Int[np.ndarray, " q"]

    def scores(self, weights: Float[np.ndarray, "R U"]) -> Float[np.ndarray, " R"]:
        """One for each row of group weights; strata that have no weight are left out."""
        of_question = weights[:, self.groups]  # R q
        is_of = np.eye(self.strata.max() + 1)[self.strata]  # q s
        total = of_question @ is_of
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nanmean(((of_question * self.values) @ is_of) / np.where(total > 0, total, np.nan), axis=1)

    @property
    def score(self) -> float:
        return float(self.scores(np.ones((1, self.groups.max() + 1)))[0])


@torch.inference_mode()
def ask(model: PairModel, asked: Asked, pixels: PixelConfig, device: Device) -> Outcome:
    """All questions of one part, put to a model on the device."""
    images, texts = place_images(model, asked.pixels, pixels, device), place_texts(model, asked, device)
    scores = (images @ texts.T).numpy()
    if asked.has_classes:
        is_right = (scores.argmax(1) == asked.text_of).astype(float)
        return Outcome(is_right, np.unique(asked.text_of, return_inverse=True)[1].reshape(-1), asked.groups)
    is_match = np.zeros(scores.shape, bool)
    is_match[np.arange(len(scores)), asked.text_of] = True
    first_image = is_match.argmax(0)
    ranks = np.concatenate([match_ranks(scores, is_match), match_ranks(scores.T, is_match.T)])
    values = np.mean([ranks <= k for k in RECALLS], axis=0)
    strata = np.repeat([0, 1], [len(scores), scores.shape[1]])
    return Outcome(values, strata, np.concatenate([asked.groups, asked.groups[first_image]]))


def place_images(model: PairModel, images: np.ndarray, pixels: PixelConfig, device: Device) -> Float[Tensor, "n C"]:
    """Points of fitted squares, on the CPU, as `SharedSpace` places them."""
    rows = []
    for first in range(0, len(images), IMAGES_AT_ONCE):
        batch = torch.from_numpy(np.array(images[first : first + IMAGES_AT_ONCE])).to(device.torch_device)
        with device.autocast():
            rows.append(F.normalize(model.encode_images(normalise(batch, pixels)).float(), dim=1).cpu())
    return torch.cat(rows)


def place_texts(model: PairModel, asked: Asked, device: Device) -> Float[Tensor, "Q C"]:
    """The mean of what the wordings say of each text, of length 1, on the CPU."""
    total = torch.zeros(())
    for wording in asked.wordings:
        rows = []
        for first in range(0, asked.num_texts, _TEXTS_AT_ONCE):
            part = wording.take(np.arange(first, min(first + _TEXTS_AT_ONCE, asked.num_texts)))
            is_real = None if part.is_real is None else part.is_real.to(device.torch_device)
            with device.autocast():
                rows.append(model.encode_texts(part.tokens.to(device.torch_device), is_real).float().cpu())
        total = total + torch.cat(rows)
    return F.normalize(total, dim=1)


def compare(before: Outcome, after: Outcome, seed: int) -> dict[str, list[float] | float]:
    """Change of the score and its 95 % interval over redrawn groups, the same ones for both (paired bootstrap)."""
    weights = _draws(before, seed)
    change = after.scores(weights) - before.scores(weights)
    return {"difference": after.score - before.score, "interval": _ends(change)}


def tell(outcome: Outcome, seed: int) -> dict[str, list[float] | float]:
    """The score and its 95 % interval over redrawn groups."""
    return {"value": outcome.score, "interval": _ends(outcome.scores(_draws(outcome, seed)))}


def _draws(outcome: Outcome, seed: int) -> np.ndarray:
    return unit_weights(int(outcome.groups.max()) + 1, _NUM_DRAWS, seed)


def _ends(draws: np.ndarray) -> list[float]:
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return [float(low), float(high)]
