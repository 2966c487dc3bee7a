"""What stands out is found; what is alike is left alone."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from beholder.data.quality import find_outliers, measure


def photo(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 216, (12, 12, 3), dtype=np.uint8))
    noise = rng.normal(0, 12, (size[1], size[0], 3))
    values = np.asarray(small.resize(size, Image.Resampling.BICUBIC), float) + noise
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def table(*pictures: Image.Image) -> np.ndarray:
    return np.stack([measure(np.asarray(picture), *picture.size) for picture in pictures])


def test_measures_have_the_stated_units():
    white = Image.new("RGB", (300, 100), "white")
    assert table(white)[0].tolist() == [255, 0, 0, 300, 100, 3]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)).convert("RGB")
    assert abs(table(noise)[0, 2] - 20) < 1  # a Laplacian of white noise: 4 * 4 + 4 * 1


def test_a_uniform_set_has_no_outliers():
    pictures = [photo(seed) for seed in range(60)]
    assert find_outliers([str(i) for i in range(60)], table(*pictures)) == []
    assert find_outliers(["a", "b"], table(photo(0), photo(0))) == []
    assert find_outliers([], np.zeros((0, 6), np.float32)) == []


def test_planted_outliers_are_found_and_named():
    odd = {
        "dark": photo(100).point(lambda level: level // 12),
        "bright": photo(101).point(lambda level: 235 + level // 13),
        "blurred": photo(102).filter(ImageFilter.GaussianBlur(4)),
        "flat": Image.new("RGB", (96, 80), (128, 128, 128)),
        "unusual size": photo(104, (480, 400)),
        "unusual shape": photo(105, (300, 30)),
    }
    keys = [str(index) for index in range(60)] + list(odd)
    found = find_outliers(keys, table(*(photo(seed) for seed in range(60)), *odd.values()))
    assert {outlier.key for outlier in found} == set(odd)
    assert {(name, name) for name in odd} <= {(outlier.key, outlier.what) for outlier in found}
