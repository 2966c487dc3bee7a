"""Training batches as a pure function of (seed, step), so that a resumed run needs no memory of the data.

The pictures lie as bytes in one array, in memory or mapped from a file.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, UInt8

from beholder.data.augment import AugmentConfig, augment
from beholder.runtime.seed import numpy_generator, torch_generator
from beholder.types import Batch, UserError


@runtime_checkable
class Stream(Protocol):
    """Batches by number; a function of the number, so that a resumed run goes on where it was."""

    def batch(self, step: int) -> Batch:
        """Batch number `step`, from 0."""
        ...


class ImageStream:
    """Endless shuffled epochs over `images`; every image comes once per epoch, batches run on across epochs."""

    def __init__(
        self,
        images: UInt8[np.ndarray, "N 3 S S"],
        *,
        batch_size: int,
        num_views: int,
        augmentation: AugmentConfig,
        seed: int,
    ) -> None:
        if not len(images):
            raise UserError("There are no images to train on; give a folder with at least one readable image.")
        assert batch_size > 0 and num_views > 0, (batch_size, num_views)
        self.images = images
        self.batch_size = batch_size
        self.num_views = num_views
        self.augmentation = augmentation
        self.seed = seed

    def indices(self, step: int) -> Int[np.ndarray, " B"]:
        """Which images step number `step` (from 0) sees."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, ranks = np.divmod(places, len(self.images))
        chosen = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = numpy_generator(self.seed, "epoch", int(epoch)).permutation(len(self.images))
            chosen[epochs == epoch] = order[ranks[epochs == epoch]]
        return chosen

    def batch(self, step: int) -> Batch:
        """ "views": float V B 3 size size, normalised; "indices": int64 B, rows of the array."""
        indices = self.indices(step)
        images = torch.from_numpy(np.ascontiguousarray(self.images[indices]))  # B 3 S S
        generator = torch_generator(self.seed, "augment", step)
        views = augment(images.repeat(self.num_views, 1, 1, 1), self.augmentation, generator)
        return {"views": views.unflatten(0, (self.num_views, -1)), "indices": torch.from_numpy(indices)}


def prefetch(stream: Stream, first_step: int, num_ahead: int = 2) -> Generator[Batch, None, None]:
    """The batches from `first_step` on, made by a background thread; the same tensors as `stream.batch`.

    An error in the thread is raised here, at its step. Closing the iterator stops the thread.
    """
    made: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=num_ahead)
    is_closed = threading.Event()

    def put(item: Batch | BaseException) -> None:
        while not is_closed.is_set():
            with contextlib.suppress(queue.Full):
                made.put(item, timeout=0.1)
                return

    def work() -> None:
        step = first_step
        try:
            while not is_closed.is_set():
                put(stream.batch(step))
                step += 1
        except BaseException as error:
            put(error)

    worker = threading.Thread(target=work, name="beholder-prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_closed.set()
        worker.join()
