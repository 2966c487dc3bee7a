"""What a describer says of images: captions, and answers to questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beholder.data.conversations import MARK, without_marks
from beholder.data.decode import Limits
from beholder.inference.beams import BeamConfig, search_beams
from beholder.models.describer import Describer
from beholder.models.vision_language import WithImages
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device
from beholder.tasks.embed import ImageInput, decoded_batches, each
from beholder.tokenizers.dialogues import DialogueRows, Turn
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.tokenizers.text import Words
from beholder.types import Answer, UserError

NUM_BEAMS, NUM_TOKENS = 3, 40
_ASKED_AT_ONCE = 16


@dataclass(frozen=True)
class Asking:
    """Images before the model, and the question about them."""

    seen: Float[Tensor, "I S C"]
    question: str
    """With a mark for each image that `before` does not show."""
    before: tuple[Turn, ...] = ()
    """Turns that were taken, or examples."""


@dataclass(frozen=True)
class Talker:
    """A describer, ready on its device."""

    model: Describer
    pixels: PixelConfig
    words: Words
    device: Device
    can: tuple[str, ...]

    @property
    def rows(self) -> DialogueRows:
        """How its rows are written."""
        speaker = self.model.speaker
        return DialogueRows(
            self.words, speaker.places_per_image, speaker.config.language.vocabulary_size, speaker.longest
        )

    @torch.inference_mode()
    def see(self, images: Sequence[np.ndarray]) -> Float[Tensor, "B S C"]:
        """Decoded images (H W 3 bytes) as the model reads them, on the CPU."""
        pixels = prepare(images, self.pixels).to(self.device.torch_device)
        with self.device.autocast():
            return self.model.see(pixels).float().cpu()

    def say(
        self,
        asked: Sequence[Asking],
        num_beams: int = NUM_BEAMS,
        num_tokens: int = NUM_TOKENS,
        on_said: Callable[[int], None] = lambda count: None,
    ) -> list[str]:
        """What the model says to each; `on_said` is told of so many at a time.

        Raises UserError for what does not fit into the model, and where a place has no image or an image no place.
        """
        prompts, end = [self._prompt(one, num_tokens) for one in asked], self.rows.end
        config = BeamConfig(num_beams, num_tokens, stops=(end,))
        said: list[str] = []
        for first in range(0, len(asked), _ASKED_AT_ONCE):
            some = slice(first, first + _ASKED_AT_ONCE)
            seeing = WithImages(self.model.speaker, _stacked([one.seen for one in asked[some]]))
            with self.device.autocast():
                told = search_beams(seeing, prompts[some], config)
            said += [self.words.decode([token for token in row if token != end]).strip() for row in told]
            on_said(len(told))
        return said

    def _prompt(self, asking: Asking, num_tokens: int) -> list[int]:
        row = self.rows.prompt(asking.question, asking.before, num_tokens)
        if row.num_images != len(asking.seen):
            raise UserError(
                f"The question shows {row.num_images:,} images and {len(asking.seen):,} are given; write {MARK} for "
                "each."
            )
        return row.tokens


def open_talker(model: Bundle | Foreign | Part, device: Device, ability: str = "describe") -> Talker:
    """The model on the device. Raises UserError for one that does not talk, or was not trained to do that."""
    if not isinstance(model, Foreign) or not isinstance(model.model, Describer):
        source = getattr(model, "source", "This model")
        raise UserError(
            f"{source} says nothing about images; name the model/ of a run of `beholder train describe`, or train one: "
            "beholder train describe --data PAIRS --out runs/describe"
        )
    can = tuple(model.values.get("can", ()))
    if ability not in can:
        raise UserError(
            f"{model.source} was trained to {' and '.join(can)}, not to {ability}; train one on "
            f"{'questions with answers' if ability == 'answer' else 'captions'}."
        )
    model.model.to(device.torch_device)
    return Talker(model.model, model.need_pixels(), model.need_words(), device, can)


def describe(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    limits: Limits | None = None,
    num_beams: int = NUM_BEAMS,
    examples: Sequence[tuple[np.ndarray, str]] = (),
) -> Iterator[Answer]:
    """A caption of each image as `label`; what cannot be read is answered with its reason, and the rest goes on.

    `examples` are decoded images and their captions, which the model reads first; one that was trained with as many
    (`num_shots`) makes something of them. Raises UserError when they do not fit into the model.
    """
    yield from _each(talker, images, MARK, limits or Limits(), num_beams, examples)


def answer(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    question: str,
    limits: Limits | None = None,
    num_beams: int = NUM_BEAMS,
) -> Iterator[Answer]:
    """An answer about each image as `label`. Raises UserError for a question without words."""
    if not without_marks(question):
        raise UserError("The question is empty; write what you want to know of the image.")
    asked = question if MARK in question else f"{MARK} {question}"
    yield from _each(talker, images, asked, limits or Limits(), num_beams)


def _each(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    question: str,
    limits: Limits,
    num_beams: int,
    examples: Sequence[tuple[np.ndarray, str]] = (),
) -> Iterator[Answer]:
    before = tuple((MARK, text) for _, text in examples)
    known = talker.see([image for image, _ in examples]) if examples else None
    for batch in decoded_batches(each(images), limits):
        readable = [image for _, image in batch if not isinstance(image, str)]
        seen = talker.see(readable) if readable else []
        asked = [
            Asking(one[None] if known is None else torch.cat([known, one[None]]), question, before) for one in seen
        ]
        said = iter(talker.say(asked, num_beams))
        for key, image in batch:
            yield Answer(key, refused=image) if isinstance(image, str) else Answer(key, next(said))


def _stacked(seen: Sequence[Float[Tensor, "_ S C"]]) -> Float[Tensor, "B I S C"]:
    """Rows with fewer images are filled up with zeros, which no place names."""
    most = max(1, max(len(one) for one in seen))
    stacked = seen[0].new_zeros(len(seen), most, *seen[0].shape[1:])
    for row, one in zip(stacked, seen, strict=True):
        row[: len(one)] = one
    return stacked
