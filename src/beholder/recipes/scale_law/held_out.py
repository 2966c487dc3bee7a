"""What judges every size: the same sentences, each ended by a held-out picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from beholder.recipes.lvm.stream import SentenceStream
from beholder.runtime.seed import numpy_generator
from beholder.tasks.visual_sentences import VisualSentences
from beholder.types import UserError


class HeldOut:
    """A sentence of every task that each held-out picture serves; what comes before it are training pictures. Raises
    UserError where they serve none."""

    def __init__(self, stream: SentenceStream, most_pictures: int, seed: int) -> None:
        material, generator = stream.material, numpy_generator(seed, "held out")
        everywhere = material.places(True)
        asked = np.sort(generator.choice(everywhere, min(most_pictures, len(everywhere)), replace=False))
        rows, owners = [], []
        for task in (task for task in material.tasks if task != "frames"):
            for place in asked[np.isin(asked, material.places(True, task))].tolist():
                rows.append(stream.sentence(task, generator, place))
                owners.append(place)
        if not rows:
            raise UserError(
                f"--tasks {','.join(material.tasks)}: no held-out picture serves any; name another task too."
            )
        self.sentences = np.stack(rows)
        self.pictures, self._owners = np.unique(owners, return_inverse=True)

    def losses(self, speaker: VisualSentences) -> Float[np.ndarray, " Q"]:
        """Nats a code of each held-out picture, the mean over its sentences."""
        found = speaker.surprise(self.sentences)[:, -1].astype(np.float64)
        return np.bincount(self._owners, weights=found) / np.bincount(self._owners)
