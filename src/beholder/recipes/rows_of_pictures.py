"""Pictures in rows on white, as a PNG: what samples along the way and sheets of a report look like."""

from __future__ import annotations

import io
import itertools
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from beholder.runtime.files import told_kindly, write_whole

_PLAINER = str.maketrans("‘’‚“”„–—−ß", "'''\"\"\"---s")
_GAP, _WIDE_GAP, _LEAST_SIDE, _TITLE_HEIGHT = 3, 14, 72, 16


def lay_out(
    rows: Sequence[Sequence[UInt8[np.ndarray, "S S 3"]]], wide_after: Collection[int] = ()
) -> UInt8[np.ndarray, "H W 3"]:
    """Squares of one size, small ones enlarged; `wide_after` so many pictures the gap is wide."""
    side = len(rows[0][0])
    times = max(1, -(-_LEAST_SIDE // side))
    step = side * times
    lefts = [number * (step + _GAP) + (_WIDE_GAP - _GAP) * sum(number >= after for after in wide_after)
             for number in range(len(rows[0]))]  # fmt: skip
    whole = np.full((len(rows) * (step + _GAP) - _GAP, lefts[-1] + step, 3), 255, np.uint8)
    for number, row in enumerate(rows):
        top = number * (step + _GAP)
        for left, picture in zip(lefts, row, strict=True):
            whole[top : top + step, left : left + step] = picture.repeat(times, 0).repeat(times, 1)
    return whole


def stack(sheets: list[np.ndarray]) -> UInt8[np.ndarray, "H W 3"]:
    """Sheets of one width below each other."""
    gap = np.full((_WIDE_GAP, sheets[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for one in sheets for part in (one, gap)][:-1])


def titled(sheet: UInt8[np.ndarray, "H W 3"], title: str) -> UInt8[np.ndarray, "_ W 3"]:
    """The sheet under a line of small letters, which is cut where it is longer."""
    strip = Image.new("RGB", (sheet.shape[1], _TITLE_HEIGHT), "white")
    font = ImageFont.load_default()
    ImageDraw.Draw(strip).text((2, 2), known_letters(title), fill="black", font=font)
    return np.concatenate([np.asarray(strip), sheet])


def known_letters(text: str) -> str:
    """In letters that Pillow's own font surely has, those of ASCII: without accents, with plain quotation marks and
    dashes, and "?" for what is left then."""
    apart = unicodedata.normalize("NFKD", text.translate(_PLAINER))
    return "".join(one for one in apart if not unicodedata.combining(one)).encode("ascii", "replace").decode("ascii")


def as_png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


@runtime_checkable
class Keyed(Protocol):
    """What has the name of its image."""

    @property
    def key(self) -> str: ...


Named = TypeVar("Named", bound=Keyed)


def with_pictures(told: Iterable[tuple[Named, np.ndarray | None]], folder: Path, option: str) -> Iterator[Named]:
    """What is told of each image, once its picture is in the folder, under the image's name as PNG; of equal names
    the second gets a 2, and so on."""
    taken: set[str] = set()
    for one, picture in told:
        if picture is not None:
            stem = Path(one.key).stem
            names = (f"{stem}{'' if number == 1 else f'-{number}'}.png" for number in itertools.count(1))
            name = next(name for name in names if name not in taken)
            taken.add(name)
            with told_kindly(folder, option):
                folder.mkdir(parents=True, exist_ok=True)
                write_sheet(folder / name, picture)
        yield one


def write_sheet(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Into a PNG file."""
    write_whole(path, lambda temporary: Image.fromarray(pixels).save(temporary, "PNG"))
