"""Truths of the training stream."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream, prefetch
from beholder.types import UserError


def stream(num_images: int = 10, batch_size: int = 4, seed: int = 0) -> ImageStream:
    images = np.random.default_rng(1).integers(0, 256, (num_images, 3, 12, 12), dtype=np.uint8)
    return ImageStream(images, batch_size=batch_size, num_views=2, augmentation=AugmentConfig(size=8), seed=seed)


@pytest.mark.parametrize(("num_images", "batch_size"), [(10, 4), (3, 8), (1, 2), (8, 8)])
def test_every_image_comes_once_per_epoch(num_images: int, batch_size: int) -> None:
    source = stream(num_images, batch_size)
    seen = np.concatenate([source.indices(step) for step in range(3 * num_images)])
    for epoch in range(3):
        assert sorted(seen[epoch * num_images : (epoch + 1) * num_images]) == list(range(num_images))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = stream(), stream()
    one.batch(0), one.batch(1)
    assert torch.equal(one.batch(5)["views"], other.batch(5)["views"])
    assert not torch.equal(one.batch(5)["views"], one.batch(6)["views"])
    assert not torch.equal(one.batch(5)["views"], stream(seed=1).batch(5)["views"])


def test_epochs_are_shuffled_differently() -> None:
    source = stream(num_images=50, batch_size=50)
    assert not np.array_equal(source.indices(0), source.indices(1))


def test_views_have_the_promised_shape_and_show_the_same_images() -> None:
    batch = stream().batch(0)
    assert batch["views"].shape == (2, 4, 3, 8, 8)
    still = AugmentConfig(
        size=12, crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), horizontal_flip=0.0, jitter=0.0, grey=0.0, blur=0.0
    )
    source = ImageStream(stream().images, batch_size=4, num_views=2, augmentation=still, seed=0)
    views = source.batch(3)["views"]
    assert torch.equal(views[0], views[1])
    images = source.images[source.batch(3)["indices"].numpy()]
    torch.testing.assert_close(views[0], torch.from_numpy(images) / 127.5 - 1)


def test_a_mapped_file_gives_the_same_batches_as_memory(tmp_path: Path) -> None:
    source = stream()
    np.save(tmp_path / "images.npy", source.images)
    mapped = ImageStream(
        np.load(tmp_path / "images.npy", mmap_mode="r"),
        batch_size=4, num_views=2, augmentation=source.augmentation, seed=0,
    )  # fmt: skip
    assert torch.equal(source.batch(2)["views"], mapped.batch(2)["views"])


def test_prefetching_changes_nothing_and_starts_anywhere() -> None:
    source, batches = stream(), prefetch(stream(), first_step=3)
    for step, batch in zip(range(3, 8), batches, strict=False):
        assert torch.equal(batch["views"], source.batch(step)["views"])
    batches.close()


def test_an_error_in_the_background_is_raised_in_front() -> None:
    class Broken(ImageStream):
        def batch(self, step: int):  # type: ignore[no-untyped-def]
            if step == 2:
                raise OSError("disk gone")
            return super().batch(step)

    source = stream()
    broken = Broken(source.images, batch_size=4, num_views=1, augmentation=source.augmentation, seed=0)
    batches = prefetch(broken, 0)
    assert len(list(itertools.islice(batches, 2))) == 2
    with pytest.raises(OSError, match="disk gone"):
        next(batches)


def test_no_images_are_refused() -> None:
    with pytest.raises(UserError, match="no images"):
        stream(num_images=0)
