"""The kernel that leaves out blocks says what the fused one says, for every mask and bias, whatever is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from beholder.trunk import attention as attention_file
from beholder.trunk import flex
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.init import initialise_language
from beholder.trunk.mask import MaskConfig
from beholder.trunk.position import BucketConfig, RotaryConfig
from beholder.trunk.transformer import Transformer, TransformerConfig

NUM_TOKENS = 300
"""More than two blocks, and no whole number of them."""
CAUSAL = MaskConfig(is_causal=True)
HEADS = AttentionConfig(6, num_key_heads=2, head_width=16, kernel="flex")
BASE = TransformerConfig(48, 2, HEADS, mask=CAUSAL)
ROWS = torch.arange(NUM_TOKENS)[None].expand(2, -1) // torch.tensor([[70], [131]])
IS_REAL = torch.arange(NUM_TOKENS)[None] < torch.tensor([[NUM_TOKENS], [140]])
CASES: dict[str, tuple[TransformerConfig, dict[str, Any]]] = {
    "window": (replace(BASE, mask=MaskConfig(True, 40)), {}),
    "window both ways": (replace(BASE, mask=MaskConfig(False, 40), rotary=RotaryConfig()), {}),
    "packed rows": (replace(BASE, rotary=RotaryConfig()), {"rows": ROWS}),
    "padding": (replace(BASE, mask=MaskConfig()), {"is_real": IS_REAL}),
    "prefix and padding": (BASE, {"is_real": IS_REAL, "num_prefix": torch.tensor([150, 3])}),
    "alibi in a window": (replace(BASE, mask=MaskConfig(True, 140), distance="alibi"), {}),
    "buckets and packed rows": (replace(BASE, mask=MaskConfig(), distance=BucketConfig()), {"rows": ROWS}),
    "scores not scaled": (replace(BASE, mask=MaskConfig(True, 40), attention=replace(HEADS, scale=1.0)), {}),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every use of the kernel, which is not compiled here: compiling takes long and changes nothing of what is said."""
    seen: list[Any] = []

    def counted(*told: Tensor, **more: Any) -> Any:
        seen.append(told[0].shape)
        return flex_attention(*told, **more)

    monkeypatch.setattr(flex, "compiled", lambda: counted)
    yield seen


def pair(config: TransformerConfig) -> tuple[Transformer, Transformer]:
    """The same trunk with both kernels."""
    torch.manual_seed(0)
    by_blocks = Transformer(config)
    initialise_language(by_blocks, std=0.2)
    fused = Transformer(replace(config, attention=replace(config.attention, kernel="fused")))
    fused.load_state_dict(by_blocks.state_dict())
    return by_blocks.eval(), fused.eval()


def tokens(num_tokens: int = NUM_TOKENS) -> Tensor:
    return torch.randn(2, num_tokens, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_both_kernels_say_the_same(case: str, calls: list[Any]) -> None:
    config, told = CASES[case]
    by_blocks, fused = pair(config)
    found, expected = by_blocks(tokens(), **told)[-1], fused(tokens(), **told)[-1]
    assert len(calls) == config.depth
    is_real = told.get("is_real", torch.ones(2, NUM_TOKENS, dtype=torch.bool))
    torch.testing.assert_close(found[is_real], expected[is_real], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_blocks_that_are_hidden_are_left_out(calls: list[Any]) -> None:
    """Of a window of 40 in 1,024 tokens, each of 8 rows of blocks reads itself and the one before."""
    mask = attention_file.Mask(allowed=_window(1024, 40))
    blocks = flex.with_blocks(mask, torch.zeros(1, 1024, 4)).blocks
    assert blocks is not None
    assert int(blocks.to_dense().sum()) == 15


def _window(num_tokens: int, width: int) -> Tensor:
    distance = torch.arange(num_tokens)[:, None] - torch.arange(num_tokens)
    return ((distance >= 0) & (distance < width))[None, None]


@torch.no_grad()
def test_where_it_cannot_help_the_fused_kernel_stands_in(calls: list[Any]) -> None:
    """Nothing is hidden, or no more than the future; or tokens are read one by one."""
    for mask in (MaskConfig(), CAUSAL):
        by_blocks, fused = pair(replace(BASE, mask=mask))
        assert torch.equal(by_blocks(tokens())[-1], fused(tokens())[-1])
    by_blocks, fused = pair(replace(BASE, mask=MaskConfig(True, 4)))
    for model in (by_blocks, fused):
        cache = Cache(12)
        model(tokens(7), cache=cache)
        model(tokens(1), cache=cache)
    assert calls == []


def test_training_on_a_cpu_goes_on_with_the_fused_kernel(calls: list[Any]) -> None:
    by_blocks, fused = pair(replace(BASE, mask=MaskConfig(True, 40)))
    for model in (by_blocks, fused):
        model(tokens())[-1].square().sum().backward()
    assert calls == []
    for ours, theirs in zip(by_blocks.parameters(), fused.parameters(), strict=True):
        assert theirs.grad is not None and torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]
