"""Rows of features: in order, the same however many threads looked, and not made twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from bundles import CPU, random_network
from pictures import draw

from beholder.recipes.adapt.features import prepare, see, see_batches
from beholder.tokenizers.pixels import PixelConfig


@pytest.fixture
def batches() -> list[list[np.ndarray]]:
    generator = np.random.default_rng(0)
    return [[draw(generator, index % 3) for index in range(size)] for size in (4, 4, 4, 3, 1)]


def test_rows_come_in_order_and_do_not_depend_on_the_threads(batches: list[list[np.ndarray]]) -> None:
    network, before = prepare(random_network(), CPU), torch.get_num_threads()
    torch.set_num_threads(1)
    plain = [see(network, batch, (32, 48), PixelConfig(), CPU) for batch in batches]
    try:
        for num_threads in (1, 2, 3):
            device = dataclasses.replace(CPU, num_threads=num_threads)
            made = list(see_batches(network, batches, (32, 48), PixelConfig(), device))
            for ours, theirs in zip(made, plain, strict=True):
                assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)


def test_a_picture_that_cannot_be_seen_ends_it_and_threads_are_set_back(batches: list[list[np.ndarray]]) -> None:
    before = torch.get_num_threads()
    device = dataclasses.replace(CPU, num_threads=2)
    broken = [*batches[:2], [np.zeros((4, 4), np.uint8)], *batches[2:]]
    try:
        with pytest.raises(Exception):  # noqa: B017 (whatever the resizer says of a picture without channels)
            list(see_batches(prepare(random_network(), CPU), broken, (32,), PixelConfig(), device))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
