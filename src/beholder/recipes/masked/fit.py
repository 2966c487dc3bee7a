"""Stage: the model learns within its budget, with a look at held-out pictures on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from beholder.models.maskgit import TRUNKS, MaskGIT, MaskGITConfig
from beholder.objectives.masked_codes import MaskedCodes, hide
from beholder.recipes import code_training
from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.masked.material import Material
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.masked.stream import CodeStream
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import Device
from beholder.runtime.seed import derive, numpy_generator, seed_everything
from beholder.tasks.masked_pictures import MaskedPictures
from beholder.tasks.picture_codes import PictureCodes
from beholder.train.pace import Timed

_NUM_ASKED = 48
"""Held-out pictures that a probe reads."""
_SHARES = {"all hidden": 1.0, "half hidden": 0.5}


def build_model(settings: MaskedTraining, material: Material, pictures: PictureCodes, seed: int) -> MaskGIT:
    """A fresh model for these codes, classes and captions."""
    seed_everything(seed, "model")
    captions = material.captions
    return MaskGIT(
        MaskGITConfig(
            pictures.num_codes, pictures.grid, len(material.labels), captions.num_tokens if captions else 0,
            captions.longest if captions else 0, TRUNKS[settings.size],
        )
    )  # fmt: skip


def stream_of(sitting: Sitting[MaskedTraining], material: Material, tables: CodeTables, batch_size: int) -> CodeStream:
    """What is learned from."""
    return CodeStream(material, tables, batch_size, derive(sitting.seed, "stream"))


def steps_for(
    settings: MaskedTraining, model: MaskGIT, make_stream: Callable[[int], CodeStream], device: Device
) -> Timed:
    """How many steps the budget buys on this machine."""
    return code_training.steps_for(
        settings, model, MaskedCodes(settings.objective), make_stream, device, "--batch-size"
    )


class Probe:
    """Nats a hidden code of held-out pictures ; always the same places of the same ones."""

    def __init__(self, material: Material, tables: CodeTables, grid: tuple[int, int], seed: int) -> None:
        places, generator = material.places(True), numpy_generator(seed, "probe")
        asked = np.sort(generator.choice(places, min(_NUM_ASKED, len(places)), replace=False))
        self.codes = np.stack([tables.plain(int(place), 0) for place in asked])
        self.wishes = [material.wish_of(int(place)) for place in asked]
        count = self.codes.shape[1]
        order = generator.random(self.codes.shape).argsort(1)
        self.hidden = {name: order < share * count for name, share in _SHARES.items()}
        with torch.random.fork_rng(devices=[]):
            seed_everything(seed, "probe")
            blocks = torch.cat([hide(1, grid, block_share=1.0) for _ in asked])
        self.hidden["a rectangle hidden"] = blocks.numpy()

    def look(self, painter: MaskedPictures) -> dict[str, float]:
        """By what is hidden."""
        told = {name: painter.nats(self.codes, hidden, self.wishes) for name, hidden in self.hidden.items()}
        return {name: float(values.mean()) for name, values in told.items()}


def fit(
    sitting: Sitting[MaskedTraining],
    painter: MaskedPictures,
    stream: CodeStream,
    num_steps: int,
    sketch: Callable[[], np.ndarray],
) -> dict[str, Any]:
    """Train the model in place, once: later sittings load what came of it. `sketch` draws samples."""
    probe = Probe(stream.material, stream.tables, painter.pictures.grid, sitting.seed)
    objective = MaskedCodes(sitting.settings.objective)
    story = code_training.fit(
        sitting, painter.model, objective, stream, num_steps, lambda: probe.look(painter), sketch, verb="train masked"
    )
    return {**story, "pictures": story["steps"] * stream.batch_size}
