"""Truths of memory that does not suffice: what would fit is found and told, and other errors stay what they are."""

from __future__ import annotations

import pytest
import torch

from beholder.runtime.memory import in_memory, is_out_of_memory
from beholder.types import UserError


def fits(most: int, tried: list[int]):
    def work(count: int) -> int:
        tried.append(count)
        if count > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return count

    return work


def test_what_fits_is_done_once() -> None:
    tried: list[int] = []
    assert in_memory(fits(9, tried), 8, "pictures", "--batch-size") == 8 and tried == [8]


def test_what_does_not_fit_is_told_with_what_would() -> None:
    tried: list[int] = []
    with pytest.raises(UserError, match=r"64 rows at once do not fit into memory, 8 do; give --batch-size 8\."):
        in_memory(fits(9, tried), 64, "rows", "--batch-size")
    assert tried == [64, 32, 16, 8]


def test_where_not_even_one_fits_that_is_told() -> None:
    with pytest.raises(UserError, match="Not even one of the 4 rows"):
        in_memory(fits(0, []), 4, "rows", "--batch-size")


def test_a_real_refusal_of_the_system_is_recognised() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)


def test_other_errors_are_no_lack_of_memory() -> None:
    def work(count: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_memory(work, 4, "rows", "--batch-size")
