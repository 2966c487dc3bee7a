"""A small transformer over the frozen backbone's maps, a candidate of `domain_candidates.py`: which token comes
next, or stood where one is hidden."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.recipes.adapt.session import Session
from beholder.runtime.seed import derive
from beholder.tokenizers.pixels import normalise, resize, to_batch
from beholder.train.schedule import warmup_cosine
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.position import sine_positions
from beholder.trunk.transformer import Transformer, TransformerConfig

_MAP_SIDE, _HIDDEN_SHARE, _TOKEN_BATCH, _TOKEN_RATE = 7, 0.5, 64, 1e-3


class MapReader(nn.Module):
    """Tokens of an image in reading order, each in units of its spread, to states and to what each foretells."""

    def __init__(self, maps: Tensor, is_causal: bool, width: int = 192, depth: int = 4) -> None:
        super().__init__()
        num_values = maps.shape[2]
        self.register_buffer("mean", maps.mean((0, 1)))
        self.register_buffer("spread", maps.std((0, 1)) + 1e-6)
        self.register_buffer("places", sine_positions(_MAP_SIDE, _MAP_SIDE, width))
        self.mean: Tensor
        self.spread: Tensor
        self.places: Tensor
        self.inward, self.outward = nn.Linear(num_values, width), nn.Linear(width, num_values)
        self.hidden = nn.Parameter(torch.zeros(width))
        self.trunk = Transformer(TransformerConfig(width, depth, AttentionConfig(3), mask=MaskConfig(is_causal)))
        self.is_causal = is_causal

    def states(self, maps: Tensor, is_hidden: Tensor | None = None) -> tuple[Tensor, ...]:
        """After half of the blocks and after all, B T D each."""
        tokens = self.inward((maps - self.mean) / self.spread)
        if is_hidden is not None:
            tokens = torch.where(is_hidden[..., None], self.hidden, tokens)
        return self.trunk(tokens + self.places, taps=(len(self.trunk.blocks) // 2,))

    def loss(self, maps: Tensor, generator: torch.Generator) -> Tensor:
        right = (maps - self.mean) / self.spread
        if self.is_causal:
            return F.smooth_l1_loss(self.outward(self.states(maps)[-1])[:, :-1], right[:, 1:])
        is_hidden = torch.rand(maps.shape[:2], generator=generator) < _HIDDEN_SHARE
        return F.smooth_l1_loss(self.outward(self.states(maps, is_hidden)[-1])[is_hidden], right[is_hidden])


def teach_reader(reader: MapReader, maps: Tensor, seconds: float, seed: int) -> tuple[int, float]:
    """Steps taken, and CPU seconds."""
    generator = torch.Generator().manual_seed(derive(seed, "reader"))
    optimizer = torch.optim.AdamW(reader.parameters(), lr=_TOKEN_RATE, weight_decay=0.05, betas=(0.9, 0.95))

    def step() -> None:
        rows = torch.randint(len(maps), (min(_TOKEN_BATCH, len(maps)),), generator=generator)
        optimizer.zero_grad()
        reader.loss(maps[rows], generator).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()

    begun = time.process_time()
    optimizer.param_groups[0]["lr"] = 0.0
    for _ in range(3):
        step()
    steps = max(1, int(seconds / ((time.process_time() - begun) / 3)))
    begun = time.process_time()
    for number in range(steps):
        optimizer.param_groups[0]["lr"] = _TOKEN_RATE * warmup_cosine(number, steps, max(1, steps // 10), 0.01)
        step()
    reader.eval()
    return steps, time.process_time() - begun


@torch.inference_mode()
def tokens_of(frozen: nn.Module, images: Sequence[np.ndarray], session: Session) -> Tensor:
    """The two coarser maps of squares, B 49 C."""
    side = session.config.resolutions[0]
    outputs = frozen(normalise(to_batch([resize(image, side) for image in images]), session.pixels))
    maps = [F.adaptive_avg_pool2d(one.float(), _MAP_SIDE) for one in outputs.maps[1:]]
    return torch.cat(maps, 1).flatten(2).transpose(1, 2).clone()
