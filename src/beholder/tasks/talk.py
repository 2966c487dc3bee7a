"""What a describer says of images: captions, and answers to questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beholder.backends.choose import Prepared
from beholder.backends.choose import prepare as prepare_backend
from beholder.backends.outputs import Backend
from beholder.data.conversations import MARK, without_marks
from beholder.data.decode import Limits
from beholder.data.dialogues import languages_of, request
from beholder.inference.beams import search_beams, search_several
from beholder.inference.generate import generate
from beholder.models.describer import Describer
from beholder.models.vision_language import WithImages
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device
from beholder.tasks.embed import ImageInput, decoded_batches, each
from beholder.tasks.saying import USUAL, Saying, Told
from beholder.tokenizers.chat import chat_of
from beholder.tokenizers.dialogues import DialogueRows, Turn
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.tokenizers.text import Words
from beholder.types import Answer, UserError

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
    languages: tuple[str, ...] = ()
    """In which it learned to caption, the first where none is asked for; nothing: that was not said."""
    eye: Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B S C"]] | None = None
    """What sees in the place of the model's own vision, such as the same on a faster backend."""

    @cached_property
    def rows(self) -> DialogueRows:
        """How its rows are written."""
        speaker = self.model.speaker
        return DialogueRows(
            self.words, speaker.places_per_image, speaker.config.language.vocabulary_size, speaker.longest,
            chat_of(self.words),
        )  # fmt: skip

    def request(self, language: str | None = None) -> str:
        """What asks for a caption in this language. Raises UserError for one that it did not learn."""
        if language is not None and language not in self.languages:
            told = f"speaks {' and '.join(self.languages)}" if self.languages else "was trained without --spoken"
            if set(languages_of(language)) <= set(self.languages):
                raise UserError(f"--language {language}: this model {told}; name one of them.")
            raise UserError(
                f"--language {language}: this model {told}; leave it out, or train one with --spoken {language}."
            )
        return request(language or self.languages[0]) if len(self.languages) > 1 else request()

    @torch.inference_mode()
    def see(self, images: Sequence[np.ndarray]) -> Float[Tensor, "B S C"]:
        """Decoded images (H W 3 bytes) as the model reads them, on the CPU."""
        pixels = prepare(images, self.pixels).to(self.device.torch_device)
        with self.device.autocast():
            return (self.eye or self.model.see)(pixels).float().cpu()

    def say(
        self, asked: Sequence[Asking], saying: Saying = USUAL, on_said: Callable[[int], None] = lambda count: None
    ) -> list[str]:
        """What the model says to each; `on_said` is told of so many at a time.

        Raises UserError for what does not fit into the model, and where a place has no image or an image no place.
        """
        prompts, said = [self.prompt(one, saying.num_tokens) for one in asked], []
        for first in range(0, len(asked), _ASKED_AT_ONCE):
            some = slice(first, first + _ASKED_AT_ONCE)
            with self.device.autocast():
                told = self._continue(
                    self._seeing(asked[some]), prompts[some], replace(saying, seed=saying.seed + first)
                )
            said += [Told(self.rows, saying).until(row)[0].strip() for row in told]
            on_said(len(told))
        return said

    def say_several(
        self, asked: Sequence[Asking], saying: Saying = USUAL, on_said: Callable[[int], None] = lambda count: None
    ) -> list[list[tuple[float, str]]]:
        """The answers that beams found to each, with their mean log-probability a token, the likeliest first. Errors as
        of `say`."""
        prompts, told = [self.prompt(one, saying.num_tokens) for one in asked], Told(self.rows, saying)
        said: list[list[tuple[float, str]]] = []
        for first in range(0, len(asked), _ASKED_AT_ONCE):
            some = slice(first, first + _ASKED_AT_ONCE)
            with self.device.autocast():
                found = search_several(self._seeing(asked[some]), prompts[some], told.beams)
            said += [[(worth, told.until(tokens)[0].strip()) for worth, tokens in listed] for listed in found]
            on_said(len(found))
        return said

    @torch.inference_mode()
    def choose(self, asked: Sequence[Asking], choices: Sequence[str]) -> Float[Tensor, "B Q"]:
        """How likely the model is to say each of the choices and nothing else, over all that it might: rows sum to one.
        Raises UserError for fewer than two, one without words, and one that comes twice."""
        listed = [" ".join(choice.split()) for choice in choices]
        if len(listed) < 2 or not all(listed) or len(set(listed)) < len(listed):
            told = ", ".join(map(repr, choices))
            raise UserError(f"The choices are {told}; give at least two different ones, none of them empty.")
        rows = []
        for one in asked:
            begun = self.prompt(one, 0)
            written = [self.rows.write([*one.before, (one.question, choice)]).tokens for choice in listed]
            rows.append(self._likelihoods(one.seen, len(begun), written).softmax(0).cpu())
        return torch.stack(rows)

    def _likelihoods(self, seen: Tensor, length: int, rows: Sequence[Sequence[int]]) -> Float[Tensor, " Q"]:
        """Log-probability of what each row has after so many tokens, up to what ends it."""
        device = self.device.torch_device
        longest = max(map(len, rows))
        tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
        images = seen[None].expand(len(rows), -1, -1, -1).to(device) if len(seen) else None
        with self.device.autocast():
            scores = self.model.speaker(tokens[:, :-1], images).float().log_softmax(2)
        said = tokens[:, 1:].clamp_max(scores.shape[2] - 1)
        likely = scores.gather(2, said[:, :, None])[:, :, 0]
        place = torch.arange(1, longest, device=device)
        ends = torch.tensor([self._end_of(row, length) for row in rows], device=device)
        return (likely * ((place >= length) & (place <= ends[:, None]))).sum(1)

    def _end_of(self, row: Sequence[int], length: int) -> int:
        """Where what is said ends."""
        return next((at for at in range(length, len(row)) if row[at] in self.rows.stops), len(row) - 1)

    def _continue(self, seeing: WithImages, prompts: list[list[int]], saying: Saying) -> list[list[int]]:
        told = Told(self.rows, saying)
        if saying.sampling is not None:
            return generate(seeing, prompts, told.generation, saying.seed)
        return search_beams(seeing, prompts, told.beams)

    def before(self, seen: Sequence[Float[Tensor, "_ S C"]]) -> WithImages:
        """The speaker with these images before it, a row each."""
        return WithImages(self.model.speaker, _stacked(seen))

    def _seeing(self, asked: Sequence[Asking]) -> WithImages:
        return self.before([one.seen for one in asked])

    def prompt(self, asking: Asking, num_tokens: int = 0) -> list[int]:
        """Tokens before an answer of so many. Errors as of `say`."""
        row = self.rows.prompt(asking.question, asking.before, num_tokens)
        if row.num_images != len(asking.seen):
            raise UserError(
                f"The question shows {row.num_images:,} images and {len(asking.seen):,} are given; write {MARK} for "
                "each."
            )
        return row.tokens


