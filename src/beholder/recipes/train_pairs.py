"""`train_pairs`: two frozen towers and your own pairs of images and texts to one space (locked towers: Zhai et al. 2021,
arXiv 2111.07991).

    python -m beholder.recipes.train_pairs photos/ --out runs/pairs

Hardware: any CPU; images are looked at once, about 50 a second and core, and training itself takes seconds. It ends with
recall on pairs held out, beside ridge regression and canonical correlation between the same towers, which had the same
choice of settings on the same validation pairs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beholder.config import to_json
from beholder.data.curate import curate
from beholder.data.decode import Limits
from beholder.data.parallel import decoded
from beholder.data.pairs import PairStream
from beholder.data.sources import read_source
from beholder.data.split import combine_groups, grouped_folds
from beholder.metrics.retrieval import match_ranks, recall_at
from beholder.models.pairs import PairMaps, PairMapsConfig
from beholder.objectives.contrastive import Contrastive, ContrastiveConfig
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.pair_folder import save_pair_folder
from beholder.pretrained.towers import Towers, place_texts
from beholder.recipes.towers import open_towers
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import refuse_inside, told_kindly
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import seed_everything
from beholder.tokenizers.pixels import prepare
from beholder.train.closed_form import correlation_maps, decompose, ridge_maps
from beholder.train.loop import Plan, train
from beholder.types import Sample, UserError
from beholder.version import VERSION

_NUM_FOLDS = 5
"""One is held out to tell the result, one to choose settings, the others are learned from."""
_FEWEST = 20
"""Pairs in each part, below which a recall says nothing."""
_IMAGES_AT_ONCE = 16
_RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class PairsConfig:
    """How the maps are trained; of several weight decays the one with the best recall on the validation part is kept."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    width: int = 256
    """Of the space; where the image's features end in a point among texts, the space is that of the texts."""
    hidden_width: int = 0
    """Of a layer between, in the image's map; 0: the map is linear."""
    num_steps: int = 400
    batch_size: int = 256
    lr: float = 1e-3
    weight_decays: tuple[float, ...] = (0.1, 0.5, 2.0)
    dropout: float = 0.3
    """Share of an image's features that a step does not see."""
    strengths: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Penalties from which the two baselines choose."""


@dataclass(frozen=True)
class Pairs:
    """Features of all pairs: one row an image, one row a distinct text."""

    images: Float[Tensor, "n F"]
    texts: Float[Tensor, "m D"]
    text_of: Int[np.ndarray, " n"]
    """Row of each image's text."""

    def part(self, rows: Int[np.ndarray, " k"]) -> Pairs:
        """Those images, and their texts only."""
        kept, text_of = np.unique(self.text_of[rows], return_inverse=True)
        return Pairs(self.images[rows], self.texts[kept], text_of.reshape(-1))


def recalls(maps: PairMaps, pairs: Pairs) -> dict[str, float]:
    """Recall at 1, 5 and 10 of an image's text among all texts and of a text's image among all images, and their mean.

    Texts that are there for several images are one text, and any of its images is right.
    """
    with torch.inference_mode():
        scores = (maps.encode_images(pairs.images) @ maps.encode_texts(pairs.texts).T).numpy()
    is_match = pairs.text_of[:, None] == np.arange(len(pairs.texts))
    told = {}
    for name, ranks in (("text", match_ranks(scores, is_match)), ("image", match_ranks(scores.T, is_match.T))):
        told |= {f"{name}_recall_at_{k}": recall_at(ranks, k) for k in _RECALLS}
    return {**told, "mean_recall": float(np.mean(list(told.values())))}


def learn_maps(
    pairs: Pairs, config: PairsConfig, weight_decay: float, folder: Path, device: Device, *, is_anchored: bool, seed: int
) -> PairMaps:
    """Maps trained with the contrastive objective on these pairs, on the CPU, in evaluation mode."""
    seed_everything(seed, "maps")
    width = pairs.texts.shape[1] if is_anchored else config.width
    maps = PairMaps(
        PairMapsConfig(
            pairs.images.shape[1], pairs.texts.shape[1], width, config.hidden_width, is_anchored, config.dropout,
            logit_bias=-10.0 if config.loss == "sigmoid" else None,
        )
    )  # fmt: skip
    maps.standardise(pairs.images, pairs.texts)
    stream = PairStream(
        pairs.images, pairs.texts, pairs.text_of[:, None], batch_size=min(config.batch_size, len(pairs.images)), seed=seed
    )
    plan = Plan(config.num_steps, config.lr, config.num_steps // 20, weight_decay, seed=seed)
    train(maps, Contrastive(ContrastiveConfig(config.loss)), stream, plan=plan, device=device, folder=folder)
    return maps.cpu().eval().requires_grad_(False)
