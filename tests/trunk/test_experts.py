"""Truths of experts: their balance is counted as Mixtral counts it, and an objective that asks for it gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.models.gpt import GPT, GPTConfig
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.experts import ExpertsConfig, balance_loss
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.transformer import TransformerConfig

NUM_EXPERTS, NUM_CHOSEN = 5, 2


def drawn(num_layers: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [2 * torch.randn(2, 23, NUM_EXPERTS, generator=generator) for _ in range(num_layers)]


def model() -> GPT:
    """Its router sends almost everything to the first experts."""
    torch.manual_seed(0)
    mlp = MLPConfig(40, "silu", is_gated=True, has_bias=False)
    trunk = TransformerConfig(
        24, 2, AttentionConfig(3, biases=()), mlp, mask=MaskConfig(is_causal=True),
        experts=ExpertsConfig(NUM_EXPERTS, NUM_CHOSEN),
    )  # fmt: skip
    built = GPT(GPTConfig(17, 40, trunk=trunk))
    with torch.no_grad():
        for block in built.trunk.blocks:
            block.mlp.norm.bias.fill_(1.0)
            block.mlp.body.router.weight.copy_(0.3 * torch.randn(NUM_EXPERTS, 24))
            block.mlp.body.router.weight[:NUM_CHOSEN] += 0.1
    return built


def tokens() -> Tensor:
    return torch.randint(0, 17, (4, 30), generator=torch.Generator().manual_seed(1))


def visits(routes: list[Tensor]) -> Tensor:
    """Share of the visits that each expert gets."""
    chosen = torch.cat([one.flatten(0, 1) for one in routes]).topk(NUM_CHOSEN).indices
    return torch.bincount(chosen.flatten(), minlength=NUM_EXPERTS) / chosen.numel()


@pytest.mark.parametrize("is_padded", [False, True])
def test_the_balance_is_the_references(is_padded: bool) -> None:
    """And so is its gradient."""
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="the reference is there")
    is_real = torch.arange(23)[None] < torch.tensor([[23], [9]])
    found = []
    for is_ours in (True, False):
        routes = [one.requires_grad_(True) for one in drawn()]
        if is_ours:
            loss = balance_loss(routes, NUM_CHOSEN, is_real if is_padded else None)
        else:
            mask = is_real.long() if is_padded else None
            flat = tuple(one.flatten(0, 1) for one in routes)
            loss = mixtral.load_balancing_loss_func(flat, NUM_EXPERTS, NUM_CHOSEN, mask)
        loss.backward()
        found.append((loss.detach(), *(one.grad for one in routes)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_what_the_trunk_collects_is_what_mixtral_collects(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference models come from it")
    from parity.contract import draw_tokens, make_pair

    config = transformers.MixtralConfig(
        vocab_size=61, hidden_size=48, intermediate_size=40, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, num_local_experts=NUM_EXPERTS, num_experts_per_tok=NUM_CHOSEN,
        max_position_embeddings=64, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    pair = make_pair(transformers.MixtralForCausalLM(config), tmp_path)
    numbers, routes = draw_tokens(pair), []
    pair.ours(numbers, routes=routes)
    expected: Any = pair.reference(numbers, output_router_logits=True)
    assert len(routes) == len(expected.router_logits) == 3
    for ours, theirs in zip(routes, expected.router_logits, strict=True):
        torch.testing.assert_close(ours.flatten(0, 1), theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(balance_loss(routes, NUM_CHOSEN), expected.aux_loss, rtol=1e-5, atol=1e-6)


def test_it_is_least_when_all_are_visited_alike_and_most_when_the_same_are_always() -> None:
    turns = torch.eye(NUM_EXPERTS) + torch.eye(NUM_EXPERTS).roll(1, 1)
    assert float(balance_loss([20 * turns[None]], NUM_CHOSEN)) == pytest.approx(NUM_CHOSEN, rel=1e-4)
    same = torch.zeros(1, 7, NUM_EXPERTS)
    same[..., :NUM_CHOSEN] = 20
    assert float(balance_loss([same], NUM_CHOSEN)) == pytest.approx(NUM_EXPERTS, rel=1e-4)


def test_steps_with_it_even_out_the_visits_and_steps_without_do_not() -> None:
    found = {}
    for weight in (0.0, 0.1):
        learner = model()
        optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
        for step in range(31):
            routes: list[Tensor] = []
            logits = learner(tokens(), routes=routes)
            if step in (0, 30):
                found[weight, step] = visits(routes)
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten())
            optimizer.zero_grad()
            (loss + weight * balance_loss(routes, NUM_CHOSEN)).backward()
            optimizer.step()
    most = {key: float(share.max()) for key, share in found.items()}
    assert most[0.0, 0] == most[0.1, 0] > 0.35
    assert most[0.1, 30] < 0.27 < 0.3 < most[0.0, 30], most


def test_what_is_recomputed_in_the_backward_pass_is_collected_once_and_learns_the_same() -> None:
    gradients = []
    for num_recomputed in (0, 2):
        learner, routes = model(), []
        learner.trunk.num_recomputed = num_recomputed
        logits = learner(tokens(), routes=routes)
        (logits.square().mean() + balance_loss(routes, NUM_CHOSEN)).backward()
        assert len(routes) == 2
        gradients.append({name: value.grad for name, value in learner.named_parameters()})
    for name, plain in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], plain, rtol=1e-4, atol=1e-6)


def test_who_does_not_ask_gets_the_same_outputs() -> None:
    learner = model()
    assert torch.equal(learner(tokens()), learner(tokens(), routes=[]))
    with pytest.raises(AssertionError, match="nothing was collected"):
        balance_loss([], NUM_CHOSEN)
