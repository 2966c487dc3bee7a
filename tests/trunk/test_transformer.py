"""Truths of the trunk: what it treats alike, what it keeps apart, and that all of it learns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from beholder.trunk.attention import AttentionConfig, attend
from beholder.trunk.init import initialise
from beholder.trunk.transformer import Transformer, TransformerConfig

HEADS = AttentionConfig(num_heads=3)
SMALL = TransformerConfig(width=24, depth=3, attention=HEADS)


def trunk(config: TransformerConfig = SMALL, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    built = Transformer(config)
    initialise(built)
    return built


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), num_tokens=st.integers(1, 9))
def test_reordering_the_tokens_reorders_the_outputs(seed: int, num_tokens: int) -> None:
    model = trunk(seed=seed).eval()
    x, order = torch.randn(2, num_tokens, 24), torch.randperm(num_tokens)
    torch.testing.assert_close(model(x)[-1][:, order], model(x[:, order])[-1], rtol=1e-4, atol=1e-5)


def test_the_examples_of_a_batch_do_not_see_each_other() -> None:
    model, x = trunk().eval(), torch.randn(4, 5, 24)
    alone = torch.cat([model(example[None])[-1] for example in x])
    torch.testing.assert_close(model(x)[-1], alone, rtol=1e-4, atol=1e-5)


def test_every_token_sees_every_other() -> None:
    model = trunk()
    x = torch.randn(1, 6, 24, requires_grad=True)
    model(x)[-1][0, 0].square().sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().amax(1) > 0).all()


@pytest.mark.parametrize(
    "config", [SMALL, TransformerConfig(24, 3, AttentionConfig(3, biases=("out",)), layer_scale=0.1)]
)
def test_every_parameter_gets_a_gradient(config: TransformerConfig) -> None:
    model = trunk(config)
    sum(depth.pow(3).sum() for depth in model(torch.randn(2, 5, 24), taps=(1,))).backward()  # type: ignore[union-attr]
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_taps_show_the_same_tokens_as_a_shallower_trunk() -> None:
    model, x = trunk().eval(), torch.randn(2, 5, 24)
    first, last = model(x, taps=(1, 3))
    torch.testing.assert_close(first, model.norm(model.blocks[0](x)))
    torch.testing.assert_close(last, model(x)[0])


def test_drop_path_spares_evaluation_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    model, x = trunk(TransformerConfig(24, 2, HEADS, drop_path=0.5)), torch.randn(1, 4, 24)
    block = model.blocks[1].mlp
    block.eval()
    exact = block(x)
    block.train()
    drawn = block(x.expand(4000, -1, -1))
    assert ((drawn - x).flatten(1).abs().amax(1) == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(drawn.mean(0, keepdim=True), exact, rtol=0, atol=0.15)


def test_a_tiny_layer_scale_makes_the_trunk_almost_the_identity() -> None:
    model, x = trunk(TransformerConfig(24, 3, HEADS, layer_scale=1e-6)), torch.randn(2, 5, 24)
    torch.testing.assert_close(model(x)[0], F.layer_norm(x, (24,)), rtol=1e-3, atol=1e-3)


def test_plain_and_fused_attention_agree() -> None:
    q, k, v = torch.randn(3, 2, 3, 7, 8, dtype=torch.bfloat16)
    with torch.enable_grad():
        plain = attend(q, k, v)
    with torch.no_grad():
        fused = attend(q, k, v)
    torch.testing.assert_close(plain.float(), fused.float(), rtol=0.05, atol=0.03)


def test_initial_outputs_have_the_scale_of_their_inputs() -> None:
    x = torch.randn(4, 16, 24)
    branch = trunk().blocks[0].mlp
    assert 0.1 < (branch(x) - x).std().item() < 1.5
    assert all(not value.any() for name, value in trunk().named_parameters() if name.endswith("bias"))
