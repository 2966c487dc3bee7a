"""Truths of BERT."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from beholder.config import from_json, to_json
from beholder.models.bert import BERT, PRESETS, BERTConfig
from beholder.types import UserError

DEBUG = replace(PRESETS["debug"], has_pooler=True, has_order_head=True)


def bert(config: BERTConfig = DEBUG) -> BERT:
    torch.manual_seed(0)
    return BERT(config).eval()


def tokens(num_rows: int = 2, length: int = 9) -> torch.Tensor:
    return torch.randint(0, 64, (num_rows, length), generator=torch.Generator().manual_seed(1))


def test_every_token_knows_what_stands_before_and_behind_it() -> None:
    model, text = bert(), tokens()
    other = text.clone()
    other[:, 4] = (other[:, 4] + 1) % 64
    moved = (model.hidden(other) - model.hidden(text)).abs().amax(2)
    assert (moved > 0).all()


def test_packed_texts_are_read_as_if_alone() -> None:
    model, text = bert(), tokens(1, 9)
    rows = torch.tensor([[0] * 4 + [1] * 5])
    alone = torch.cat([model.hidden(text[:, :4]), model.hidden(text[:, 4:])], dim=1)
    torch.testing.assert_close(model.hidden(text, rows=rows), alone, rtol=1e-4, atol=1e-5)


def test_a_sentence_is_of_unit_length_and_does_not_know_its_padding() -> None:
    model, text = bert(), tokens()
    padded, is_real = F.pad(text, (0, 3)), F.pad(torch.ones_like(text, dtype=torch.bool), (0, 3))
    alone = model.sentence(text)
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(model.sentence(padded, is_real), alone, rtol=1e-4, atol=1e-5)


def test_the_second_text_is_told_from_the_first() -> None:
    model, text = bert(), tokens()
    second = (torch.arange(9) > 4).long().expand(2, -1)
    assert torch.equal(model.hidden(text), model.hidden(text, kinds=torch.zeros_like(text)))
    assert (model.hidden(text, kinds=second) - model.hidden(text)).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient() -> None:
    model, text = bert(), tokens()
    model.requires_grad_(True)
    x = model.hidden(text, kinds=text % 2)
    (model.logits(x).pow(3).mean() + model.order(x).pow(3).sum()).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_a_fresh_model_is_undecided() -> None:
    text = tokens(4, 20)
    assert F.cross_entropy(bert()(text).transpose(1, 2), text).item() == pytest.approx(math.log(64), abs=0.3)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(UserError, match="33 tokens is longer than the 32"):
        bert()(torch.zeros(1, 33, dtype=torch.long))


def test_a_preset_survives_json() -> None:
    for config in PRESETS.values():
        assert from_json(BERTConfig, to_json(config)) == config
