"""Put something else into a part of a picture: what fits there, or what is asked for; the rest stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from beholder.data.decode import Limits, Unreadable
from beholder.data.masks import hole_in, read_hole
from beholder.inference.unmask import UnmaskConfig
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import ImageInput, decoded_batches
from beholder.tasks.masked_pictures import USUAL, MaskedPictures, Wish, open_masked
from beholder.tasks.provenance import check_drawing, describe_origin, write_picture
from beholder.types import UserError

MaskInput = str | Path | Image.Image | np.ndarray
"""A file, a Pillow image, or an array H W (or H W C) of bytes or truths: what is transparent is to be replaced, or,
where nothing is, what is not 0."""
NOTHING = Wish()


@dataclass(frozen=True)
class Painted:
    """One picture, in part or as a whole painted and not photographed."""

    picture: UInt8[np.ndarray, "H W 3"]
    origin: dict[str, Any]
    """What is written into the file: model, prompt, seed, settings."""
    notes: tuple[str, ...] = field(default=())
    """What the user should know."""

    def save(self, path: str | Path) -> None:
        """Write a PNG that carries its origin. Raises UserError for another ending."""
        write_picture(Path(path), self.picture, self.origin)


@dataclass(frozen=True)
class Window:
    """The square of a picture that a model reads: as long as the shorter side, where it covers the mask."""

    top: int
    left: int
    side: int

    @property
    def within(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


def inpaint(
    part: Part,
    image: ImageInput,
    mask: MaskInput,
    *,
    wish: Wish = NOTHING,
    count: int = 1,
    decoding: UnmaskConfig = USUAL,
    seed: int = 0,
    batch_size: int = 64,
    device: Device | None = None,
    limits: Limits | None = None,
) -> list[Painted]:
    """So many versions of the picture with something else where the mask says so, of seeds from `seed` on: where it is
    transparent, as OpenAI has it, or, where it is nowhere, not 0.

    Outside of the mask the picture stays as it is, at its own size. The model reads a square of it; where that is no
    square of the model's side, what is painted is enlarged or shrunk to fit, and that is told. Raises UserError for a
    picture that cannot be read or is smaller than a patch, for a mask of another size, an empty or a full one, or one
    that no such square covers, for counts below 1, and for a class or words that the model does not know.
    """
    check_drawing(count, batch_size, seed)
    painter, limits = open_masked(part, device or pick_device()), limits or Limits()
    notes = painter.check(wish)
    pixels, name = _decoded(image, limits, part.need_codec().config.stride)
    hole, told = _read_hole(mask, limits, pixels, name)
    notes += told
    window = _find_window(hole, _name_of(mask))
    square, hole_in_square = _shrink(pixels[window.within], hole[window.within], painter)
    painted = painter.mend(
        np.repeat(square[None], count, 0), np.repeat(hole_in_square[None], count, 0), [wish] * count, decoding, seed,
        batch_size,
    )  # fmt: skip
    notes += _told(pixels, window, painter.pictures.side)
    files = [Path(one) for one in (image, mask) if isinstance(one, str | Path)]
    settings = {
        "label": wish.label, "text": wish.prompt, "steps": decoding.num_steps, "temperature": decoding.temperature,
        "guidance": decoding.guidance, "codec": part.need_codec().fingerprint,
    }  # fmt: skip
    verb = "inpaint" if wish.is_empty else "edit"
    return [
        Painted(
            _put_back(pixels, one, hole, window),
            describe_origin(verb, part.fingerprint, seed + number, files, **settings),
            tuple(notes),
        )
        for number, one in enumerate(painted)
    ]


def paint(
    part: Part,
    *,
    wish: Wish = NOTHING,
    count: int = 1,
    decoding: UnmaskConfig = USUAL,
    seed: int = 0,
    batch_size: int = 64,
    device: Device | None = None,
) -> list[Painted]:
    """So many pictures from nothing, of the class or caption that is asked for, of seeds from `seed` on: squares of the
    model's side. Raises UserError as `inpaint` does."""
    check_drawing(count, batch_size, seed)
    painter = open_masked(part, device or pick_device())
    notes = tuple(painter.check(wish))
    pictures = painter.pictures.decode(painter.paint([wish] * count, decoding, seed, batch_size))
    settings = {"label": wish.label, "steps": decoding.num_steps, "temperature": decoding.temperature,
                "guidance": decoding.guidance}  # fmt: skip
    return [
        Painted(one, describe_origin("generate", part.fingerprint, seed + number, wish.prompt or "", **settings), notes)
        for number, one in enumerate(pictures)
    ]


def _decoded(image: ImageInput, limits: Limits, patch: int) -> tuple[np.ndarray, str]:
    ((name, pixels),) = next(iter(decoded_batches([image], limits)))
    if isinstance(pixels, str):
        raise UserError(f"{name} cannot be read ({pixels}); give a picture.")
    if min(pixels.shape[:2]) < patch:
        raise UserError(
            f"{name} has {pixels.shape[1]} x {pixels.shape[0]} pixels, and one code of the model stands for {patch} x "
            f"{patch}; give a larger picture."
        )
    return pixels, name


