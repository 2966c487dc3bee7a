"""Pictures to learn from, as a pure function of (seed, step)."""

from __future__ import annotations

import numpy as np
import torch

from beholder.recipes.coded_pictures import PLAIN, CodeTables, tells_sides
from beholder.recipes.masked.material import Material
from beholder.runtime.seed import numpy_generator
from beholder.types import Batch


class CodeStream:
    """Endless shuffled epochs over the pictures to learn from, as they are or mirrored, unless the caption tells left
    from right."""

    def __init__(self, material: Material, tables: CodeTables, batch_size: int, seed: int) -> None:
        self.material, self.tables, self.batch_size, self.seed = material, tables, batch_size, seed
        self._places = material.places(False)
        texts = [sample.text or "" for sample in material.collection.samples]
        self._is_sided = np.array([material.captions is not None and tells_sides(text) for text in texts])

    def batch(self, step: int) -> Batch:
        """ "codes": int64 B T; "classes": int64 B, where there are classes; "captions": int64 B words, where there are
        captions."""
        epochs, ranks = np.divmod(np.arange(step * self.batch_size, (step + 1) * self.batch_size), len(self._places))
        chosen = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            order = numpy_generator(self.seed, "epoch", int(epoch)).permutation(self._places)
            chosen[epochs == epoch] = order[ranks[epochs == epoch]]
        table = self.tables.tables[PLAIN]
        views = numpy_generator(self.seed, "views", step).integers(0, table.shape[1], self.batch_size)
        views[self._is_sided[chosen]] = 0
        batch = {"codes": torch.from_numpy(table[chosen, views].astype(np.int64))}
        if self.material.labels:
            batch["classes"] = torch.from_numpy(self.material.classes[chosen])
        if self.material.captions is not None:
            batch["captions"] = torch.from_numpy(self.material.words[chosen])
        return batch
