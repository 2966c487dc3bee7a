"""Stages of `--regions`: images are taken apart, captions teach the names of what is in the parts, the speaker learns a
phrase about each, and then to join phrases and what is seen into one description."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32

from beholder.data.dialogues import Exchange
from beholder.data.parallel import decoded
from beholder.data.phrases import phrase_about
from beholder.metrics.things import Things
from beholder.models.names import Found, Names, NamesConfig, find
from beholder.models.seen import SeenTokens
from beholder.recipes.describe.look import Seen, save_array
from beholder.recipes.describe.material import Asked, Material
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.sitting import Sitting
from beholder.runtime.files import told_kindly
from beholder.runtime.seed import numpy_generator
from beholder.tasks.naming import LEAST_PROBABILITY, MOST_FOUND
from beholder.tasks.regions import about, after, say_phrases
from beholder.tasks.segments import NUM_PARTS, segments_of
from beholder.tasks.talk import Asking, Talker
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.train.names import fit_names
from beholder.types import UserError

_FEWEST, _LARGEST_SHARE = 5, 0.9
"""Images that a name must be said of to be learned, and share of all that it may be said of."""
_NUM_PHRASES = 3
"""Of an image, that are learned from."""
_HIDDEN_SHARE, _FALSE_SHARE, _SILENT_SHARE = 0.4, 0.3, 0.2
"""Of descriptions after phrases: how many are learned before no image; and of people's phrases how many are another
image's, and left out, as what is found in images is now and then false or not there."""


@dataclass(frozen=True)
class Naming:
    """What can be named, and what was found in each image; in those that are learned from, without their captions."""

    names: Names
    found: Mapping[int, list[Found]]
    likely: Mapping[int, Mapping[str, float]]
    """That people would name each thing in the images that are held out."""


def part_once(
    sitting: Sitting[DescribeTraining], material: Material, vision: SeenTokens, pixels: PixelConfig
) -> Float32[np.ndarray, "n K C"]:
    """The summary of each part of every image, mapped from a file."""
    path = sitting.run.scratch("parts") / "parts.npy"
    if not path.exists():
        device = sitting.device.torch_device
        vision.to(device)
        parts = []
        with sitting.log.progress("Parts", len(material.samples)) as advance, torch.inference_mode():
            for image in decoded(material.samples, sitting.limits, sitting.device.num_threads):
                segments = segments_of(image, vision, pixels, sitting.device)
                crops = [one.box.crop(image) for one in segments]
                summaries = vision(prepare(crops, pixels).to(device))[:, 0].float().cpu().numpy()
                parts.append(summaries[np.arange(NUM_PARTS) % len(summaries)])
                advance(1)
        with told_kindly(path.parent):
            save_array(path, np.stack(parts))
    return np.load(path, mmap_mode="r")


def names_to_learn(sitting: Sitting[DescribeTraining], material: Material, things: Things) -> tuple[str, ...]:
    """Names that captions have often enough to learn from. Raises UserError for fewer than two."""
    counts = Counter(name for one in material.asked["train"] for name in things_said(one, things))
    most = _LARGEST_SHARE * len(material.asked["train"])
    kept = sorted(name for name, count in counts.items() if _FEWEST <= count <= most)
    if len(kept) < 2:
        raise UserError(
            f"{sitting.data} names {len(kept)} known things in at least {_FEWEST} images, and regions need 2; give a "
            "list of what your captions name by --things FILE, a thing a line."
        )
    return tuple(kept)


def learn_names(
    sitting: Sitting[DescribeTraining], material: Material, seen: Seen, things: Things, names: tuple[str, ...]
) -> Naming:
    """Which of the names fit which image, and which of its parts."""
    assert seen.parts is not None, "the images were not taken apart"
    learned = [one.images[0] for one in material.asked["train"]]
    said = [things_said(one, things) for one in material.asked["train"]]
    config = NamesConfig(seen.table.shape[-1], names, tuple(things.thing_of[name] for name in names))
    is_named = np.array([[name in found for name in names] for found in said])
    whole, parts = torch.from_numpy(seen.table[learned, 0, 0]), torch.from_numpy(seen.parts[learned])
    fit = fit_names(config, whole, parts, is_named, material.groups[learned])
    found = {
        image: find(config, fit.probabilities[row], fit.scores[row], LEAST_PROBABILITY, MOST_FOUND)
        for row, image in enumerate(learned)
    }
    likely: dict[int, Mapping[str, float]] = {}
    for part in ("validation", "test"):
        for one in material.asked[part]:
            image = one.images[0]
            own = torch.from_numpy(np.array(seen.table[image, 0, 0])), torch.from_numpy(np.array(seen.parts[image]))
            named = fit.names.find(*own, LEAST_PROBABILITY, MOST_FOUND)
            found[image], likely[image] = named.found, named.likely
    sitting.log.stage(
        "Names", f"{len(names):,} names, found {np.mean([len(one) for one in found.values()]):.1f} an image"
    )
    return Naming(fit.names, found, likely)


