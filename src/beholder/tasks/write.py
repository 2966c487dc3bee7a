"""What a language model writes: how a text goes on, and answers in a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from beholder.inference.beams import search_beams
from beholder.inference.generate import generate, stream
from beholder.models.gpt import GPT
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device
from beholder.tasks.saying import Saying, Told
from beholder.tokenizers.chat import chat_of
from beholder.tokenizers.dialogues import DialogueRows, Turn
from beholder.tokenizers.text import Words
from beholder.types import UserError

_ENDLESS = 1 << 30
_USUAL = 100


@dataclass(frozen=True)
class Writer:
    """A language model, ready on its device."""

    model: GPT
    words: Words
    device: Device

    @cached_property
    def rows(self) -> DialogueRows:
        """How its conversations are written."""
        return DialogueRows(self.words, 1, self.model.config.vocabulary_size, self.model.longest, chat_of(self.words))

    @property
    def is_asked(self) -> bool:
        """Whether it was taught conversations, and so answers rather than goes on."""
        return self.rows.chat is not None

    def begin(self, text: str) -> list[int]:
        """Tokens of a text that is to go on. Raises UserError for one without any."""
        begin = self.words.special.begin
        tokens = [*([] if begin is None else [begin]), *self.words.numbers(text)]
        if not tokens:
            raise UserError("The beginning is empty and this tokenizer has no token that begins a text; write a word.")
        return tokens

    def ask(self, question: str, before: Sequence[Turn] = ()) -> list[int]:
        """Tokens of a conversation whose last question is to be answered. Raises UserError for an empty one."""
        if not question.strip():
            raise UserError("The question is empty; write what you want to know.")
        return self.rows.prompt(question, before).tokens

    def room(self, prompt: Sequence[int]) -> int:
        """Tokens that the model can read after it; very many where it does not say."""
        longest = self.model.longest
        return _ENDLESS if longest is None else longest - len(prompt)

    def write(self, prompts: Sequence[Sequence[int]], saying: Saying) -> list[str]:
        """What comes after each. Raises UserError where it does not fit into what the model reads."""
        told = Told(self.rows, saying)
        with self.device.autocast():
            if saying.sampling is None and saying.num_beams > 1:
                found = search_beams(self.model, [list(one) for one in prompts], told.beams)
            else:
                found = generate(self.model, prompts, told.generation, saying.seed)
        return [told.until(tokens)[0] for tokens in found]

    def stream(self, prompt: Sequence[int], saying: Saying) -> Iterator[str]:
        """The same, one prompt, piece by piece: together the pieces are what `write` gives without beams."""
        told, tokens, said = Told(self.rows, saying), list[int](), ""
        with self.device.autocast():
            for (token,) in stream(self.model, [list(prompt)], told.generation, saying.seed):
                assert token is not None, "one row goes on until it ends"
                tokens.append(token)
                sure = told.sure(tokens)
                if len(sure) > len(said):
                    yield sure[len(said) :]
                    said = sure
        whole, _ = told.until(tokens)
        if len(whole) > len(said):
            yield whole[len(said) :]


def write_on(
    writer: Writer, beginnings: Sequence[str], saying: Saying, *, tokens: int | None = None, count: int = 1
) -> Iterator[tuple[str, str]]:
    """Each beginning, or question where the model was taught conversations, with what is written, `count` times; at
    most so many `tokens`, 100 or as many as fit if not given. Raises UserError for no beginning, and for several where
    nothing is drawn: all would be the same."""
    if not beginnings:
        raise UserError('Write how the text begins: beholder write "Once upon a time" --model runs/language')
    if count < 1:
        raise UserError(f"--count {count}: at least 1 is written.")
    if count > 1 and saying.sampling is None:
        raise UserError(f"--count {count}: without a temperature all are the same; add one, or leave --count out.")
    for text in beginnings:
        prompt = writer.ask(text) if writer.is_asked else writer.begin(text)
        room = tokens if tokens is not None else max(1, min(_USUAL, writer.room(prompt)))
        for written in writer.write([prompt] * count, replace(saying, num_tokens=room)):
            yield text, written


def open_writer(model: Bundle | Foreign | Part, device: Device) -> Writer:
    """The model on the device. Raises UserError for one that does not write text."""
    if not isinstance(model, Foreign) or not isinstance(model.model, GPT):
        source = getattr(model, "source", "This model")
        raise UserError(
            f"{source} writes no text; name a GPT, LLaMA, Qwen or the like, or the model/ of a run of "
            "`beholder train language`."
        )
    model.model.to(device.torch_device).eval()
    return Writer(model.model, model.need_words(), device)