def open_talker(
    model: Bundle | Foreign | Part,
    device: Device,
    ability: str = "describe",
    backend: Backend | Literal["auto"] = "plain",
) -> Talker:
    """The model on the device, its vision on a backend (`backends.choose.prepare`).

    Raises UserError for one that does not talk, or was not trained to do that; and for a backend that is not installed,
    or of a device that is no CPU.
    """
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
    pixels = model.need_pixels()
    eye = None if backend == "plain" else _fast_eye(model.model, pixels, device, backend)
    spoken = model.values.get("facts", {}).get("spoken")
    return Talker(model.model, pixels, model.need_words(), device, can, languages_of(spoken), eye)


def _fast_eye(model: Describer, pixels: PixelConfig, device: Device, backend: Backend | Literal["auto"]) -> Prepared:
    if device.torch_device.type != "cpu":
        raise UserError(f"--backend {backend} is for the CPU; leave it out, or give --device cpu.")
    noise = np.random.default_rng(0).integers(0, 256, (_ASKED_AT_ONCE, 64, 64, 3), np.uint8)
    return prepare_backend(model.vision, prepare(list(noise), pixels), backend)


def describe(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    limits: Limits | None = None,
    saying: Saying = USUAL,
    examples: Sequence[tuple[np.ndarray, str]] = (),
    language: str | None = None,
) -> Iterator[Answer]:
    """A caption of each image as `label`; what cannot be read is answered with its reason, and the rest goes on.

    `examples` are decoded images and their captions, which the model reads first; one that was trained with as many
    (`num_shots`) makes something of them. `language` is one of the model's (`Talker.languages`). Raises UserError for
    another, and when the examples do not fit into the model.
    """
    asks = talker.request(language)
    before = tuple((asks, text) for _, text in examples)
    known = talker.see([image for image, _ in examples]) if examples else None

    def tell(seen: Float[Tensor, "B S C"]) -> list[tuple[str, float | None, dict[str, Any]]]:
        asked = [Asking(one[None] if known is None else torch.cat([known, one[None]]), asks, before) for one in seen]
        try:
            return [(text, None, {}) for text in talker.say(asked, saying)]
        except UserError as error:
            if not examples:
                raise
            count = f"--examples: {len(examples)} rows before an image are too many for this model"
            raise UserError(f"{count} ({str(error).removesuffix('.')}); give fewer rows.") from error

    yield from _each(talker, images, limits or Limits(), tell)