def things_said(one: Asked, things: Things) -> set[str]:
    """Names that any of its captions has."""
    return {name for exchange in one.exchanges for text in exchange.answers for name in things.names_in(text)}


def phrases_to_learn(material: Material, naming: Naming) -> tuple[Asked, ...]:
    """Of each image that is learned from, some of what was found and is there: the part, its name, and people's phrases
    about it."""
    return tuple(itertools.chain.from_iterable(_phrases_of(one, naming) for one in material.asked["train"]))


def _phrases_of(one: Asked, naming: Naming, most: int = _NUM_PHRASES) -> Iterator[Asked]:
    texts = [text for exchange in one.exchanges for text in exchange.answers]
    told = 0
    for found in naming.found[one.images[0]]:
        phrases = tuple(phrase for text in texts if (phrase := phrase_about(found.name, text)) is not None)
        if phrases and told < most:
            told += 1
            yield _about(one.images[0], found, phrases)


@dataclass(frozen=True)
class Joined:
    """Captions that are asked for after phrases about parts of their image."""

    asked: Asked
    """The parts, and then the whole."""
    phrases: tuple[str, ...]

    def without_phrases(self) -> Asked:
        """After a look at the parts alone."""
        return _asked_after(self.asked, [""] * len(self.phrases), self.asked.parts[:-1])


def join(
    sitting: Sitting[DescribeTraining], asked: Sequence[Asked], seen: Seen, naming: Naming, talker: Talker, stage: str
) -> list[Joined]:
    """The same captions, asked for after what the speaker says now of each thing that was found; once a stage."""
    images = list(dict.fromkeys(one.images[0] for one in asked))
    phrases = sitting.run.stage(stage, lambda: _say_phrases(sitting, images, seen, naming, talker))
    joined = []
    for one in asked:
        told, found = tuple(phrases[str(one.images[0])]), naming.found[one.images[0]]
        joined.append(Joined(_asked_after(one, told, [each.region for each in found]), told))
    return joined


def to_join(joined: Sequence[Joined], material: Material, naming: Naming, seed: int) -> tuple[Asked, ...]:
    """What joining is learned from: after the speaker's phrases, often before no image, so that they count; after none;
    and after people's phrases about the image, and some that are wrong, before no image."""
    generator = numpy_generator(seed, "told")
    said = {one.images[0]: list(_phrases_of(one, naming, MOST_FOUND)) for one in material.asked["train"]}
    heard = [text for listed in said.values() for each in listed for text in each.exchanges[0].answers]
    lessons: list[Asked] = []
    for one in joined:
        told = [str(generator.choice(each.exchanges[0].answers)) for each in said[one.asked.images[0]]]
        told = [str(generator.choice(heard)) if generator.random() < _FALSE_SHARE else text for text in told]
        kept = [text for text in told if generator.random() >= _SILENT_SHARE]
        lessons += [
            replace(one.asked, hidden_share=_HIDDEN_SHARE), replace(one.asked, hidden_share=_HIDDEN_SHARE),
            one.without_phrases(), replace(_asked_after(one.asked, kept, [0] * len(kept)), hidden_share=1.0),
        ]  # fmt: skip
    return tuple(lessons)


def _asked_after(one: Asked, phrases: Sequence[str], parts: Sequence[int | None]) -> Asked:
    """The same captions, asked for after each part with a phrase, and then the whole."""
    exchanges = tuple(replace(each, question=after(phrases)) for each in one.exchanges)
    return Asked(one.images[:1] * (len(parts) + 1), exchanges, (*parts, None))


def _say_phrases(
    sitting: Sitting[DescribeTraining], images: Sequence[int], seen: Seen, naming: Naming, talker: Talker
) -> dict[str, list[str]]:
    """Of each image by its row, as JSON has it."""
    asked = [
        Asking(seen.shown([one := _about(image, found)])[0], one.exchanges[0].question)
        for image in images
        for found in naming.found[image]
    ]
    with sitting.log.progress("Phrases", len(asked)) as advance:
        said = iter(say_phrases(talker, asked, advance))
    return {str(image): [next(said) for _ in naming.found[image]] for image in images}


def _about(image: int, found: Found, phrases: tuple[str, ...] = ()) -> Asked:
    """A part of an image by its name."""
    return Asked((image, image), (Exchange(about(found.name), phrases),), (found.region, found.region))
