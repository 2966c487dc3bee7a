"""Mapped arrays: what was written stays, and what was read need not count as memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from beholder.runtime.arrays import create_array, open_array, release_pages


def mapped_bytes() -> int:
    """Pages of files that this process holds."""
    return int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0]) * 1024


def test_a_new_array_is_of_zeros_and_keeps_its_rows(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", np.float16, (3, 4))
    assert not array.any()
    array[1] = 7
    array.flush()
    assert np.array_equal(open_array(tmp_path / "a.npy"), [[0] * 4, [7] * 4, [0] * 4])


def test_releasing_pages_loses_nothing_that_was_written(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", np.uint8, (100, 10_000))
    array[:] = np.arange(100, dtype=np.uint8)[:, None]  # not flushed
    release_pages(array)
    assert np.array_equal(array[:, 5], np.arange(100))
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which pages a process holds")
def test_released_pages_do_not_count_as_memory(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", np.uint8, (50, 1_000_000))
    array[:] = 1
    held = mapped_bytes()
    release_pages(array)
    assert mapped_bytes() < held - 45_000_000


def test_an_array_in_memory_is_left_alone() -> None:
    release_pages(np.zeros(3))
