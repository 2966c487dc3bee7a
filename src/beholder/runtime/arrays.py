"""Large arrays as mapped files, with their room on disk taken before the first row is written."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from beholder.runtime.files import write_whole

_CHUNK_BYTES = 1 << 20


def create_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy file of zeros, mapped for writing. Raises OSError when the disk has no room for all of it.

    Without this, a disk that is full at some later row kills the process by SIGBUS and not one word is said.
    """

    def write(temporary: Path) -> None:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        _reserve(temporary)

    write_whole(path, write)
    return open_array(path)


def open_array(path: Path) -> np.memmap:
    """The array that `create_array` made, with the rows written so far."""
    return np.lib.format.open_memmap(path, mode="r+")


def release_pages(array: np.ndarray) -> None:
    """Let go of what has been read of a mapped file, which counts as this process's memory until then.

    The pages stay with the system as long as it has room for them; other arrays, and systems without such advice, are
    left as they are.
    """
    pages = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _reserve(path: Path) -> None:
    num_bytes = path.stat().st_size
    with path.open("rb+") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, num_bytes)
            return
        while chunk := handle.read(_CHUNK_BYTES):  # macOS: write every byte once
            handle.seek(-len(chunk), os.SEEK_CUR)
            handle.write(chunk)
            handle.flush()
