"""The long way to a description, for whoever asks: which parts, which names, which model, and a picture of each step.

    beholder describe photo.png --regions --model runs/describe --out pictures/

Without a captioner what is in the parts is named, by ImageNet's classes or by names of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from beholder.data.boxes import read_boxes
from beholder.data.decode import Limits
from beholder.data.lines import read_lines
from beholder.pretrained.describer_folder import embedded_vision
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.load import load
from beholder.recipes.rows_of_pictures import with_pictures
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import ImageInput
from beholder.tasks.naming import Namer, by_captions, by_classes, by_space
from beholder.tasks.regions import Described, Finder, describe_regions, find_regions
from beholder.tasks.regions_picture import draw_regions
from beholder.tasks.saying import USUAL, Saying
from beholder.tasks.shared_space import open_space
from beholder.tasks.talk import Talker, open_talker
from beholder.tokenizers.pixels import PixelConfig

_SIDE = 4


def describe_by_regions(
    images: ImageInput | Sequence[ImageInput],
    model: str | Path = DEFAULT_PAIRS,
    *,
    boxes: str | Path | None = None,
    names: str | Path | None = None,
    pairs: str | Path = DEFAULT_PAIRS,
    out: str | Path | None = None,
    saying: Saying = USUAL,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> Iterator[Described]:
    """What is found in parts of each image, a phrase about each, the caption of the whole, and the description that
    joins them, by a model of `train describe --regions`; "embedded" names what it finds and says no more.

    `boxes` is a file of boxes that a detector found (`data.boxes.read_boxes`), instead of parts that are found here;
    `names` a text file of what may be named, a name a line, which the model of images and texts `pairs` tells apart
    without training. Into the folder `out` goes a picture of each image with its boxes and texts.

    Raises UserError for a model that did not learn to join, and for files that cannot be used.
    """
    picked, limits = pick_device(device, threads), Limits(max_pixels=max_pixels)
    given = None if boxes is None else read_boxes(Path(boxes))
    listed = None if names is None else read_lines(Path(names), "--names")
    talker = None if model == DEFAULT_PAIRS else open_talker(load(model), picked)
    namer = None if listed is None else by_space(open_space(load(pairs), picked), listed)
    if talker is None:
        vision = embedded_vision(_SIDE).to(picked.torch_device)
        finder = Finder(vision, PixelConfig(), picked, namer or by_classes(picked), given)
        found = find_regions(finder, images, limits)
    else:
        finder = Finder(talker.model.vision, talker.pixels, picked, namer or _own(talker, picked), given)
        found = describe_regions(talker, finder, images, limits, saying)
    if out is None:
        yield from found
        return
    drawn = ((one, None if one.refused is not None else draw_regions(one)) for one in found)
    yield from with_pictures(drawn, Path(out), "--out")


def _own(talker: Talker, device: Device) -> Namer:
    """What the model's captions taught it to name, else classes."""
    if talker.model.names is None:
        return by_classes(device)
    return by_captions(talker.model.names, talker.model.vision, talker.pixels, device)