def answer(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    question: str,
    limits: Limits | None = None,
    saying: Saying = USUAL,
    choices: Sequence[str] = (),
) -> Iterator[Answer]:
    """An answer about each image as `label`. With `choices` it is one of these, its probability among them is `score`,
    and `details["probabilities"]` has all. Raises UserError for a question without words, and choices that are none."""
    if not without_marks(question):
        raise UserError("The question is empty; write what you want to know of the image.")
    asked = question if MARK in question else f"{MARK} {question}"

    def tell(seen: Float[Tensor, "B S C"]) -> list[tuple[str, float | None, dict[str, Any]]]:
        each = [Asking(one[None], asked) for one in seen]
        if not choices:
            return [(text, None, {}) for text in talker.say(each, saying)]
        told = []
        for row in talker.choose(each, choices):
            best = int(row.argmax())
            shares = dict(zip(choices, row.tolist(), strict=True))
            told.append((choices[best], float(row[best]), {"probabilities": shares}))
        return told

    yield from _each(talker, images, limits or Limits(), tell)


def converse(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    questions: Sequence[str],
    limits: Limits | None = None,
    saying: Saying = USUAL,
    *,
    together: bool = False,
) -> Iterator[Answer]:
    """Questions about each image, or about all of them `together`, one after the other, each with all before it in the
    model's sight: the last answer as `label`, all in `details["turns"]`, names of the images in `details["images"]`.

    Of several images together none may be unreadable: then there is no answer. Raises UserError for a question without
    words, no question, and what does not fit into the model.
    """
    if not questions or not all(without_marks(one) for one in questions):
        raise UserError("A question is empty; write what you want to know of the image.")
    for names, seen in _conversed(talker, images, limits or Limits(), together):
        key = ", ".join(names)
        if isinstance(seen, str):
            yield Answer(key, refused=seen)
            continue
        text, before = "", list[Turn]()
        for number, question in enumerate(questions):
            marks = "" if number or MARK in question else f"{MARK} " * len(seen)
            (text,) = talker.say([Asking(seen, f"{marks}{question}", tuple(before))], saying)
            before.append((f"{marks}{question}", text))
        turns = [{"question": without_marks(asked), "answer": answered} for asked, answered in before]
        yield Answer(key, text, None, {"images": list(names), "turns": turns})


def _conversed(
    talker: Talker, images: ImageInput | Iterable[ImageInput], limits: Limits, together: bool
) -> Iterator[tuple[tuple[str, ...], Float[Tensor, "I S C"] | str]]:
    """Names, and what is seen in each image, or in all, or why nothing is."""
    batches = list(decoded_batches(each(images), limits)) if together else decoded_batches(each(images), limits)
    if together:
        listed = [one for batch in batches for one in batch]
        names = tuple(name for name, _ in listed)
        wrong = next((f"{name}: {image}" for name, image in listed if isinstance(image, str)), None)
        yield names, wrong or talker.see([image for _, image in listed if not isinstance(image, str)])
        return
    for batch in batches:
        readable = [image for _, image in batch if not isinstance(image, str)]
        seen = iter(talker.see(readable) if readable else ())
        for key, image in batch:
            yield (key,), image if isinstance(image, str) else next(seen)[None]


def _each(
    talker: Talker,
    images: ImageInput | Iterable[ImageInput],
    limits: Limits,
    tell: Callable[[Float[Tensor, "B S C"]], list[tuple[str, float | None, dict[str, Any]]]],
) -> Iterator[Answer]:
    for batch in decoded_batches(each(images), limits):
        readable = [image for _, image in batch if not isinstance(image, str)]
        said = iter(tell(talker.see(readable)) if readable else ())
        for key, image in batch:
            yield Answer(key, refused=image) if isinstance(image, str) else Answer(key, *next(said))


def _stacked(seen: Sequence[Float[Tensor, "_ S C"]]) -> Float[Tensor, "B I S C"]:
    """Rows with fewer images are filled up with zeros, which no place names."""
    most = max(1, max(len(one) for one in seen))
    stacked = seen[0].new_zeros(len(seen), most, *seen[0].shape[1:])
    for row, one in zip(stacked, seen, strict=True):
        row[: len(one)] = one
    return stacked
