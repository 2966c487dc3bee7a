"""A model that draws what a text says, ready to be asked: its trunk, its codec and its words on one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.guidance import guided
from beholder.inference.sampling import SamplingConfig
from beholder.models.dalle import TextToImage, code_losses
from beholder.pretrained.part_folder import TEXT_TO_IMAGE, Part
from beholder.runtime.device import Device
from beholder.runtime.memory import in_memory
from beholder.tasks.picture_codes import PictureCodes
from beholder.tokenizers.captioned import CaptionedConfig, config_of, write_captioned, write_prompts
from beholder.tokenizers.captions import Captions
from beholder.types import UserError

_ROWS_AT_ONCE = 32
USUAL = SamplingConfig(temperature=1.0, top_p=0.95)
"""What is likely, but not always the same."""


@dataclass(frozen=True)
class CaptionedPictures:
    """What draws, and tells how well a picture goes with a caption."""

    model: TextToImage
    pictures: PictureCodes
    captions: Captions
    grammar: CaptionedConfig
    device: Device

    def draw(
        self,
        texts: Sequence[str],
        sampling: SamplingConfig = USUAL,
        guidance: float = 1.0,
        seed: int = 0,
        num_at_once: int = _ROWS_AT_ONCE,
    ) -> Int[np.ndarray, "B codes"]:
        """Codes of one picture for each text; row r is drawn by a generator of seed `seed` + r, so that it is the same
        beside others as alone. An empty text asks for nothing. Raises UserError where `num_at_once` do not fit into
        memory, and tells how many do."""
        model = guided(self.model, guidance, self._without)
        config = GenerationConfig(self.grammar.codes_per_picture, sampling=sampling)
        prompts = write_prompts(self.captions.encode(texts), self.grammar).tolist()
        rows: list[list[int]] = []
        while len(rows) < len(prompts):
            first = len(rows)

            def draw_some(count: int, first: int = first) -> list[list[int]]:
                with self.device.autocast():
                    return generate(model, prompts[first : first + count], config, seed + first)

            count = min(num_at_once, len(prompts) - first)
            rows += in_memory(draw_some, count, "pictures", "--batch-size")
        return np.array(rows, np.int64).reshape(len(texts), -1)

    def nats(self, texts: Sequence[str], codes: Int[np.ndarray, "B codes"]) -> Float[np.ndarray, " B"]:
        """Mean nats that a code of each picture costs under its text."""
        rows = torch.from_numpy(write_captioned(self.captions.encode(texts), codes, self.grammar))
        with torch.inference_mode(), self.device.autocast():
            found = [
                code_losses(self.model, part.to(self.device.torch_device)).mean(1).float().cpu()
                for part in rows.split(_ROWS_AT_ONCE)
            ]
        return torch.cat(found).numpy()

    def _without(self, prompts: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """The same prompts with empty captions."""
        empty = prompts.clone()
        empty[:, : self.grammar.longest] = self.grammar.pad
        return empty


def open_captioned(part: Part, device: Device) -> CaptionedPictures:
    """The part on the device. Raises UserError for a part of another kind, and where codec or words are absent or do
    not belong to the model."""
    if part.kind != TEXT_TO_IMAGE or not isinstance(part.model, TextToImage):
        raise UserError(
            f"{part.source} is a model of the kind {part.kind!r}, and this needs one that draws what a text says; name "
            "the model/ of a run of `beholder train text-to-image`."
        )
    pictures, captions, config = PictureCodes(part.need_codec(), device), part.need_captions(), part.config
    if (pictures.num_codes, pictures.grid) != (config.num_codes, config.grid):
        raise UserError(f"{part.source}: the model reads other codes than its tokenizer writes; copy the folder again.")
    if (captions.num_tokens, captions.longest) != (config.num_words, config.longest_caption):
        raise UserError(
            f"{part.source}: tokenizer.json is not the one that the model learned by; copy the folder again."
        )
    model = part.model.to(device.torch_device).eval()
    return CaptionedPictures(model, pictures, captions, config_of(captions, pictures.num_codes, pictures.grid), device)
