"""The kernel that leaves out blocks says what the fused one says, for every mask and bias, whatever is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from beholder.models.gpt import GPT, PRESETS
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.trunk import flex
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.init import initialise_language
from beholder.trunk.mask import MaskConfig, build_mask
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


@pytest.mark.parametrize("case", ["window", "narrow window", "packed rows", "padding"])
@torch.no_grad()
def test_blocks_are_those_that_the_library_finds_token_by_token(case: str) -> None:
    """Which are hidden and left out, which are allowed as a whole, and which are looked at in detail."""
    places = torch.arange(700)[None]
    told = {
        "packed rows": {"rows": (places // 290, places // 290)},
        "padding": {"is_real": places < torch.tensor([[700], [310]])},
    }
    config = {"window": MaskConfig(True, 300), "narrow window": MaskConfig(True, 40)}.get(case, MaskConfig())
    mask = build_mask(config, places, places, **told.get(case, {}))
    assert mask.allowed is not None
    allowed, num_rows = mask.allowed, len(mask.allowed)
    found = flex.with_blocks(mask, torch.zeros(2, 700, 4)).blocks
    expected = create_block_mask(
        lambda row, head, query, key: allowed[row, 0, query, key], num_rows, None, 700, 700, device="cpu"
    )
    assert found is not None and found.seq_lengths == (700, 700)
    for kind in ("kv", "full_kv"):
        for mine, theirs in zip(*(_listed(one, kind) for one in (found, expected)), strict=True):
            assert mine == theirs
    assert case != "narrow window" or int(found.to_dense().sum()) == 11  # each row of blocks: itself and the one before


def _listed(blocks: BlockMask, kind: str) -> list[list[int]]:
    """Columns of each row of blocks."""
    counts, columns = getattr(blocks, f"{kind}_num_blocks"), getattr(blocks, f"{kind}_indices")
    return [sorted(row[:count].tolist()) for count, row in zip(counts.flatten(), columns.flatten(0, 2), strict=True)]


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


def test_a_model_with_it_is_exported_as_every_other(tmp_path: Path) -> None:
    """A family's files say nothing of speed."""
    debug = PRESETS["debug"]
    heads = replace(debug.trunk.attention, kernel="flex")
    model = GPT(replace(debug, trunk=replace(debug.trunk, attention=heads)))
    assert export_to_huggingface(model, tmp_path / "exported") == "gpt2"
