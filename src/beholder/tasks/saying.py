"""How what a model says is looked for, and the text that its tokens are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beholder.inference.beams import BeamConfig
from beholder.inference.generate import GenerationConfig
from beholder.inference.sampling import GREEDY, SamplingConfig
from beholder.runtime.seed import check_seed
from beholder.tokenizers.dialogues import DialogueRows
from beholder.types import UserError

NUM_BEAMS, NUM_TOKENS = 3, 40


@dataclass(frozen=True)
class Saying:
    """How an answer is looked for, and how long it may be. Raises UserError for what cannot be looked for."""

    num_beams: int = NUM_BEAMS
    """Answers that are followed at once; 1 takes the likeliest word each time."""
    num_tokens: int = NUM_TOKENS
    sampling: SamplingConfig | None = None
    """Draws the words instead."""
    stops: tuple[str, ...] = ()
    """Texts that end an answer; they are not told."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise UserError(f"--beams {self.num_beams}: at least 1 must be followed.")
        if self.num_tokens < 1:
            raise UserError(f"num_tokens={self.num_tokens}: an answer has at least 1 token.")
        if not all(self.stops):
            raise UserError("--stop is empty; give the text that ends an answer.")
        check_seed(self.seed)


USUAL = Saying()


def saying_of(
    beams: int = NUM_BEAMS, temperature: float = 0.0, top_k: int | None = None, top_p: float | None = None,
    stop: Sequence[str] = (), seed: int = 0,
) -> Saying:  # fmt: skip
    """As verbs name it: with a temperature words are drawn, and no beams followed. Raises UserError for values that are
    out of range, and for limits of drawing where nothing is drawn."""
    if temperature == 0:
        if top_k is not None or top_p is not None:
            told = f"--top-k {top_k}" if top_k is not None else f"--top-p {top_p}"
            raise UserError(f"{told} is for drawn words; add a --temperature above 0, or leave it out.")
        return Saying(beams, stops=tuple(stop), seed=seed)
    sampling = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    return Saying(beams, sampling=sampling, stops=tuple(stop), seed=seed)


@dataclass(frozen=True)
class Told:
    """Tokens that a model says, as text, and where they end."""

    rows: DialogueRows
    saying: Saying

    @property
    def beams(self) -> BeamConfig:
        """For several answers at once."""
        return BeamConfig(self.saying.num_beams, self.saying.num_tokens, self.rows.stops, ends=self._ends)

    @property
    def generation(self) -> GenerationConfig:
        """For one word after the other: drawn, or the likeliest."""
        sampling = self.saying.sampling or GREEDY
        return GenerationConfig(self.saying.num_tokens, self.rows.stops, sampling, ends=self._ends)

    def until(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """Their text up to the first stop, without it, and whether there was one."""
        text = self.rows.text(tokens)
        places = [at for stop in self.saying.stops if (at := text.find(stop)) >= 0]
        return (text[: min(places)], True) if places else (text, False)

    def sure(self, tokens: Sequence[int]) -> str:
        """Of a text that goes on, what no further token takes back: not half a letter, and nothing that a stop may
        begin with."""
        text, is_over = self.until(tokens)
        if is_over:
            return text
        held = max((len(stop) - 1 for stop in self.saying.stops), default=0)
        return text[: len(text) - held] if held else text

    @property
    def _ends(self) -> Callable[[list[int]], bool] | None:
        if not self.saying.stops:
            return None
        return lambda tokens: any(stop in self.rows.text(tokens) for stop in self.saying.stops)
