"""Truths of the model of visual sentences: it is a LLaMA that reads them from left to right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from beholder.models.lvm import LVM, TRUNKS, LVMConfig
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache

CONFIG = LVMConfig(
    21, (3, 3), 24, 1 + 4 * 10, trunk=replace(TRUNKS["debug"], width=48, attention=AttentionConfig(3, biases=()))
)


@pytest.fixture(params=[True, False], ids=["tables", "rotary only"])
def model(request: pytest.FixtureRequest) -> LVM:
    torch.manual_seed(0)
    built = LVM(replace(CONFIG, has_places=request.param))
    with torch.no_grad():
        for value in built.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return built.eval()


TOKENS = torch.randint(0, 21, (2, 41), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_future_does_not_change_the_past(model: LVM) -> None:
    changed = TOKENS.clone()
    changed[:, 25:] = (changed[:, 25:] + 1) % 21
    assert torch.allclose(model(TOKENS)[:, :25], model(changed)[:, :25], atol=1e-5)
    assert not torch.allclose(model(TOKENS)[:, 25:], model(changed)[:, 25:], atol=1e-3)


@torch.no_grad()
def test_reading_in_pieces_equals_reading_at_once(model: LVM) -> None:
    cache = Cache(41)
    pieces = torch.cat([model(part, cache=cache) for part in TOKENS.split([19, 1, 21], dim=1)], dim=1)
    assert torch.allclose(pieces, model(TOKENS), atol=1e-5)


@torch.no_grad()
def test_surprise_is_the_mean_of_each_pictures_codes(model: LVM) -> None:
    likely = model(TOKENS[:, :-1]).log_softmax(-1)
    each = -likely.gather(2, TOKENS[:, 1:, None])[..., 0]
    by_hand = torch.stack([each[:, start + 1 : start + 10].mean(1) for start in range(0, 40, 10)], dim=1)
    assert torch.allclose(model.surprise(TOKENS), by_hand, atol=1e-6)


def test_the_shape_is_llamas() -> None:
    published = LVM(replace(CONFIG, has_places=False, is_tied=False))
    names = [name for name, _ in published.named_parameters()]
    assert not [name for name in names if name.endswith("bias")]
    assert "gpt.head.weight" in names and not {"places.weight", "order.weight"} & set(names)


@pytest.mark.parametrize(("size", "width", "depth"), [("tiny", 128, 4), ("small", 256, 6), ("base", 512, 8)])
def test_sizes_are_what_they_are_called(size: str, width: int, depth: int) -> None:
    trunk = TRUNKS[size]
    assert (trunk.width, trunk.depth) == (width, depth) and width % trunk.attention.num_heads == 0
