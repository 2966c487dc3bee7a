"""One sample to 8-bit RGB pixels, or one phrase that says why not. Nothing but `Unreadable` leaves this file."""

from __future__ import annotations

import errno
import functools
import io
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from beholder.data.dicom import MAGIC, MAGIC_OFFSET, DicomError, dicom_pixels, dicom_size, open_dicom
from beholder.data.muting import muted
from beholder.data.tones import to_rgb
from beholder.types import Sample, UserError

DICOM_EXTENSIONS = frozenset({".dcm", ".dicom"})

_NOT_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow only recognises, or decodes by starting another program (EPS runs Ghostscript)."""

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Limits:
    """Which pictures are worth decoding."""

    max_pixels: int = 100_000_000
    """Width x height as the header tells it; more is refused before any pixel is decoded."""
    min_side: int = 4
    """The shorter side must have at least so many pixels."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise UserError(f"--max-pixels {self.max_pixels}: an image has at least one pixel; give a larger number.")


class Unreadable(Exception):
    """A sample that gives no pixels; `reason` is one phrase for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_OF_THE_MOMENT = frozenset(os.strerror(code).lower() for code in errno.errorcode) | {"no such file", "link loop"}


def may_pass(reason: str) -> bool:
    """Whether an `Unreadable` may be over though the file is the same: rights, a disk, memory, a library not there."""
    reason = reason.removeprefix("cannot be read: ")  # as it was said before
    return (
        reason in _OF_THE_MOMENT
        or reason.startswith(("needs ", "DICOM needs "))
        or any(words in reason for words in ("out of memory", "not available"))
    )


@dataclass(frozen=True)
class Picture:
    """Decoded pixels, perhaps at reduced scale, and the size that the file has."""

    pixels: UInt8[np.ndarray, "H W 3"]
    width: int
    """Of the whole picture, after its orientation is applied."""
    height: int


def decode(sample: Sample, limits: Limits | None = None, at_least: int | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """The sample's pixels: first frame, orientation applied, on white where transparent, 8-bit RGB (see `tones`).

    `at_least`: a JPEG may come at 1/2, 1/4 or 1/8 scale as long as its shorter side keeps so many pixels (faster).
    Safe to call from many threads. Raises Unreadable, and nothing else, for bad content.
    """
    return read_picture(sample, limits, at_least).pixels


def read_picture(sample: Sample, limits: Limits | None = None, at_least: int | None = None) -> Picture:
    """Like `decode`, with the size of the whole picture beside the pixels."""
    content = _read_bytes(sample)
    try:
        with muted():
            if _looks_like_dicom(content, sample):
                return _read_dicom(content, limits or Limits())
            return _read_with_pillow(content, limits or Limits(), at_least)
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable("needs more memory than there is") from None
    except Exception as error:  # decoders raise whatever their parsing trips over: struct.error, KeyError, ...
        raise Unreadable(_reason(error)) from error


@functools.cache
def image_extensions() -> frozenset[str]:
    """Lower-case file extensions, with the dot, that are taken for pictures."""
    Image.init()
    known = {extension for extension, name in Image.registered_extensions().items() if name in _formats()}
    return frozenset(known | DICOM_EXTENSIONS)


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _NOT_PICTURES)


def pixels_of(image: Image.Image, limits: Limits | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a Pillow image as it is (no orientation is applied); it may still lie undecoded in its file.

    Raises Unreadable, and nothing else, for bad content.
    """
    try:
        _check_size(*image.size, limits or Limits())
        with muted():
            return np.asarray(to_rgb(image))
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable("needs more memory than there is") from None
    except Exception as error:  # as in read_picture
        raise Unreadable(_reason(error)) from error


def _read_bytes(sample: Sample) -> bytes:
    if sample.data is not None:
        content = sample.data
    else:
        assert sample.path is not None, "a sample has a path or bytes"
        try:
            if not stat.S_ISREG(Path(sample.path).stat().st_mode):  # a pipe or device would be read without end
                raise Unreadable("not a regular file")
            content = Path(sample.path).read_bytes()
        except ValueError:
            raise Unreadable("no such file: the name has a null character") from None
        except FileNotFoundError:
            raise Unreadable("no such file") from None
        except PermissionError:
            raise Unreadable("permission denied") from None
        except OSError as error:
            reason = "link loop" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
            raise Unreadable(reason) from None
    if not content:
        raise Unreadable("empty file")
    return content


def _looks_like_dicom(content: bytes, sample: Sample) -> bool:
    if content[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC:
        return True
    return sample.path is not None and sample.path.suffix.lower() in DICOM_EXTENSIONS


def _read_dicom(content: bytes, limits: Limits) -> Picture:
    try:
        dataset = open_dicom(content)
    except DicomError as error:
        raise Unreadable(str(error)) from None
    width, height = dicom_size(dataset)
    _check_size(width, height, limits)
    return Picture(dicom_pixels(dataset), width, height)


def _read_with_pillow(content: bytes, limits: Limits, at_least: int | None) -> Picture:
    with open_image(content) as image:
        width, height = image.size
        _check_size(width, height, limits)
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # does nothing for formats other than JPEG
        image.load()
        transpose = orientation(image)
        rgb = to_rgb(image)
    # Pillow turns some formats on load (TIFF); the shape tells whether the sides were swapped.
    pixels = np.asarray(rgb if transpose is None else rgb.transpose(transpose))
    if pixels.shape[0] != pixels.shape[1] and (pixels.shape[0] > pixels.shape[1]) != (height > width):
        width, height = height, width
    return Picture(pixels, width, height)


def open_image(content: bytes) -> Image.Image:
    """What Pillow's header parsers, one after the other, make of it; not decoded yet. Raises Unreadable.

    `Image.open` is not called because its own guard against decompression bombs warns, or refuses without telling the
    size, before `Limits` can speak.
    """
    prefix, recognised = content[:16], False
    for name in _formats():
        factory, accept = Image.OPEN[name]
        if accept is not None:
            accepted = accept(prefix)
            if not accepted or isinstance(accepted, str):
                continue
            recognised = True
        try:
            return factory(io.BytesIO(content), "")
        except (SyntaxError, IndexError, TypeError, KeyError, ValueError, EOFError, OSError, struct.error):
            continue  # this parser does not know it
    if recognised:
        raise Unreadable("truncated or damaged header")
    raise Unreadable("not an image (text file?)" if _is_text(content[:4096]) else "not an image")


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", errors="replace")
    readable = sum((letter.isprintable() or letter.isspace()) and letter != "\ufffd" for letter in text)
    return readable > 0.95 * len(text)


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise Unreadable(f"{width:,} x {height:,} pixels; the limit is {limits.max_pixels:,} (--max-pixels)")
    if min(width, height) < limits.min_side:
        raise Unreadable(f"{width:,} x {height:,} pixels; the shorter side must have at least {limits.min_side}")


def orientation(image: Image.Image) -> Image.Transpose | None:
    """How its EXIF block has it turned; None for as it is."""
    try:
        return _ORIENTATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are fine
        return None


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".").splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, Image.DecompressionBombError):  # some plugins ask again on load, whatever our limit
        return "more pixels than Pillow decodes in this format"
    if isinstance(error, EOFError) or "truncated" in text.lower() or "not enough" in text.lower():
        return "truncated"
    return f"damaged ({text})"
