"""The same picture is known again after re-encoding, resizing and relighting; a different one never is."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from beholder.data.duplicates import find_duplicates
from beholder.data.fingerprint import fingerprint, pixel_hash, tint

CHANGES = ["jpeg", "half", "darker", "brighter", "contrast", "all"]


def changed(image: Image.Image, change: str) -> Image.Image:
    if change in ("darker", "brighter"):
        return ImageEnhance.Brightness(image).enhance(0.9 if change == "darker" else 1.1)
    if change == "contrast":
        return ImageEnhance.Contrast(image).enhance(1.1)
    if change == "half":
        return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    if change == "all":
        image = ImageEnhance.Brightness(image).enhance(0.93)
        image = image.resize((image.width * 7 // 10, image.height * 7 // 10), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def clusters(images: list[Image.Image]) -> np.ndarray:
    pixels = [np.asarray(image.convert("RGB")) for image in images]
    return find_duplicates(
        np.stack([pixel_hash(image) for image in pixels]),
        np.stack([fingerprint(image) for image in pixels]),
        np.stack([tint(image) for image in pixels]),
        np.array([min(image.shape[:2]) for image in pixels]),
    )


def blobs(seed: int, side: int = 128) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 226, (9, 9, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def cell(seed: int) -> Image.Image:
    """A narrow domain: all share grid and frame, and differ by a few faint marks."""
    rng = np.random.default_rng(seed)
    values = np.full((128, 128), 150.0) + rng.normal(0, 2, (128, 128))
    values[[20, 21, 63, 64, 106, 107]] = 70
    values[:4], values[-4:], values[:, :4], values[:, -4:] = 40, 40, 40, 40
    for _ in range(6):
        x, y = rng.integers(8, 100, 2)
        values[y : y + rng.integers(6, 20), x : x + rng.integers(6, 20)] -= rng.uniform(15, 40)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("draw", [blobs, cell])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_known_again_and_different_pictures_are_not(draw, change):
    originals = [draw(seed) for seed in range(60)]
    found = clusters(originals + [changed(image, change) for image in originals])
    assert len(set(found[:60])) == 60
    assert np.mean(found[:60] == found[60:]) >= 0.98


def test_equal_pixels_are_exact_and_numbers_follow_appearance():
    images = [blobs(0), blobs(1), blobs(0), blobs(2), blobs(1)]
    assert clusters(images).tolist() == [0, 1, 0, 2, 1]
    assert clusters([blobs(3)]).tolist() == [0]
    assert clusters([blobs(3), blobs(4)]).tolist() == [0, 1]
    assert (
        len(find_duplicates(*(np.zeros((0, *s), np.uint8) for s in ((16,), (32, 32), (8, 8, 2))), np.zeros(0, int)))
        == 0
    )


def test_pictures_without_pattern_are_the_same_when_their_level_is():
    grey = [Image.new("RGB", size, (level,) * 3) for size, level in [((40, 40), 90), ((60, 50), 90), ((40, 40), 200)]]
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    assert clusters([*grey, red, blobs(0)]).tolist() == [0, 0, 1, 2, 3]


def test_a_local_change_and_another_colour_make_another_picture():
    faces = [blobs(seed) for seed in range(30)]
    marked = faces[0].copy()
    marked.paste((255, 255, 255), (60, 60, 76, 76))
    tinted = Image.merge("RGB", [faces[1].getchannel(band) for band in "BGR"])
    found = clusters([*faces, marked, tinted])
    assert len(set(found)) == 32


def test_a_clique_of_many_copies_is_one_group():
    found = clusters(
        [changed(blobs(0), "jpeg")] + [ImageEnhance.Brightness(blobs(0)).enhance(0.9 + i / 500) for i in range(100)]
    )
    assert not found.any()


def real(name: str) -> list[Image.Image]:
    root = os.environ.get("BEHOLDER_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip("BEHOLDER_DATA does not name a folder with this set")
    return [Image.open(path).convert("RGB") for path in sorted((Path(root) / name / "images").rglob("*.*"))[::8]]


@pytest.mark.parametrize(("name", "alike"), [("sign_digits", 0), ("pneumoniamnist_mini", 1)])
@pytest.mark.parametrize("change", ["jpeg", "half", "darker", "brighter"])
def test_real_pictures_are_known_again(name, alike, change):
    originals = real(name)
    found = clusters(originals + [changed(image, change) for image in originals])
    num = len(originals)
    assert num - len(set(found[:num])) <= alike
    assert np.mean(found[:num] == found[num:]) >= 0.97


def test_different_solar_cells_are_different():
    package = pytest.importorskip("elpv_dataset", reason="elpv-dataset is not installed")
    paths = sorted((Path(package.__file__).parent / "data" / "images").glob("*.png"))
    cells = [Image.open(path).convert("RGB") for path in paths[:600]]
    found = clusters([*cells, *(changed(image, "jpeg") for image in cells[::10])])
    assert len(cells) - len(set(found[:600])) <= 3
    assert np.mean(found[:600:10] == found[600:]) >= 0.98
