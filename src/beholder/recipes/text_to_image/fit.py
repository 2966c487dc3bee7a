"""Stage: the model learns captions and pictures within its budget, with a look at held-out pairs on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from beholder.models.dalle import TextToImage, TextToImageConfig, build_text_to_image
from beholder.models.lvm import TRUNKS
from beholder.objectives.next_token import NextToken
from beholder.recipes import code_training
from beholder.recipes.coded_pictures import PLAIN, CodeTables
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image.judge import ask, exchanged, looked_at
from beholder.recipes.text_to_image.material import Material
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.recipes.text_to_image.sheets import captioned_sheet
from beholder.recipes.text_to_image.stream import CaptionedStream
from beholder.runtime.seed import seed_everything
from beholder.tasks.captioned_pictures import USUAL, CaptionedPictures
from beholder.tokenizers.captioned import CaptionedConfig
from beholder.train.loop import Stream
from beholder.train.pace import Timed

_NUM_SKETCHED, _NUM_EACH = 6, 4
"""Captions that are drawn on the way, and how often each."""
CONFUSION = "captions confused"
"""What a probe calls how badly own and others' captions are told apart, in spreads."""


def build_model(settings: TextToImageTraining, grammar: CaptionedConfig, seed: int) -> TextToImage:
    """A fresh model for these rows."""
    seed_everything(seed, "model")
    return build_text_to_image(
        TextToImageConfig(
            grammar.num_codes, grammar.grid, grammar.num_words, grammar.longest, grammar.vocabulary_size, settings.form,
            TRUNKS[settings.size],
        )
    )  # fmt: skip


def steps_for(sitting: Sitting[TextToImageTraining], model: TextToImage, stream: CaptionedStream) -> Timed:
    """How many steps the budget buys on this machine."""

    def stream_of(batch_size: int) -> Stream:
        return replace(stream, batch_size=batch_size)

    return code_training.steps_for(sitting.settings, model, NextToken(), stream_of, sitting.device, "--batch-size")


def fit(
    sitting: Sitting[TextToImageTraining], material: Material, tables: CodeTables, stream: CaptionedStream,
    drawer: CaptionedPictures, num_steps: int,
) -> dict[str, Any]:  # fmt: skip
    """Train the model in place, once: later sittings load what came of it. It ends with the weights that told own and
    others' captions apart best on what `looked_at` holds back from judging; with the last ones where there are too few
    pairs for that."""
    chosen_by = looked_at(material, sitting.seed)
    places = chosen_by if len(chosen_by) else ask(material, 1, sitting.seed)
    texts = [material.texts[place] for place in places]
    codes = np.stack([tables.plain(int(place), 0) for place in places])

    def look() -> dict[str, float]:
        own, others = drawer.nats(texts, codes), drawer.nats(exchanged(texts), codes)
        told = {"own caption": own, "another's caption": others, "no caption": drawer.nats([""] * len(texts), codes)}
        return {**{name: float(nats.mean()) for name, nats in told.items()}, CONFUSION: confusion(own, others)}

    def sketch() -> np.ndarray:
        return sketch_of(sitting, material, tables, drawer, places[:_NUM_SKETCHED])

    best_by = CONFUSION if len(chosen_by) else None
    story = code_training.fit(
        sitting,
        drawer.model,
        NextToken(),
        stream,
        num_steps,
        look,
        sketch,
        "nats a token",
        best_by,
        verb="train text-to-image",
        texts=texts[:_NUM_SKETCHED],
    )
    return {**story, "pairs": story["steps"] * stream.batch_size}


def confusion(own: Float[np.ndarray, " n"], others: Float[np.ndarray, " n"]) -> float:
    """How unsurely a picture costs less under its own caption than under another's: the spread of the difference over
    its mean, or rather its negative inverse, which has no pole. Nats themselves rise again while pictures are learned
    by heart, long before words have been understood."""
    gain = others - own
    return -float(gain.mean() / max(gain.std(), 1e-6))


def sketch_of(
    sitting: Sitting[TextToImageTraining], material: Material, tables: CodeTables, drawer: CaptionedPictures,
    places: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """A sheet of what is drawn for the captions of those pictures, beside these."""
    texts = [material.texts[place] for place in places]
    wanted = [text for text in texts for _ in range(_NUM_EACH)]
    drawn = drawer.pictures.decode(drawer.draw(wanted, USUAL, sitting.settings.guidance))
    true = np.stack([tables.squares[PLAIN][place] for place in places])
    return captioned_sheet(texts, true, drawn.reshape(len(texts), _NUM_EACH, *drawn.shape[1:]))
