"""What an image codec is trained by: the picture that comes back is to be the one that went in, in its pixels, to the
eye of a frozen network, and, if asked for, to an adversary (VQGAN: Esser et al. 2020, arXiv 2012.09841)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from beholder.objectives.table_average import TableAverage
from beholder.types import Batch, Losses


@dataclass(frozen=True)
class ReconstructionConfig:
    """How much each part counts, and when it begins. Pixels lie in -1 to 1."""

    absolute: float = 1.0
    squared: float = 3.0
    perceptual: float = 0.1
    """Of the distance between features, where a perceiver is given."""
    perceived_share: float = 0.125
    """Of each batch, that the perceiver looks at: of all pictures it would cost more than a small codec itself."""
    codebook: float = 1.0
    adversary: float = 0.5
    """Of the adversary's gradient, measured in lengths of the other parts' gradient; where a critic is given."""
    adversary_from: float = 1 / 3
    """Share of the run after which the adversary begins."""
    revive_every: int = 20
    """Steps after which codes of a learned table that no point came near are put where points are."""
    revive_until: float = 0.8
    """Share of the run after which the table is left to settle."""


class Reconstruction(nn.Module):
    """The loss, its eye and its adversary.

    The critic's weights are this objective's parameters and are trained by the loop's own optimiser, on the critic's
    loss alone: the codec's share of the loss reads them detached. So they are saved and resumed like all else.
    """

    def __init__(
        self,
        perceiver: nn.Module | None = None,
        critic: nn.Module | None = None,
        config: ReconstructionConfig = ReconstructionConfig(),
        table_shape: tuple[int, int] = (0, 0),
        follows: bool = False,
    ) -> None:
        """`perceiver` gives maps of pixels; `critic` gives a score a patch; `table_shape`, rows and
        coordinates of a table of codes that is learned, 0 where there is none; `follows`, whether its rows are averages
        of their points, and no optimiser moves them."""
        super().__init__()
        self.config = config
        self.perceiver = None if perceiver is None else perceiver.eval().requires_grad_(False)
        self.critic = critic
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("is_used", torch.zeros(table_shape[0], dtype=torch.bool))
        self.progress: Tensor
        self.num_steps: Tensor
        self.is_used: Tensor
        self.average = TableAverage(*table_shape) if follows else None
        self._found: tuple[Tensor, Tensor] | None = None
        """Points and codes of the last batch, for a table that is learned; made and used within one step."""

    def forward(self, model: Any, batch: Batch) -> Losses:
        pixels = batch["views"][0]
        painted, quantised = model(pixels)
        painted = painted.float()
        config = self.config
        parts = {"absolute": F.l1_loss(painted, pixels), "squared": F.mse_loss(painted, pixels)}
        total = config.absolute * parts["absolute"] + config.squared * parts["squared"]
        if self.perceiver is not None:
            count = max(1, round(config.perceived_share * len(pixels)))
            parts["perceptual"] = perceptual_distance(self.perceiver(painted[:count]), self._seen(pixels[:count]))
            total = total + config.perceptual * parts["perceptual"]
        if len(self.is_used):
            codes = quantised.codes.flatten()
            self.is_used[codes] = True
            self._found = quantised.points.detach().flatten(0, -2), codes
            parts["codebook"] = quantised.loss
        if self.critic is not None:
            adversary, doubt = self._adversary(self.critic, pixels, painted, total)
            total = total + adversary + doubt
            parts["critic"] = doubt
        total = total + config.codebook * quantised.loss
        return Losses(total, {name: float(part.detach()) for name, part in parts.items()})

    @torch.no_grad()
    def after_step(self, model: Any, progress: float) -> None:
        self.progress.fill_(progress)
        self.num_steps += 1
        if not len(self.is_used):
            return
        assert self._found is not None, "a step was taken before"
        points, codes = self._found
        self._found = None
        if self.average is not None:
            self.average.follow(model.codebook.table, codes, points)
        if int(self.num_steps) % self.config.revive_every == 0:
            if progress <= self.config.revive_until:
                model.codebook.revive(self.is_used, points)
                if self.average is not None:
                    self.average.hold(~self.is_used, model.codebook.table)
            self.is_used.zero_()

    def train(self, mode: bool = True) -> Reconstruction:
        """The perceiver stays in evaluation mode."""
        super().train(mode)
        if self.perceiver is not None:
            self.perceiver.eval()
        return self

    @torch.no_grad()
    def _seen(self, pixels: Float[Tensor, "B 3 H W"]) -> Sequence[Tensor]:
        assert self.perceiver is not None
        return self.perceiver(pixels)

    def _adversary(
        self, critic: nn.Module, pixels: Tensor, painted: Tensor, others: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """What the codec is to make smaller, and what the critic is (hinge loss: Lim & Ye 2017, arXiv 1705.02894).

        The first is scaled so that its gradient is `config.adversary` times as long as the other parts': as in VQGAN,
        but measured on the picture instead of the last layer's weights, which spares a pass.
        """
        if float(self.progress) < self.config.adversary_from:
            # Zero gradients instead of none, so that a checkpoint holds the optimiser's state of every weight.
            idle = sum((0.0 * weight.sum() for weight in critic.parameters()), painted.new_zeros(()))
            return painted.new_zeros(()), idle
        doubt = F.relu(1 - critic(pixels).float()).mean() + F.relu(1 + critic(painted.detach()).float()).mean()
        held = {name: weight.detach() for name, weight in critic.named_parameters()}
        fooled = -functional_call(critic, held, (painted,)).float().mean()
        lengths = [torch.autograd.grad(part, painted, retain_graph=True)[0].norm() for part in (others, fooled)]
        scale = (lengths[0] / lengths[1].clamp_min(1e-8)).clamp_max(1e4).detach()
        return self.config.adversary * scale * fooled, 0.5 * doubt


def perceptual_distance(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Squared distance of features, each place's a unit vector, mean over places and depths: 0 for equal maps, at most
    4. LPIPS (Zhang et al. 2018, arXiv 1801.03924) without its learned weights."""
    distances = [
        (F.normalize(one.float(), dim=1) - F.normalize(other.float(), dim=1)).square().sum(1).mean()
        for one, other in zip(maps, others, strict=True)
    ]
    return torch.stack(distances).mean()
