"""Images and texts as points of one space, by a model with a tower for each (CLIP, SigLIP, the
embedded one)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beholder.data.decode import Limits
from beholder.models.pairs import PairModel, is_pair_model
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part, need_whole
from beholder.runtime.device import Device
from beholder.tasks.embed import ImageInput, decoded_batches
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.tokenizers.text import Words
from beholder.types import UserError

_TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Placed:
    """One image as a point of the space, or why it cannot be seen."""

    key: str
    point: Float[Tensor, " C"] | None
    """Of length 1, on the CPU."""
    refused: str | None = None


def check_texts(texts: Sequence[str]) -> None:
    """Raises UserError for no text, and for an empty one."""
    if not texts:
        raise UserError("There are no texts to compare with; give at least one.")
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise UserError(f"Text {number} is empty; give a word.")


@dataclass(frozen=True)
class SharedSpace:
    """A model that reads both, ready on its device."""

    model: PairModel
    pixels: PixelConfig
    words: Words
    device: Device

    @property
    def is_exclusive(self) -> bool:
        """Whether the texts of an image compete (softmax), or each pair is judged by itself (sigmoid)."""
        return self.model.logit_bias is None

    @torch.inference_mode()
    def place_texts(self, texts: Sequence[str]) -> Float[Tensor, "Q C"]:
        """Rows of length 1, on the CPU. Raises UserError for no text, an empty one and one that is too long."""
        check_texts(texts)
        rows = []
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            encoded = self.words.encode(list(texts[first : first + _TEXTS_AT_ONCE]))
            numbers = encoded.numbers.to(self.device.torch_device)
            is_real = None if encoded.is_real is None else encoded.is_real.to(self.device.torch_device)
            with self.device.autocast():
                rows.append(self.model.encode_texts(numbers, is_real).float().cpu())
        return torch.cat(rows)

    @torch.inference_mode()
    def place_arrays(self, images: Sequence[np.ndarray]) -> Float[Tensor, "B C"]:
        """Points of decoded images (H W 3 bytes), on the CPU."""
        pixels = prepare(images, self.pixels).to(self.device.torch_device)
        with self.device.autocast():
            return F.normalize(self.model.encode_images(pixels).float(), dim=1).cpu()

    def place_images(self, images: Iterable[ImageInput], limits: Limits | None = None) -> Iterator[Placed]:
        """Points in the order of the inputs; an unreadable image is answered with its reason, the others go on."""
        for batch in decoded_batches(images, limits or Limits()):
            readable = [image for _, image in batch if not isinstance(image, str)]
            points = iter(self.place_arrays(readable)) if readable else iter(())
            for key, image in batch:
                yield Placed(key, None, image) if isinstance(image, str) else Placed(key, next(points))

    def scores(self, images: Float[Tensor, "B C"], texts: Float[Tensor, "Q C"]) -> Float[Tensor, "B Q"]:
        """What a softmax over texts, or a sigmoid where pairs are judged by themselves, makes a probability of."""
        scale = float(self.model.logit_scale.detach().exp())
        bias = 0.0 if self.model.logit_bias is None else float(self.model.logit_bias.detach())
        return scale * images @ texts.T + bias

    def probabilities(self, images: Float[Tensor, "B C"], texts: Float[Tensor, "Q C"]) -> Float[Tensor, "B Q"]:
        """Of each text for each image; rows sum to one where texts compete."""
        scores = self.scores(images, texts)
        return scores.softmax(1) if self.is_exclusive else scores.sigmoid()


def open_space(model: Foreign | Bundle | Part, device: Device) -> SharedSpace:
    """The model's space. Raises UserError when it reads no texts, or came without a tokenizer or preprocessing."""
    model = need_whole(model)
    if isinstance(model, Bundle):
        raise UserError(
            "A model that adapt made reads no texts; name one that does, such as embedded or "
            "openai/clip-vit-base-patch32."
        )
    placed = model.model.to(device.torch_device)
    if not is_pair_model(placed):
        raise UserError(
            f"{model.source} ({model.kind}) has no towers for images and texts; name a model that has, such as "
            "embedded or openai/clip-vit-base-patch32."
        )
    return SharedSpace(placed, model.need_pixels(), model.need_words(), device)
