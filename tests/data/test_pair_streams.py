"""Pictures and the texts that they share, in batches."""

from __future__ import annotations

import numpy as np
import torch

from beholder.data.augment import AugmentConfig
from beholder.data.pairs import SharedTextStream, TextRows
from beholder.data.stream import ImageStream


def stream(*, shows_all: bool, seed: int = 0, batch_size: int = 5) -> SharedTextStream:
    """Pictures of one grey each, whose text is a tenth of it, in two wordings with padding."""
    greys = np.arange(30) * 8
    images = np.broadcast_to(greys[:, None, None, None], (30, 3, 4, 4)).astype(np.uint8)
    still = AugmentConfig(
        4, crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), horizontal_flip=0, jitter=0, grey=0, blur=0,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip
    views = ImageStream(images, batch_size=batch_size, num_views=1, augmentation=still, seed=seed)
    numbers = torch.arange(10)[:, None] + torch.tensor([[0, 100, 200]])
    wordings = [TextRows(numbers + 1000 * way, torch.arange(3) <= torch.arange(10)[:, None] % 3) for way in range(2)]
    return SharedTextStream(views, np.arange(30) // 3, wordings, seed=seed, shows_all=shows_all)


def test_every_image_is_beside_its_own_text() -> None:
    for shows_all in (True, False):
        ways = set()
        for step in range(12):
            batch = stream(shows_all=shows_all).batch(step)
            greys = (batch["pixels"][:, 0, 0, 0] * 255 / 8).round().long()
            told = batch["tokens"][batch["text_of"]][:, 0]
            assert torch.equal(told % 1000, greys // 3)
            ways |= set((told // 1000).tolist())
            assert len(set(batch["tokens"][:, 0].tolist())) == len(batch["tokens"])
        assert ways == {0, 1}


def test_all_texts_are_there_or_those_of_the_images() -> None:
    assert len(stream(shows_all=True).batch(3)["tokens"]) == 10
    batch = stream(shows_all=False).batch(3)
    assert sorted(set(batch["text_of"].tolist())) == list(range(len(batch["tokens"])))


def test_a_batch_is_a_function_of_its_number_and_the_seed() -> None:
    first, again, other = stream(shows_all=False), stream(shows_all=False), stream(shows_all=False, seed=1)
    first.batch(0)
    assert all(torch.equal(first.batch(7)[name], again.batch(7)[name]) for name in ("pixels", "tokens", "text_of"))
    assert not torch.equal(first.batch(7)["pixels"], other.batch(7)["pixels"])


def test_columns_that_are_padding_in_all_texts_are_left_out() -> None:
    rows = TextRows(torch.arange(12).view(3, 4), torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]).bool())
    taken = rows.take(np.array([1, 0]))
    assert taken.tokens.tolist() == [[4, 5], [0, 1]] and taken.is_real is not None
    assert taken.is_real.tolist() == [[True, True], [True, False]]
    assert TextRows(rows.tokens).take(np.array([0])).tokens.shape == (1, 4)
