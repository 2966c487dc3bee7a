"""Many feed-forward networks, of which each token visits a few (Shazeer et al. 2017, arXiv 1701.06538)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
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

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        tokens = x.flatten(0, 1)  # (B T) D
        shares = self.router(tokens).float().softmax(-1)  # (B T) E
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


def balance_loss(router_logits: Float[Tensor, "T E"], num_chosen: int) -> Float[Tensor, ""]:
    """How unevenly experts are visited: 1 when evenly, up to E when one is asked by all.

    Share of tokens times mean probability, summed over experts, times their number (Fedus et al. 2021, arXiv
    2101.03961), over the chosen ones.
    """
    shares = router_logits.float().softmax(-1)
    chosen = shares.topk(num_chosen, dim=-1).indices
    num_experts = shares.shape[1]
    visited = torch.zeros_like(shares).scatter(1, chosen, 1.0).mean(0) / num_chosen
    return num_experts * (visited * shares.mean(0)).sum()
