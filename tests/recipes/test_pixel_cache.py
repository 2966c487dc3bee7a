"""Cached squares: the same whether made at one go or after an interruption, and made once."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import draw, write_classes
from PIL import Image

from beholder.data.decode import Limits
from beholder.recipes import pixel_cache
from beholder.recipes.pixel_cache import cache_pixels
from beholder.runtime.arrays import create_array, open_array
from beholder.runtime.log import Log
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.types import Sample, UserError


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    photos = write_classes(tmp_path / "photos", 9)
    Image.fromarray(draw(np.random.default_rng(1), 2, side=90)[:40]).save(photos / "across" / "wide.png")
    return [Sample(path.name, path) for path in sorted(photos.rglob("*.png"))]


def cached(samples: list[Sample], folder: Path, size: int = 20) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    return cache_pixels(samples, size, folder, Limits(), 1, Log(quiet=True))


def test_rows_are_the_resized_pictures_in_order(samples: list[Sample], tmp_path: Path) -> None:
    array = cached(samples, tmp_path / "cache")
    assert (array.dtype, array.shape) == (np.uint8, (10, 3, 20, 20))
    for row, sample in zip(array, samples, strict=True):
        assert_near(row, fit(opened(sample), PixelConfig(20)))


@pytest.mark.parametrize("is_cropped", [False, True])
@pytest.mark.parametrize(("height", "width"), [(37, 90), (90, 37), (64, 64), (20, 20), (101, 64), (65, 64)])
def test_squares_are_those_that_pillow_makes(height: int, width: int, is_cropped: bool, tmp_path: Path) -> None:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8))
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    sample, how = Sample("x", tmp_path / "x.png"), PixelConfig(64)
    how = replace(how, fit="shortest", crop=64) if is_cropped else how
    (row,) = cache_pixels([sample], 64, tmp_path, Limits(), 1, Log(quiet=True), is_cropped=is_cropped)
    assert_near(row, fit(opened(sample), how))


def opened(sample: Sample) -> np.ndarray:
    assert sample.path is not None
    return np.asarray(Image.open(sample.path).convert("RGB"))


def assert_near(row: np.ndarray, right: np.ndarray) -> None:
    differences = np.abs(row.astype(int) - right.transpose(2, 0, 1))
    assert differences.max() <= 2 and (differences > 1).mean() < 0.001


def test_an_interrupted_cache_is_made_anew_and_equals_a_fresh_one(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, own, num_resized = np.array(cached(samples, tmp_path / "fresh")), pixel_cache.shrink, []

    def interrupt(image: np.ndarray, how: PixelConfig, side: int) -> np.ndarray:
        num_resized.append(1)
        if len(num_resized) == 5:
            raise KeyboardInterrupt
        return own(image, how, side)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pixel_cache, "shrink", interrupt)
        cached(samples, tmp_path / "cut")
    np.testing.assert_array_equal(cached(samples, tmp_path / "cut"), fresh)


def test_a_finished_cache_needs_the_pictures_no_more(samples: list[Sample], tmp_path: Path) -> None:
    first = np.array(cached(samples, tmp_path / "cache"))
    for sample in samples:
        assert sample.path is not None
        sample.path.unlink()
    np.testing.assert_array_equal(cached(samples, tmp_path / "cache"), first)
    with pytest.raises(UserError, match="now cannot"):
        cached(samples, tmp_path / "other")


def test_an_array_is_written_through_its_map(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", np.float16, (4, 3))
    assert not array.any()
    array[2] = 7
    array.flush()
    assert open_array(tmp_path / "a.npy").tolist() == [[0.0] * 3, [0.0] * 3, [7.0] * 3, [0.0] * 3]
    assert np.load(tmp_path / "a.npy").sum() == 21


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system writes every byte instead")
def test_an_array_takes_its_room_on_disk_at_once(tmp_path: Path) -> None:
    create_array(tmp_path / "a.npy", np.uint8, (1 << 20,))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 1 << 20


def test_without_fallocate_every_byte_is_written_and_none_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = create_array(tmp_path / "a.npy", np.uint8, (3 << 20,))
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    create_array(tmp_path / "b.npy", np.uint8, whole.shape)
    assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()
    assert (tmp_path / "b.npy").stat().st_blocks * 512 >= 3 << 20


def test_an_array_without_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, start: int, count: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(OSError, match="No space"):
        create_array(tmp_path / "a.npy", np.float16, (100, 3))
    assert not list(tmp_path.iterdir())
