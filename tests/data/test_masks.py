"""Masks: what counts as something, and what as a hole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.data.decode import Limits, Unreadable
from beholder.data.masks import as_picture, hole_in, numbers_as_mask, read_hole, read_mask
from beholder.types import Sample


def save(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("highest", [1, 3, 255, 60_000])
def test_whatever_is_above_zero_is_something(tmp_path: Path, highest: int) -> None:
    values = np.zeros((12, 10), np.uint16 if highest > 255 else np.uint8)
    values[3:5, 2:7] = np.linspace(1, highest, 5).astype(values.dtype)
    path = save(tmp_path / "mask.png", values)
    assert np.array_equal(read_mask(path, Limits()), values > 0)
    assert np.array_equal(read_hole(path, Limits())[0], values > 0)


def test_numbers_of_a_palette_count_and_not_their_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.eye(8, dtype=np.uint8) * 2)
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 0])  # the second number's colour is black too
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", Limits()), np.eye(8, dtype=bool))


@pytest.mark.parametrize("name", ["mask.png", "mask.gif"])
def test_a_palette_of_colours_is_read_by_them(tmp_path: Path, name: str) -> None:
    something = np.zeros((20, 20), bool)
    something[2:6, 3:9] = True
    image = Image.fromarray(np.where(something, 0, 1).astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])  # white is the first
    image.save(tmp_path / name)
    assert np.array_equal(read_mask(tmp_path / name, Limits()), something)
    assert np.array_equal(read_hole(tmp_path / name, Limits())[0], something)
    with Image.open(tmp_path / name) as opened:
        assert np.array_equal(hole_in(opened)[0], something)


def test_pillow_pictures_are_read_as_their_files(tmp_path: Path) -> None:
    something = np.zeros((32, 32, 3), np.uint8)
    something[8:16, 8:24] = 255
    for name, mode in (("mask.jpg", "RGB"), ("mask.jpg", "L"), ("mask.tif", "CMYK"), ("mask.png", "LA")):
        Image.fromarray(something).convert(mode).save(tmp_path / name)
        with Image.open(tmp_path / name) as opened:
            found = hole_in(opened)[0]
        assert np.array_equal(found, read_hole(tmp_path / name, Limits())[0]) and 0.1 < found.mean() < 0.15


def test_black_of_a_jpeg_is_nothing(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 30, (24, 24), np.uint8)
    values[:12] = 240
    found = read_mask(save(tmp_path / "mask.jpg", values), Limits())
    assert found[:11].all() and not found[13:].any()


def test_a_broken_mask_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no picture")
    for read in (read_mask, read_hole, numbers_as_mask):
        with pytest.raises(Unreadable):
            read(Sample("mask.png", tmp_path / "mask.png"), Limits())


def test_a_turned_mask_is_turned_as_its_picture_is(tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.uint8)
    values[:3, :2] = 5
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(values).save(tmp_path / "mask.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "mask.png", Limits()), np.rot90(values, -1) > 0)


def test_a_damaged_block_of_exif_says_nothing_of_the_mask(tmp_path: Path) -> None:
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "mask.png", exif=b"garbage")
    for found in (read_mask(tmp_path / "mask.png", Limits()), read_hole(tmp_path / "mask.png", Limits())[0]):
        assert np.array_equal(found, np.eye(8, dtype=bool))


class TestTransparency:
    @pytest.fixture
    def clear(self) -> np.ndarray:
        clear = np.zeros((8, 10), bool)
        clear[2:5, 3:9] = True
        return clear

    def test_a_hole_is_where_the_mask_is_transparent_and_that_is_told(self, tmp_path: Path, clear: np.ndarray) -> None:
        colours = np.random.default_rng(0).integers(1, 255, (8, 10, 3), np.uint8)
        coloured = np.dstack([colours, np.where(clear, 0, 255).astype(np.uint8)])
        grey = np.dstack([colours[..., 0], coloured[..., 3]])
        for values in (coloured, grey):
            stream = io.BytesIO()
            Image.fromarray(values).save(stream, "PNG")
            read = [
                read_hole(save(tmp_path / "mask.png", values), Limits()),
                read_hole(Sample("mask", data=stream.getvalue()), Limits()),
                hole_in(Image.fromarray(values)),
            ]
            read += [hole_in(values)] if values.shape[2] == 4 else []
            for hole, notes in read:
                assert np.array_equal(hole, clear) and "transparent in 22%" in notes[0]

    def test_opacity_everywhere_changes_nothing(self, tmp_path: Path, clear: np.ndarray) -> None:
        white = np.where(clear, 255, 0).astype(np.uint8)
        values = np.dstack([white, white, white, np.full_like(white, 255)])
        for hole, notes in (read_hole(save(tmp_path / "mask.png", values), Limits()), hole_in(values)):
            assert np.array_equal(hole, clear) and not notes

    def test_of_what_is_annotated_the_transparent_part_is_nothing(self, tmp_path: Path, clear: np.ndarray) -> None:
        values = np.full((8, 10, 4), 200, np.uint8)
        values[..., 3] = np.where(clear, 0, 255)
        assert np.array_equal(read_mask(save(tmp_path / "mask.png", values), Limits()), ~clear)


class TestNumbers:
    def test_a_grey_picture_of_low_numbers_is_a_mask(self, tmp_path: Path) -> None:
        values = np.zeros((8, 8), np.uint8)
        values[2:4], values[6] = 1, 30
        found = numbers_as_mask(Sample("m", save(tmp_path / "m.png", values)), Limits())
        assert found is not None and np.array_equal(found, as_picture(values > 0))

    @pytest.mark.parametrize(
        "values",
        [
            np.full((8, 8), 64, np.uint8),
            np.zeros((8, 8), np.uint8),
            np.full((8, 8, 3), 20, np.uint8),
            np.eye(8, dtype=np.uint8) * 255,
        ],
        ids=["tones", "black", "coloured", "white"],
    )
    def test_any_other_picture_is_none(self, tmp_path: Path, values: np.ndarray) -> None:
        assert numbers_as_mask(Sample("m", save(tmp_path / "m.png", values)), Limits()) is None
