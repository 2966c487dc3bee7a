"""Masked visual tokens: what the model may and may not know."""

from __future__ import annotations

import torch
from holes import random_maskgit

from beholder.models.maskgit import TRUNKS, MaskGIT, MaskGITConfig


def codes(count: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randint(16, (count, 16), generator=torch.Generator().manual_seed(seed))


def test_a_hidden_code_is_not_known() -> None:
    model, one = random_maskgit(), codes()
    hidden = torch.zeros(3, 16, dtype=torch.bool)
    hidden[:, ::3] = True
    other = torch.where(hidden, (one + 5) % 16, one)
    told = [model(each.masked_fill(hidden, model.hidden)) for each in (one, other)]
    assert torch.equal(*told)


def test_every_place_reads_every_other_place() -> None:
    model, one = random_maskgit(), codes(1)
    first = model(one)
    for place in (0, 15):
        changed = one.clone()
        changed[0, place] = (one[0, place] + 1) % 16
        assert ((model(changed) - first).abs().amax(2) > 0).all()


def test_class_and_caption_change_what_is_told_and_none_is_the_default() -> None:
    model = random_maskgit(2, 9, 3)
    one, classes, captions = codes(2), torch.tensor([0, 1]), torch.tensor([[1, 2, 8], [3, 8, 8]])
    plain = model(one)
    assert torch.equal(plain, model(one, torch.full((2,), model.no_class), torch.full((2, 3), model.no_word)))
    assert not torch.allclose(plain, model(one, classes)) and not torch.allclose(plain, model(one, captions=captions))


def test_losses_count_hidden_codes_alone() -> None:
    model, one = random_maskgit(), codes()
    hidden = torch.zeros(3, 16, dtype=torch.bool)
    hidden[:, 5] = True
    losses = model.losses(one, hidden)
    logits = model(one.masked_fill(hidden, model.hidden))[:, 5]
    assert (losses[~hidden] == 0).all()
    assert torch.allclose(losses[:, 5], -logits.log_softmax(1).gather(1, one[:, 5:6])[:, 0], atol=1e-6)


def test_sizes_grow() -> None:
    sizes = [
        sum(value.numel() for value in MaskGIT(MaskGITConfig(1024, (8, 8), trunk=TRUNKS[name])).parameters())
        for name in ("debug", "tiny", "small", "base")
    ]
    assert sizes == sorted(sizes) and 0.9e6 < sizes[1] < 1.5e6 and sizes[3] < 30e6
