"""The long way to a description: parts of an image, what is in them, a phrase about each, and all of it, with what is
seen, joined by the language model into one text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beholder.data.boxes import Box, GivenBox, boxes_of
from beholder.data.conversations import MARK, REGION
from beholder.data.decode import Limits
from beholder.metrics.things import Things
from beholder.models.seen import SeenTokens, shown_briefly
from beholder.runtime.device import Device
from beholder.tasks.embed import ImageInput, decoded_batches, each
from beholder.tasks.naming import Namer
from beholder.tasks.saying import USUAL, Saying
from beholder.tasks.segments import segments_of
from beholder.tasks.talk import Asking, Talker
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import UserError

_PHRASE = Saying(num_beams=1, num_tokens=12)
_NUM_CHECKED = 10
"""Beams of a description, at least, of which one is told."""
_CHECK, _DOUBT = 0.8, 0.3
"""Mean log-probability a token that a description gains by naming what is surely there, and how likely a thing is that
gains and loses nothing; chosen on Flickr8k's validation photos (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Region:
    """One thing that was found, and what is said of it."""

    box: Box
    name: str
    probability: float | None = None
    """None where a name was given."""
    phrase: str | None = None


@dataclass(frozen=True)
class Described:
    """Every step of the way; or why there is none."""

    key: str
    image: np.ndarray | None = None
    """H W 3 bytes."""
    regions: tuple[Region, ...] = ()
    likely: Mapping[str, float] = field(default_factory=dict)
    """That people would name each thing; nothing where that is not known."""
    caption: str | None = None
    """What is said of the whole image alone; None without a captioner."""
    description: str | None = None
    refused: str | None = None

    def told(self) -> dict[str, Any]:
        """JSON values: boxes as left, top, width and height in pixels."""
        regions = []
        for region in self.regions:
            assert self.image is not None
            left, top, right, bottom = region.box.pixels(*self.image.shape[:2])
            regions.append(
                {
                    "box": [left, top, right - left, bottom - top],
                    "name": region.name,
                    "probability": region.probability,
                    "phrase": region.phrase,
                }
            )
        return {"caption": self.caption, "regions": regions}


@dataclass(frozen=True)
class Finder:
    """What takes images apart and names what is in the parts."""

    vision: SeenTokens
    """On the device."""
    pixels: PixelConfig
    device: Device
    namer: Namer
    given: Mapping[str, list[GivenBox]] | None = None
    """Boxes of a detector, as `read_boxes` gives them; None: parts are found here."""

    def find(self, key: str, image: np.ndarray) -> Described:
        """What is in an image, so far. Raises UserError where boxes were given, and none for it."""
        if self.given is None:
            boxes = [one.box for one in segments_of(image, self.vision, self.pixels, self.device)]
            named = self.namer(image, [box.crop(image) for box in boxes])
            regions = [Region(boxes[one.region], one.name, one.probability) for one in named.found]
            return Described(key, image, tuple(regions), named.likely)
        boxes, size = boxes_of(self.given, key), image.shape[:2]
        for one in boxes:
            if not one.is_within(*size):
                where = [one.left, one.top, one.width, one.height]
                raise UserError(f"the box {where} lies outside its {size[1]} x {size[0]} pixels")
        nameless = [one.within(*size) for one in boxes if one.name is None]
        found = self.namer(image, [box.crop(image) for box in nameless]).found if nameless else []
        regions = [Region(one.within(*size), one.name, one.probability) for one in boxes if one.name is not None]
        regions += [Region(nameless[one.region], one.name, one.probability) for one in found]
        return Described(key, image, tuple(regions))


def find_regions(
    finder: Finder, images: ImageInput | Iterable[ImageInput], limits: Limits | None = None
) -> Iterator[Described]:
    """Names of what is in each image, and where, without a captioner."""
    for batch in decoded_batches(each(images), limits or Limits()):
        for key, image in batch:
            yield _found(finder, key, image)


