"""Where a describer looked for each word that it said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from beholder.data.decode import Limits
from beholder.tasks.embed import ImageInput, decoded_batches, each
from beholder.tasks.saying import USUAL, Saying
from beholder.tasks.talk import Asking, Talker
from beholder.types import Answer

_SIDE, _LINE, _GAP, _COLUMNS = 200, 26, 8, 4
_LEGEND = (
    "Red: these parts made the word likelier. Numbers: nats by which the image makes it likelier than a blank does."
)
_HOT = np.array([220, 30, 30])


@dataclass(frozen=True)
class Grounded:
    """A word, and how much each part of the image made it likelier."""

    word: str
    nats: float
    """By which the word is likelier before the image than before a blank; below zero: less likely."""
    heat: Float[np.ndarray, "side side"]
    """Of each part, in nats to first order; what makes the word less likely is below zero."""


def ground(talker: Talker, asking: Asking, said: str) -> list[Grounded]:
    """For each word of what was said, in its order: the gradient of its log-probability times how far what is seen of
    each part is from a blank (Simonyan et al. 2013, arXiv 1312.6034). Of several images the last counts."""
    speaker, device = talker.model.speaker, talker.device.torch_device
    prompt = talker.rows.prompt(asking.question, asking.before).tokens
    row = talker.rows.write([*asking.before, (asking.question, said)]).tokens
    tokens = torch.tensor([row], device=device)
    images = asking.seen[None].to(device).clone().requires_grad_()  # what was seen comes from inference mode
    blank = speaker.seen_mean.expand_as(images)

    def scores_of(shown: Tensor) -> Tensor:
        return speaker(tokens[:, :-1], shown).float().log_softmax(2)[0]

    with torch.enable_grad():
        scores = scores_of(images)
        places = torch.arange(len(prompt) - 1, len(row) - 1, device=device)
        words = tokens[0, len(prompt) :].clamp_max(scores.shape[1] - 1)
        likely, unseen = scores[places, words], scores_of(blank).detach()[places, words]
        found = []
        for word, first, last in _words(talker, row[len(prompt) :]):
            (slope,) = torch.autograd.grad(likely[first:last].sum(), images, retain_graph=True)
            gain = (slope * (images - speaker.seen_mean)).detach()[0, -1].sum(1)  # S
            nats = float((likely - unseen)[first:last].sum().detach())
            found.append(Grounded(word, nats, _grid(gain[1:])))
    return found


def ground_captions(
    talker: Talker, images: ImageInput | Iterable[ImageInput], limits: Limits | None = None, saying: Saying = USUAL,
    language: str | None = None,
) -> Iterator[tuple[Answer, np.ndarray | None]]:  # fmt: skip
    """A caption of each image with `details["words"]`, of which each has its "word" and "nats"; and a picture of where
    the model looked for each. What cannot be read is answered with its reason."""
    asks = talker.request(language)
    for batch in decoded_batches(each(images), limits or Limits()):
        for key, image in batch:
            if isinstance(image, str):
                yield Answer(key, refused=image), None
                continue
            asking = Asking(talker.see([image]), asks)
            (said,) = talker.say([asking], saying)
            words = ground(talker, asking, said)
            told = [{"word": one.word, "nats": round(one.nats, 3)} for one in words]
            yield Answer(key, said, None, {"words": told}), draw_words(image, words)


def draw_words(image: np.ndarray, words: list[Grounded]) -> UInt8[np.ndarray, "H W 3"]:
    """The image once for each word, red where it made the word likelier, as strongly as in the part that did most for
    any (punctuation aside), below a line that says so."""
    small = np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)).astype(float)
    most = max((float(one.heat.max()) for one in words if any(map(str.isalnum, one.word))), default=0.0)
    num_rows = max(1, -(-len(words) // _COLUMNS))
    width, height = _COLUMNS * (_SIDE + _GAP) + _GAP, num_rows * (_SIDE + _LINE + _GAP) + _LINE + _GAP
    page = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    pen.text((_GAP, 4), _LEGEND, fill=(0, 0, 0), font=ImageFont.load_default(14))
    for number, one in enumerate(words):
        left = _GAP + number % _COLUMNS * (_SIDE + _GAP)
        top = _LINE + _GAP + number // _COLUMNS * (_SIDE + _LINE + _GAP)
        heat = Image.fromarray((one.heat / (most or 1.0)).clip(0, 1).astype(np.float32))
        share = np.asarray(heat.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))[..., None] * 0.75
        page.paste(Image.fromarray((small * (1 - share) + _HOT * share).clip(0, 255).astype(np.uint8)), (left, top))
        text = f"{one.word}  {one.nats:+z.1f}"
        pen.text((left, top + _SIDE + 4), text, fill=(0, 0, 0), font=ImageFont.load_default(16))
    return np.asarray(page)


def _grid(gain: Float[Tensor, " P"]) -> Float[np.ndarray, "side side"]:
    side = int(len(gain) ** 0.5)
    return gain.reshape(side, side).cpu().numpy()


def _words(talker: Talker, tokens: list[int]) -> Iterator[tuple[str, int, int]]:
    """Words with their first token and the one after their last; a token that only goes on a word belongs to it."""
    first, shown, rows = 0, "", talker.rows
    kept = [at for at, token in enumerate(tokens) if token not in rows.stops]
    for at in kept:
        text = rows.text(tokens[: at + 1])
        grown = text[len(shown) :]
        if at > first and grown[:1].isspace():
            yield shown.split()[-1] if shown.split() else shown, first, at
            first = at
        shown = text
    if kept:
        yield shown.split()[-1] if shown.split() else shown, first, kept[-1] + 1
