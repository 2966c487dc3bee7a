"""Maps between two frozen towers out of pairs of features: trained ones, and the two baselines that need no steps, with
settings chosen by the same judge."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beholder.data.pairs import PairStream
from beholder.metrics.retrieval import match_ranks, recall_at
from beholder.models.joined_maps import JoinedMaps, join_maps
from beholder.models.pairs import PairMaps, PairMapsConfig
from beholder.objectives.contrastive import Contrastive, ContrastiveConfig
from beholder.runtime.device import Device
from beholder.runtime.seed import seed_everything
from beholder.train.closed_form import Decomposed, correlation_maps, decompose, ridge_maps
from beholder.train.loop import Plan, train
from beholder.types import UserError

RECALLS = (1, 5, 10)


_MOST = 10_000_000


@dataclass(frozen=True)
class PairsConfig:
    """How the maps are trained; what stands in tuples is tried, and the best on the validation part is kept."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    width: int = 256
    """Of the space; with both towers embedded it is MiniLM's."""
    hidden_width: int = 0
    """Of a layer between, in the image's map; 0: the map is linear."""
    has_text_map: bool = True
    num_steps: int = 300
    batch_size: int = 256
    lr: float = 1e-3
    weight_decay: float = 0.5
    dropouts: tuple[float, ...] = (0.1, 0.5)
    """Shares of an image's features that a step does not see."""
    blends: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0)
    """Shares of what was learned that are kept, where the towers have a space in common before any training."""
    shares: tuple[float, ...] = (0.35, 0.5, 0.65)
    """Of the trained maps, where they are joined with canonical correlation's."""
    strengths: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Penalties from which the two baselines choose."""
    correlation_widths: tuple[int, ...] = (32, 128, 384)
    """Numbers of directions from which canonical correlation chooses."""

    def check(self) -> None:
        """Raises UserError for what cannot be trained, in the words of the command line."""
        for option, value, least in (
            ("--steps", self.num_steps, 1), ("--batch-size", self.batch_size, 2), ("--width", self.width, 1),
            ("--hidden-width", self.hidden_width, 0),
        ):  # fmt: skip
            if not least <= value <= _MOST:
                raise UserError(f"{option} {value}: give between {least} and {_MOST:,}, or leave it out.")
        if not self.lr > 0:
            raise UserError(f"--lr {self.lr:g}: a learning rate is above 0; leave it out for 0.001.")


@dataclass(frozen=True)
class Pairs:
    """Features of all pairs: one row an image, one row a distinct text."""

    images: Float[Tensor, "n F"]
    texts: Float[Tensor, "m D"]
    texts_of: Sequence[Int[np.ndarray, " _"]]
    """Rows of each image's texts."""
    is_anchored: bool = False
    """Whether the last features of an image are a point among the texts."""

    def part(self, rows: Int[np.ndarray, " k"]) -> Pairs:
        """Those images, and their texts only."""
        kept = np.unique(np.concatenate([self.texts_of[row] for row in rows]))
        texts_of = [np.searchsorted(kept, self.texts_of[row]) for row in rows]
        return Pairs(self.images[rows], self.texts[kept], texts_of, self.is_anchored)


Judge = Callable[[PairMaps | JoinedMaps], float]
"""How good maps are, on what they have not learned from."""


def recalls(maps: PairMaps | JoinedMaps, pairs: Pairs) -> dict[str, float]:
    """Recall at 1, 5 and 10 of an image's text among all texts and of a text's image among all images, and their mean.

    Texts that are there for several images are one text, and any of its images is right.
    """
    with torch.inference_mode():
        scores = (maps.encode_images(pairs.images) @ maps.encode_texts(pairs.texts).T).numpy()
    is_match = np.zeros(scores.shape, bool)
    for row, texts in enumerate(pairs.texts_of):
        is_match[row, texts] = True
    told = {}
    for name, ranks in (("text", match_ranks(scores, is_match)), ("image", match_ranks(scores.T, is_match.T))):
        told |= {f"{name}_recall_at_{k}": recall_at(ranks, k) for k in RECALLS}
    return {**told, "mean_recall": float(np.mean(list(told.values())))}


def learn_maps(pairs: Pairs, config: PairsConfig, dropout: float, folder: Path, device: Device, seed: int) -> PairMaps:
    """Maps trained with the contrastive objective on these pairs, in evaluation mode and on the CPU."""
    seed_everything(seed, "maps")
    shape = PairMapsConfig(
        pairs.images.shape[1],
        pairs.texts.shape[1],
        pairs.texts.shape[1] if pairs.is_anchored else config.width,
        config.hidden_width,
        config.has_text_map,
        pairs.is_anchored,
        dropout,
        logit_bias=-10.0 if config.loss == "sigmoid" else None,
    )
    maps = PairMaps(shape)
    maps.standardise(pairs.images, pairs.texts)
    size = min(config.batch_size, len(pairs.images))
    stream = PairStream(pairs.images, pairs.texts, pairs.texts_of, batch_size=size, seed=seed)
    plan = Plan(config.num_steps, config.lr, config.num_steps // 20, config.weight_decay, seed=seed)
    train(maps, Contrastive(ContrastiveConfig(config.loss)), stream, plan=plan, device=device, folder=folder)
    return maps.cpu().eval().requires_grad_(False)


Candidate = tuple[dict[str, float], PairMaps | JoinedMaps]
"""Settings, and the maps that came of them."""


def learned_candidates(
    learned: Pairs, config: PairsConfig, folder: Path, device: Device, seed: int
) -> Iterator[Candidate]:
    """Trained maps for every dropout and every blend; checkpoints go to `folder`."""
    for dropout in config.dropouts:
        maps = learn_maps(learned, config, dropout, folder / f"dropout-{dropout:g}", device, seed)
        if not learned.is_anchored or config.hidden_width:
            yield {"dropout": dropout}, maps
            continue
        for blend in config.blends:
            blended = copy.deepcopy(maps)
            blended.blend(blend)
            yield {"dropout": dropout, "blend": blend}, blended


def take_apart(learned: Pairs) -> tuple[Decomposed, Decomposed]:
    """What both baselines begin with: images, and the first text of each."""
    texts = torch.stack([learned.texts[rows[0]] for rows in learned.texts_of])
    return decompose(learned.images, is_standardised=True), decompose(texts, is_standardised=False)


def closed_form_candidates(
    kind: Literal["ridge", "cca"], images: Decomposed, texts: Decomposed, config: PairsConfig
) -> Iterator[Candidate]:
    """The baseline's maps for every strength, and for canonical correlation for several widths."""
    for strength in config.strengths:
        # A strength is a share of the variance that there is in all.
        of_images, of_texts = (strength * float(one.sizes.square().sum()) for one in (images, texts))
        if kind == "ridge":
            yield {"strength": strength}, ridge_maps(images, texts, of_images)
            continue
        for width in config.correlation_widths:
            maps = correlation_maps(images, texts, of_images, of_texts, width)
            yield {"strength": strength, "width": width}, maps


def joined_candidates(trained: PairMaps, correlated: PairMaps, config: PairsConfig) -> Iterator[Candidate]:
    """Trained maps and canonical correlation's in one space, for every share: one sees what the other overlooked."""
    for share in config.shares:
        yield {"share": share}, join_maps([trained, correlated], [share, 1 - share])


def best(candidates: Iterable[Candidate], judge: Judge) -> Candidate:
    """The one that the judge likes best; the first of equals."""
    return max(candidates, key=lambda one: judge(one[1]))