def describe_regions(
    talker: Talker,
    finder: Finder,
    images: ImageInput | Iterable[ImageInput],
    limits: Limits | None = None,
    saying: Saying = USUAL,
) -> Iterator[Described]:
    """The whole chain for each image; what cannot be read is told with its reason, and the rest goes on. Raises
    UserError for a model that did not learn to join phrases."""
    if "regions" not in talker.can:
        raise UserError(
            "This model describes whole images and did not learn to join what is said of their parts; train one that "
            "does: beholder train describe --regions --data PAIRS --out runs/describe"
        )
    for batch in decoded_batches(each(images), limits or Limits()):
        found = [_found(finder, key, image) for key, image in batch]
        readable = [one for one in found if one.image is not None]
        described = iter(_describe(talker, readable, saying))
        for one in found:
            yield one if one.refused is not None else next(described)


def say_phrases(
    talker: Talker, asked: Sequence[Asking], on_said: Callable[[int], None] = lambda count: None
) -> list[str]:
    """A phrase about each thing, from its part and its name."""
    return talker.say(asked, _PHRASE, on_said)


def describe_checked(
    talker: Talker,
    asked: Sequence[Asking],
    likely: Sequence[Mapping[str, float]],
    saying: Saying = USUAL,
    on_said: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Of the descriptions that beams find for each, the one that is likeliest and names what is likely to be there;
    drawn ones are told as they come."""
    if saying.sampling is not None:
        return talker.say(asked, saying, on_said)
    names = talker.model.names
    things = Things({} if names is None else dict(zip(names.config.names, names.config.things, strict=True)))
    several = talker.say_several(asked, replace(saying, num_beams=max(saying.num_beams, _NUM_CHECKED)), on_said)

    def worth(told: tuple[float, str], known: Mapping[str, float]) -> float:
        return told[0] + _CHECK * sum(known[thing] - _DOUBT for thing in things.things_in(told[1]) if thing in known)

    return [max(listed, key=lambda told: worth(told, known))[1] for listed, known in zip(several, likely, strict=True)]


def about(name: str) -> str:
    """What asks for a phrase about a part, shown before its name is told and after it."""
    return f"{REGION} {name} {REGION}"


def after(phrases: Sequence[str]) -> str:
    """What asks for a description of a whole image after phrases about its parts, shown in this order."""
    return "".join(f"{REGION} {phrase} " for phrase in phrases) + MARK


def _found(finder: Finder, key: str, image: np.ndarray | str) -> Described:
    if isinstance(image, str):
        return Described(key, refused=image)
    try:
        return finder.find(key, image)
    except UserError as error:
        return Described(key, refused=str(error))


def _describe(talker: Talker, found: Sequence[Described], saying: Saying) -> list[Described]:
    if not found:
        return []
    whole = talker.see([_image(one) for one in found])
    parts = [_parts(talker, one) for one in found]
    asked = [
        Asking(part.expand(2, -1, -1), about(region.name))
        for one, seen in zip(found, parts, strict=True)
        for region, part in zip(one.regions, seen, strict=True)
    ]
    said = iter(say_phrases(talker, asked))
    found = [replace(one, regions=tuple(replace(region, phrase=next(said)) for region in one.regions)) for one in found]
    captions = talker.say([Asking(seen[None], MARK) for seen in whole], saying)
    joined = [
        Asking(torch.cat([seen, own[None]]), after([str(region.phrase) for region in one.regions]))
        for one, seen, own in zip(found, parts, whole, strict=True)
    ]
    described = describe_checked(talker, joined, [one.likely for one in found], saying)
    return [
        replace(one, caption=caption, description=description)
        for one, caption, description in zip(found, captions, described, strict=True)
    ]


def _parts(talker: Talker, one: Described) -> Float[Tensor, "K S C"]:
    """Each region as the model reads it: its summary."""
    speaker = talker.model.speaker
    if not one.regions:
        return torch.zeros(0, speaker.config.seen_tokens, speaker.config.seen_width)
    seen = talker.see([region.box.crop(_image(one)) for region in one.regions])
    return shown_briefly(seen[:, 0], seen.shape[1], speaker.seen_mean.cpu())


def _image(one: Described) -> np.ndarray:
    assert one.image is not None, "an image that was refused"
    return one.image
