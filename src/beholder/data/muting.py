"""Warnings of image libraries are kept from the user while a picture is decoded: whatever they are about, the picture
itself is either read or refused with a reason."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LIBRARIES = r"(PIL|pydicom)\b"


class Muting:
    """A filter that stands as long as any thread is inside.

    `warnings.catch_warnings` cannot do this: it restores the filters that it saw on entry, so that two overlapping
    threads leave the wrong ones behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._entry: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._num_inside += 1
            # Asked for each time: another part of the program may have reset the filters since the last entry.
            if self._entry not in warnings.filters:
                warnings.filterwarnings("ignore", module=_LIBRARIES)
                self._entry = warnings.filters[0]
        try:
            yield
        finally:
            with self._lock:
                self._num_inside -= 1
                if not self._num_inside and self._entry in warnings.filters:
                    warnings.filters.remove(self._entry)  # type: ignore[attr-defined]


muted = Muting()
"""The one of the process, because the warning filters are the process's too."""
