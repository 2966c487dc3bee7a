"""Truths of what draws by a text: both forms read from left to right, in pieces as at once, and follow the caption."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from beholder.models.dalle import (
    EncoderDecoder,
    Places,
    TextToImage,
    TextToImageConfig,
    build_text_to_image,
    code_losses,
)
from beholder.models.lvm import TRUNKS
from beholder.trunk.cache import Cache

CONFIG = TextToImageConfig(21, (3, 4), num_words=9, longest_caption=5, vocabulary_size=32, trunk=TRUNKS["debug"])
START = 6
"""First code of a row, after five words and the beginning."""


def random_rows(seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(22, 31, (2, 5), generator=generator)
    return torch.cat([words, torch.full((2, 1), 21), torch.randint(0, 21, (2, 12), generator=generator)], dim=1)


ROWS = random_rows()


@pytest.fixture(params=["causal", "encoder-decoder"])
def model(request: pytest.FixtureRequest) -> TextToImage:
    torch.manual_seed(0)
    built = build_text_to_image(replace(CONFIG, form=request.param))
    with torch.no_grad():
        for value in built.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return built.eval()


@torch.no_grad()
def test_later_codes_do_not_change_earlier_ones(model: TextToImage) -> None:
    changed = ROWS.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 21
    assert torch.allclose(model(ROWS)[:, :12], model(changed)[:, :12], atol=1e-5)
    assert not torch.allclose(model(ROWS)[:, 12:], model(changed)[:, 12:], atol=1e-3)


@torch.no_grad()
def test_every_word_of_the_caption_changes_every_code(model: TextToImage) -> None:
    before = model(ROWS)[:, START - 1 :]
    for word in range(5):
        changed = ROWS.clone()
        changed[:, word] = 22 + (changed[:, word] - 21) % 9
        assert ((model(changed)[:, START - 1 :] - before).abs().amax(2) > 1e-4).all()


@torch.no_grad()
def test_reading_in_pieces_equals_reading_at_once(model: TextToImage) -> None:
    whole, cache = model(ROWS)[:, START - 1 :, :21], Cache(18)
    first = model.next_scores(ROWS[:, :START], cache=cache)
    others = [model.next_scores(ROWS[:, place : place + 1], cache=cache) for place in range(START, 18)]
    assert torch.allclose(torch.stack([first, *others], dim=1), whole, atol=1e-5)


@torch.no_grad()
def test_rows_of_a_batch_are_read_apart(model: TextToImage) -> None:
    assert torch.allclose(model(ROWS)[1:], model(ROWS[1:]), atol=1e-5)


@torch.no_grad()
def test_losses_are_nats_of_each_code(model: TextToImage) -> None:
    likely = model(ROWS)[:, START - 1 : -1, :21].log_softmax(-1)
    assert torch.allclose(code_losses(model, ROWS), -likely.gather(2, ROWS[:, START:, None])[..., 0], atol=1e-5)


def test_every_weight_is_taught(model: TextToImage) -> None:
    code_losses(model, ROWS).sum().backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None]


def test_a_code_is_told_its_row_and_its_column() -> None:
    places = Places(5, (3, 4), 8)
    told = places(0, 18)[0]
    assert torch.equal(told[:6], places.caption.weight)
    assert torch.equal(told[6 + 4 * 2 + 3], places.rows.weight[2] + places.columns.weight[3])
    assert torch.equal(places(7, 3)[0], told[7:10])


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_the_form_of_two_trunks_reads_with_half_as_many_blocks_as_it_writes(size: str) -> None:
    with torch.device("meta"):
        model = EncoderDecoder(replace(CONFIG, form="encoder-decoder", trunk=TRUNKS[size]))
    assert 2 * len(model.encoder.blocks) == len(model.decoder.blocks) == TRUNKS[size].depth
