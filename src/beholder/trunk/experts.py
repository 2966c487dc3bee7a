"""Many feed-forward networks, of which each token visits a few (Shazeer et al. 2017, arXiv 1701.06538)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from beholder.trunk.mlp import ACTIVATIONS, MLPConfig, bend


@dataclass(frozen=True)
class ExpertsConfig:
    """How many there are and who is asked."""

    num_experts: int = 8
    num_chosen: int = 2
    """Experts that each token visits."""
    is_renormalised: bool = True
    """Whether the chosen experts' shares are made to sum to 1, as in Mixtral (Jiang et al. 2024, arXiv 2401.04088)."""


class Experts(nn.Module):
    """A router and its experts, none of which has a bias; weights of all experts lie in one tensor."""

    def __init__(self, config: ExpertsConfig, mlp: MLPConfig, width: int) -> None:
        super().__init__()
        assert not mlp.has_bias, "experts have no biases"
        assert 1 <= config.num_chosen <= config.num_experts, config
        inner = mlp.width or 4 * width
        self.config = config
        self.mlp = mlp
        self.activation = ACTIVATIONS[mlp.activation]
        self.router = nn.Linear(width, config.num_experts, bias=False)
        self.widen = nn.Parameter(torch.zeros(config.num_experts, inner * (1 + mlp.is_gated), width))
        self.narrow = nn.Parameter(torch.zeros(config.num_experts, width, inner))

    def forward(
        self, x: Float[Tensor, "B T D"], routes: list[Float[Tensor, "B T E"]] | None = None
    ) -> Float[Tensor, "B T D"]:
        """What the router says, before its softmax, is added to `routes`."""
        tokens = x.flatten(0, 1)  # (B T) D
        logits = self.router(tokens)  # (B T) E
        if routes is not None:
            routes.append(logits.unflatten(0, x.shape[:2]))
        shares = logits.float().softmax(-1)
        weights, chosen = shares.topk(self.config.num_chosen, dim=-1)
        if self.config.is_renormalised:
            weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(tokens)
        for expert in range(self.config.num_experts):
            places, ranks = torch.where(chosen == expert)
            wide = bend(tokens[places] @ self.widen[expert].T, self.activation, self.mlp.is_gated)
            told = wide @ self.narrow[expert].T * weights[places, ranks, None].to(wide.dtype)
            out = out.index_add(0, places, told)
        return out.view_as(x)


def balance_loss(
    routes: Sequence[Float[Tensor, "B T E"]], num_chosen: int, is_real: Bool[Tensor, "B T"] | None = None
) -> Float[Tensor, ""]:
    """How unevenly experts are visited: `num_chosen` when evenly, up to their number when the same few always are.

    Share of the tokens that visit an expert times its mean probability, summed over experts, times their number (Fedus
    et al. 2021, arXiv 2101.03961), as Mixtral counts it: over the tokens of all layers together. `routes` are what
    `Transformer` collected; `is_real` leaves padding out. Its gradient goes through the probabilities.
    """
    assert routes, "nothing was collected: the trunk has no experts, or was not asked"
    shares = torch.cat([logits if is_real is None else logits[is_real][None] for logits in routes], dim=1).flatten(0, 1)
    shares = shares.float().softmax(-1)  # tokens E
    chosen = shares.topk(num_chosen, dim=-1).indices
    visited = torch.zeros_like(shares).scatter(1, chosen, 1.0).mean(0)
    return shares.shape[1] * (visited * shares.mean(0)).sum()
