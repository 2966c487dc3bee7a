"""Every file is either 8-bit RGB pixels or one phrase that says why not."""

from __future__ import annotations

import io
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from beholder.data.decode import Limits, Unreadable, decode, image_extensions, may_pass, read_picture
from beholder.data.tones import integers_to_bytes, stretch_to_bytes, to_rgb
from beholder.types import Sample


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def of(content: bytes) -> Sample:
    return Sample("x", data=content)


def refusal(sample: Sample, limits: Limits | None = None) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(sample, limits)
    return caught.value.reason


def picture(width: int = 40, height: int = 30) -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "GIF", "JPEG", "WEBP"])
def test_what_is_saved_is_read_back(kind):
    image = picture()
    pixels = decode(of(encoded(image, kind)))
    assert pixels.shape == (30, 40, 3) and pixels.dtype == np.uint8
    tolerance = 0 if kind in ("PNG", "BMP", "TIFF", "PPM", "TGA") else 15
    assert np.abs(pixels.astype(int) - np.asarray(image)).mean() <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"])
def test_every_colour_coding_becomes_rgb(mode):
    image = picture().convert("RGB")
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    else:
        image = image.convert(mode)
    assert to_rgb(image).mode == "RGB"
    if mode in ("YCbCr", "LAB", "HSV", "CMYK", "RGBA"):
        assert np.abs(np.asarray(to_rgb(image)).astype(int) - np.asarray(picture())).mean() < 4


def test_transparent_pixels_are_white():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    pixels = decode(of(encoded(image, "PNG")))
    assert pixels[0, 0].tolist() == [255, 0, 0] and pixels[4, 4].tolist() == [255, 255, 255]
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(of(encoded(palette, "PNG", transparency=1)))[0, 0].tolist() == [255, 255, 255]


def test_deep_grey_is_scaled_by_the_bits_it_needs():
    twelve_bits = np.linspace(0, 4095, 64, dtype=np.uint16).reshape(8, 8)
    pixels = decode(of(encoded(Image.fromarray(twelve_bits), "PNG")))
    assert pixels[0, 0, 0] == 0 and pixels[-1, -1, 0] == 255
    assert integers_to_bytes(np.array([0, 255])).tolist() == [0, 255]
    assert integers_to_bytes(np.array([0, 512, 1023])).tolist() == [0, 128, 255]
    assert integers_to_bytes(np.array([-5, 0, 5])).tolist() == [0, 128, 255]


def test_floats_are_stretched_and_what_is_not_finite_is_black():
    assert stretch_to_bytes(np.array([0.5, 1.0, np.nan, np.inf, 1.5])).tolist() == [0, 128, 0, 0, 255]
    assert stretch_to_bytes(np.full(3, np.nan)).tolist() == [0, 0, 0]
    floats = Image.fromarray(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8))
    assert decode(of(encoded(floats, "TIFF")))[-1, -1].tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_is_obeyed(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(40, 24), kind, exif=exif)
    seen = read_picture(of(content))
    with Image.open(io.BytesIO(content)) as image:
        expected = ImageOps.exif_transpose(image)
        assert np.array_equal(seen.pixels, np.asarray(expected.convert("RGB")))
    assert (seen.height, seen.width) == seen.pixels.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))


def test_the_first_frame_of_an_animation_is_read():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels = decode(of(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    assert pixels[0, 0].tolist() == [255, 0, 0]


def test_a_reduced_jpeg_is_smaller_and_still_large_enough():
    content = encoded(picture(1024, 800), "JPEG")
    seen = read_picture(of(content), at_least=128)
    assert (seen.width, seen.height) == (1024, 800)
    assert min(seen.pixels.shape[:2]) in range(128, 256)
    assert decode(of(encoded(picture(100, 80), "JPEG")), at_least=128).shape == (80, 100, 3)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_by_its_header():
    reason = refusal(of(png_header(50_000, 50_000)))
    assert reason == "50,000 x 50,000 pixels; the limit is 100,000,000 (--max-pixels)"


def test_pillows_own_pixel_limit_does_not_speak(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # below 1,200 it warns, and a warning is an error here
    for kind in ("PNG", "JPEG", "TIFF", "GIF"):
        assert decode(of(encoded(picture(40, 30), kind))).shape == (30, 40, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # twice that, it refuses
    for kind in ("PNG", "JPEG"):
        assert decode(of(encoded(picture(40, 30), kind))).shape == (30, 40, 3)
    assert refusal(of(encoded(picture(40, 30), "TIFF"))) == "more pixels than Pillow decodes in this format"


def test_limits_are_the_users():
    content = encoded(picture(40, 30), "PNG")
    assert refusal(of(content), Limits(max_pixels=1199)).startswith("40 x 30 pixels; the limit is 1,199")
    assert decode(of(content), Limits(max_pixels=1200)).shape == (30, 40, 3)
    assert "shorter side" in refusal(of(encoded(Image.new("RGB", (200, 3)), "PNG")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, this is no picture\n" * 20, "not an image (text file?)"),
        ("größer, höher, 图像\n".encode() * 9, "not an image (text file?)"),
        (bytes(range(128, 256)) * 9, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image (text file?)"),
    ],
)
def test_what_is_no_picture_is_called_so(content, reason):
    assert refusal(of(content)) == reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(share=st.floats(0, 0.95))
def test_a_file_cut_short_is_refused_at_any_length(kind, share):
    content = encoded(picture(64, 48), kind)
    assert refusal(of(content[: int(len(content) * share)]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_usual_cut_is_called_truncated(kind):
    content = encoded(picture(200, 150), kind)
    assert refusal(of(content[: len(content) // 2])) == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "TGA", "ICO"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_damage_gives_pixels_or_a_reason_and_nothing_else(kind, data):
    content = bytearray(encoded(picture(32, 32), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(of(bytes(content)), Limits(max_pixels=10**6)).ndim == 3
    except Unreadable as error:
        assert error.reason and "\n" not in error.reason


def test_files_that_cannot_be_opened_are_named(tmp_path: Path):
    assert refusal(Sample("x", tmp_path / "none.png")) == "no such file"
    assert refusal(Sample("x", tmp_path)) == "not a regular file"
    locked = tmp_path / "locked.png"
    locked.write_bytes(encoded(picture(), "PNG"))
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user may read everything")
    assert refusal(Sample("x", locked)) == "permission denied"


def test_many_threads_read_what_one_reads():
    samples = [of(encoded(picture(40 + index, 30), kind)) for index in range(20) for kind in ("JPEG", "PNG", "TIFF")]
    with ThreadPoolExecutor(8) as pool:
        for sample, pixels in zip(samples, pool.map(decode, samples), strict=True):
            assert np.array_equal(pixels, decode(sample))


def test_extensions_are_those_of_pictures():
    assert {".png", ".jpg", ".jpeg", ".tif", ".webp", ".dcm", ".bmp"} <= image_extensions()
    assert not {".eps", ".pdf", ".txt", ".csv", ".mpg", ".h5", ""} & image_extensions()


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("permission denied", True),
        ("cannot be read: permission denied", True),  # as it was said before
        ("input/output error", True),
        ("needs more memory than there is", True),
        ("DICOM needs pydicom; pip install 'beholder[medical]'", True),
        ("damaged (decoder jpeg2k not available)", True),
        ("truncated", False),
        ("not an image (text file?)", False),
    ],
)
def test_what_lies_in_the_file_does_not_pass(reason: str, told: bool) -> None:
    assert may_pass(reason) is told
