"""Truths of two towers in one space."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.config import from_json, to_json
from beholder.models.clip import CLIP, PRESETS, CLIPConfig, ImageTowerConfig
from beholder.types import UserError

DEBUG = PRESETS["debug"]
END = 63
SIGMOID = replace(DEBUG, text=replace(DEBUG.text, pool="last", has_projection_bias=True), logit_bias=-10.0)


def clip(config: CLIPConfig = DEBUG) -> CLIP:
    torch.manual_seed(0)
    return CLIP(config).eval()


def texts() -> Tensor:
    tokens = torch.randint(1, END, (3, 20), generator=torch.Generator().manual_seed(1))
    tokens[0, [7, 12]] = tokens[1, 19] = tokens[2, 3] = END
    return tokens


def images(rows: int = 16, columns: int = 24) -> Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("config", [DEBUG, SIGMOID])
def test_points_are_of_unit_length_and_scores_are_their_cosines_scaled(config: CLIPConfig) -> None:
    model = clip(config)
    seen, read = model.encode_images(images()), model.encode_texts(texts())
    for points in (seen, read):
        torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points)))
    cosines = F.cosine_similarity(model.image(images())[:, None], model.text(texts())[None], dim=2)
    expected = cosines / 0.07 + (config.logit_bias or 0.0)
    torch.testing.assert_close(model(images(), texts()), expected, rtol=1e-4, atol=1e-4)


def test_nothing_after_the_first_end_changes_a_text() -> None:
    model, tokens, changed = clip(), texts(), texts()
    changed[0, 8:] = 5
    changed[2, 4:] = END
    torch.testing.assert_close(model.encode_texts(changed), model.encode_texts(tokens), rtol=1e-5, atol=1e-6)
    changed[0, 6] = tokens[0, 6] % 60 + 1
    assert (model.encode_texts(changed)[0] - model.encode_texts(tokens)[0]).abs().max() > 1e-3


def test_padding_on_the_right_needs_no_word_and_padding_may_be_told() -> None:
    model, tokens = clip(), texts()
    is_real = torch.arange(20) <= torch.tensor([7, 19, 3])[:, None]
    plain = model.encode_texts(tokens)
    torch.testing.assert_close(model.encode_texts(tokens, is_real), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.encode_texts(tokens[2:, :4]), plain[2:], rtol=1e-5, atol=1e-6)


def test_without_an_end_token_the_largest_token_ends_a_text() -> None:
    config = replace(DEBUG, text=replace(DEBUG.text, end_token=None))
    torch.testing.assert_close(clip(config).encode_texts(texts()), clip().encode_texts(texts()))
    assert clip(config).encode_texts(texts().clamp_max(50)).isfinite().all()


def test_a_text_without_its_end_is_refused() -> None:
    tokens = texts()
    tokens[1, 19] = 4
    with pytest.raises(UserError, match=r"Text 1 of the batch has no end token \(63\)"):
        clip().encode_texts(tokens)


def test_a_text_longer_than_the_table_is_refused() -> None:
    with pytest.raises(UserError, match="33 tokens is longer than the 32"):
        clip().encode_texts(torch.full((1, 33), END))


def test_a_tower_that_was_trained_on_padding_reads_it() -> None:
    model, tokens, changed = clip(SIGMOID), texts(), texts()
    changed[:, -1] = 1
    assert (model.encode_texts(changed) - model.encode_texts(tokens)).abs().amax(1).min() > 1e-4
    with pytest.raises(UserError, match="pad every text to 32 tokens"):
        model.encode_texts(tokens, tokens != END)


def test_the_pairs_of_a_batch_do_not_see_each_other() -> None:
    model = clip()
    scores = model(images(), texts())
    torch.testing.assert_close(model(images()[1:], texts()[:2]), scores[1:, :2], rtol=1e-4, atol=1e-4)


def test_towers_must_end_in_one_space() -> None:
    with pytest.raises(AssertionError, match="spaces of 32 and 16"):
        CLIP(replace(DEBUG, image=ImageTowerConfig(DEBUG.image.vit)))


@pytest.mark.parametrize("config", [DEBUG, SIGMOID])
def test_every_parameter_gets_a_gradient(config: CLIPConfig) -> None:
    model = clip(config)
    model(images(16, 16), texts()).pow(3).sum().backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_it_learns_which_text_belongs_to_which_image() -> None:
    model, seen, read = clip().train(), images(16, 16), texts()[:2]
    optimizer, truth = torch.optim.AdamW(model.parameters(), lr=1e-3), torch.arange(2)
    losses = []
    for _ in range(20):
        scores = model(seen, read)
        loss = F.cross_entropy(scores, truth) + F.cross_entropy(scores.T, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05


def test_a_preset_survives_json() -> None:
    for config in (*PRESETS.values(), SIGMOID):
        assert from_json(CLIPConfig, to_json(config)) == config


def test_base_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = CLIP(PRESETS["clip-vit-base-patch32"])
    assert sum(value.numel() for value in model.parameters()) == 151_277_313
