"""What a run of `train language` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beholder.models.gpt import GPTConfig
from beholder.models.lvm import llama_trunk
from beholder.tokenizers.language import FEWEST
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

OWN = "own"
"""The name of a language model that is trained here."""
Size = Literal["tiny", "small", "base", "debug"]
Tuning = Literal["full", "low-rank"]
TRUNKS: dict[str, TransformerConfig] = {
    "tiny": llama_trunk(256, 4, 4),
    "small": llama_trunk(384, 6, 6),
    "base": llama_trunk(512, 8, 8),
    "debug": llama_trunk(32, 2, 2),
}
"""Of a language model of one's own, by size."""


@dataclass(frozen=True)
class LanguageTraining:
    """Every choice that decides the numbers; frozen, written to `recipe.json`, compared when a run is resumed."""

    size: Size = "tiny"
    """Of a model of one's own."""
    tuning: Tuning = "full"
    """Of a named model. full: all of it learns. low-rank: two thin matrices a layer are learned and merged."""
    rank: int = 8
    """Of the thin matrices."""
    budget: str = "10m"
    """For training: a time such as "90s", "10m", "2h", or "400 steps"."""
    vocabulary_size: int = 4096
    """Most tokens of a model of one's own: bytes, and pairs of them as long as one comes twice."""
    length: int = 256
    """Tokens of a row, and what a model of one's own reads at once."""
    batch_size: int = 16
    """Rows a step."""
    lr: float = 1e-3
    full_rate: float = 0.05
    """How many times as fast a named model learns as one of one's own."""
    num_samples: int = 6
    """Held-out beginnings that the model continues for the report."""

    def language(self, vocabulary_size: int) -> GPTConfig:
        """A model of one's own."""
        return GPTConfig(vocabulary_size, None, context_length=self.length, trunk=TRUNKS[self.size])


def check(settings: LanguageTraining) -> None:
    """Raises UserError for numbers that cannot work, before anything is read."""
    least_of = {"batch_size": 1, "rank": 1, "length": 16, "num_samples": 0, "vocabulary_size": FEWEST}
    for name, least in least_of.items():
        if getattr(settings, name) < least:
            raise UserError(f"{name}={getattr(settings, name)}: at least {least} is needed.")
    if settings.lr <= 0:
        raise UserError(f"lr={settings.lr}: it must be above 0.")
    if not 0 < settings.full_rate <= 1:
        raise UserError(f"full_rate={settings.full_rate}: it must be a share above 0, up to 1.")