def _read_hole(
    mask: MaskInput, limits: Limits, pixels: np.ndarray, name: str
) -> tuple[Bool[np.ndarray, "H W"], list[str]]:
    """And what is to be told of it. Raises UserError for a mask that cannot be read, is of another size, empty or
    full."""
    told = _name_of(mask)
    hole, notes = _hole_of(mask, limits)
    if hole.shape != pixels.shape[:2]:
        raise UserError(
            f"{told} has {hole.shape[1]} x {hole.shape[0]} pixels and {name} {pixels.shape[1]} x {pixels.shape[0]}; a "
            "mask has its picture's size."
        )
    if not hole.any():
        raise UserError(f"{told} is empty; what is to be replaced is white in it, or anything but black.")
    if hole.all():
        raise UserError(
            f"{told} covers the whole picture, so that nothing would be left of it; leave some of it black."
        )
    return hole, notes


def _hole_of(mask: MaskInput, limits: Limits) -> tuple[Bool[np.ndarray, "H W"], list[str]]:
    if isinstance(mask, str | Path):
        try:
            return read_hole(Path(mask), limits)
        except Unreadable as error:
            raise UserError(f"--mask {mask} cannot be read ({error.reason}); give a picture.") from error
    is_array = isinstance(mask, np.ndarray) and mask.ndim in (2, 3) and mask.dtype.kind in "uib"
    if not is_array and not isinstance(mask, Image.Image):
        shown = f"an array {mask.shape} of {mask.dtype}" if isinstance(mask, np.ndarray) else f"{mask!r:.60}"
        raise UserError(f"The mask is {shown}; give a file, a Pillow image, or an array H W of bytes or truths.")
    try:
        return hole_in(mask)
    except Unreadable as error:
        raise UserError(f"The mask cannot be read ({error.reason}); give a picture.") from error


def _name_of(mask: MaskInput) -> str:
    return f"--mask {mask}" if isinstance(mask, str | Path) else "The mask"


def _find_window(hole: Bool[np.ndarray, "H W"], told: str) -> Window:
    """Raises UserError where the mask is longer than the shorter side."""
    side = min(hole.shape)
    starts = []
    for axis, length in enumerate(hole.shape):
        places = np.flatnonzero(hole.any(1 - axis))
        first, last = int(places[0]), int(places[-1])
        if last - first >= side:
            raise UserError(
                f"{told} is {last - first + 1} pixels long, and the model reads squares of the shorter side, {side}; "
                "mask less at a time, or cut the picture."
            )
        middle = (first + last + 1) // 2 - side // 2
        nearest = (length - side) // 2  # the middle of the picture, where the model has learned, if the mask lies in it
        start = nearest if nearest <= first and last < nearest + side else middle
        starts.append(min(max(start, 0), length - side))
    return Window(starts[0], starts[1], side)


def _shrink(
    square: UInt8[np.ndarray, "M M 3"], hole: Bool[np.ndarray, "M M"], painter: MaskedPictures
) -> tuple[UInt8[np.ndarray, "S S 3"], Bool[np.ndarray, "S S"]]:
    """At the model's side. What the mask touches in part is masked as a whole."""
    side = painter.pictures.side
    if len(square) == side:
        return square, hole
    known = np.where(hole[..., None], square[~hole].mean(0).round().astype(np.uint8) if (~hole).any() else 127, square)
    touched = np.asarray(Image.fromarray(hole.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
    return painter.pictures.square(known.astype(np.uint8)), np.abs(touched) > 1e-3


def _put_back(
    pixels: UInt8[np.ndarray, "H W 3"],
    painted: UInt8[np.ndarray, "S S 3"],
    hole: Bool[np.ndarray, "H W"],
    window: Window,
) -> UInt8[np.ndarray, "H W 3"]:
    large = np.asarray(Image.fromarray(painted).resize((window.side, window.side), Image.Resampling.BICUBIC))
    whole = pixels.copy()
    inside = whole[window.within]  # a view
    where = hole[window.within]
    inside[where] = large[where]
    return whole


def _told(pixels: np.ndarray, window: Window, side: int) -> list[str]:
    notes = []
    if pixels.shape[0] != pixels.shape[1]:
        notes.append(
            f"the model reads a square of {window.side} x {window.side} pixels, from row {window.top} and column "
            f"{window.left}; what lies beside it is not seen"
        )
    if window.side != side:
        notes.append(f"what is painted has the detail of {side} x {side} pixels, made {window.side} x {window.side}")
    return notes


def names_of(out: Path, count: int) -> list[Path]:
    """One file (x.png), or several beside each other (x-1.png, x-2.png, ...)."""
    return [out] if count == 1 else [out.with_name(f"{out.stem}-{row}{out.suffix}") for row in range(1, count + 1)]


def save_all(painted: Sequence[Painted], out: Path) -> list[Path]:
    """Into the files of `names_of`, which it gives."""
    names = names_of(out, len(painted))
    for one, name in zip(painted, names, strict=True):
        one.save(name)
    return names
