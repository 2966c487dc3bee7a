"""A model of visual sentences, ready to be asked: its trunk, its codec and its grammar on one device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.sampling import GREEDY, SamplingConfig
from beholder.models.lvm import LVM, LVMConfig
from beholder.pretrained.part_folder import SENTENCES, Part
from beholder.runtime.device import Device
from beholder.tasks.picture_codes import PictureCodes
from beholder.tokenizers.sentences import SentenceConfig, write_prompt, write_sentences
from beholder.types import UserError

_TOKENS_AT_ONCE = 16_384


@dataclass(frozen=True)
class VisualSentences:
    """What reads and goes on with visual sentences."""

    model: LVM
    pictures: PictureCodes
    grammar: SentenceConfig
    device: Device

    @property
    def num_pictures(self) -> int:
        """Most pictures in a sentence."""
        return self.model.config.num_pictures

    def surprise(self, codes: Int[np.ndarray, "B pictures codes"]) -> Float[np.ndarray, "B pictures"]:
        """Mean nats a code of each picture, given those before it in its row."""
        self.check_length(codes.shape[1])
        sentences = torch.from_numpy(write_sentences(codes, self.grammar))
        count = max(1, _TOKENS_AT_ONCE // sentences.shape[1])
        with torch.inference_mode(), self.device.autocast():
            found = [
                self.model.surprise(part.to(self.device.torch_device)).float().cpu() for part in sentences.split(count)
            ]
        return torch.cat(found).numpy()

    def answer(
        self, codes: Int[np.ndarray, "B pictures codes"], sampling: SamplingConfig = GREEDY, seed: int = 0
    ) -> Int[np.ndarray, "B codes"]:
        """The codes of the picture that comes after each row's; only codes of pictures are chosen."""
        self.check_length(codes.shape[1] + 1)
        is_code = torch.arange(self.grammar.vocabulary_size) < self.grammar.num_codes

        def allowed(step: int) -> Tensor:
            return is_code

        config = GenerationConfig(self.grammar.codes_per_picture, sampling=sampling, allowed=allowed)
        rows: list[list[int]] = []
        with self.device.autocast():
            for part in _parts(codes, max(1, _TOKENS_AT_ONCE // self.grammar.length(codes.shape[1]))):
                prompts = [write_prompt(row, self.grammar) for row in part]
                rows += generate(self.model, prompts, config, seed + len(rows))
        return np.array(rows)

    def check_length(self, num_pictures: int) -> None:
        """Raises UserError where a sentence of so many pictures is longer than the model reads."""
        if num_pictures > self.num_pictures:
            raise UserError(
                f"{num_pictures} pictures, the answer included, are more than the {self.num_pictures} that this model "
                f"reads in one sentence; give fewer examples."
            )


def grammar_of(config: LVMConfig) -> SentenceConfig:
    """The sentences that a model of this shape reads."""
    return SentenceConfig(config.num_codes, config.grid)


def open_sentences(part: Part, device: Device) -> VisualSentences:
    """The part on the device. Raises UserError for a part of another kind, and where its codec is absent."""
    if part.kind != SENTENCES or not isinstance(part.model, LVM):
        raise UserError(
            f"{part.source} is a model of the kind {part.kind!r}, and this needs one of visual sentences; name the "
            "model/ of a run of `beholder train lvm`."
        )
    pictures = PictureCodes(part.need_codec(), device)
    if (pictures.num_codes, pictures.grid) != (part.config.num_codes, part.config.grid):
        raise UserError(f"{part.source}: the model reads other codes than its tokenizer writes; copy the folder again.")
    return VisualSentences(part.model.to(device.torch_device).eval(), pictures, grammar_of(part.config), device)


def _parts(codes: np.ndarray, count: int) -> Iterator[np.ndarray]:
    for first in range(0, len(codes), count):
        yield codes[first : first + count]
