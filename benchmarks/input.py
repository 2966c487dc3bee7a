"""How fast pictures get into a training batch: from the cache, augmented, and the first time from JPEG files.

    python benchmarks/input.py --rounds 7

One thread, CPU seconds, medians of rounds in turns. `rows` reads 64-pixel squares from the mapped cache into a float
batch, `augmented` makes one random view of each (the usual augmentation of `adapt`), `first pass` decodes 500 x 375
JPEGs, shrinks them to 224 x 224 and writes them to a mapped file, as `adapt` caches them. Beside the first pass runs
the same with simplejpeg and OpenCV's area resize, where both are installed (requirements-peers.txt).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rounds import take_turns, use_threads

from beholder.data.augment import AugmentConfig
from beholder.data.decode import Limits
from beholder.data.stream import ImageStream
from beholder.recipes.pixel_cache import cache_pixels
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.machine import machine
from beholder.types import Sample

SIDE, NUM_CACHED, BATCH, NUM_BATCHES = 64, 20_000, 256, 8
PHOTO, CACHED, NUM_PHOTOS = (500, 375), 224, 64
STILL = AugmentConfig(
    size=SIDE, crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), horizontal_flip=0.0, jitter=0.0, grey=0.0, blur=0.0
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    use_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = write_photos(folder / "photos")
        cache = write_cache(folder / "cache.npy")
        counts = {"rows": BATCH * NUM_BATCHES, "augmented": BATCH * NUM_BATCHES}
        contenders: dict[str, Callable[[], object]] = {
            "rows": lambda: read(cache, STILL),
            "augmented": lambda: read(cache, AugmentConfig(size=SIDE, crop_area=(0.4, 1.0))),
            "first pass": first_pass(photos, folder),
        }
        peer = simple_pass(photos, folder)
        if peer is not None:
            contenders["first pass of simplejpeg and OpenCV"] = peer
        seconds = take_turns(contenders, asked.rounds)
    medians = {name: statistics.median(all_) for name, all_ in seconds.items()}
    told: dict[str, Any] = {
        name: {"pictures_per_cpu_second": counts.get(name, NUM_PHOTOS) / median} for name, median in medians.items()
    }
    if peer is not None:
        told["first pass"]["times_the_peer"] = medians["first pass of simplejpeg and OpenCV"] / medians["first pass"]
    json.dump({"pictures": told, "machine": machine(pick_device("cpu", 1))}, sys.stdout, indent=1)


def write_cache(path: Path) -> np.ndarray:
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (NUM_CACHED, 3, SIDE, SIDE))
    array[:] = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE), np.uint8)
    array.flush()
    return np.load(path, mmap_mode="r")


def write_photos(folder: Path) -> list[Path]:
    """Smooth pictures with some noise, so that files are as large as those of photos."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(NUM_PHOTOS):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            PHOTO, Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse, np.float32) + generator.normal(0, 8, (PHOTO[1], PHOTO[0], 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.jpg", quality=90)
    return sorted(folder.iterdir())


def read(cache: np.ndarray, augmentation: AugmentConfig) -> None:
    stream = ImageStream(cache, batch_size=BATCH, num_views=1, augmentation=augmentation, seed=0)
    for step in range(NUM_BATCHES):
        stream.batch(step)


def first_pass(photos: list[Path], folder: Path) -> Callable[[], object]:
    samples = [Sample(path.name, path) for path in photos]

    def run() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            cache_pixels(samples, CACHED, Path(place), Limits(), 1, Log(quiet=True))

    return run


def simple_pass(photos: list[Path], folder: Path) -> Callable[[], object] | None:
    try:
        import cv2
        import simplejpeg
    except ImportError:
        return None
    cv2.setNumThreads(1)

    def run() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            shape = (len(photos), 3, CACHED, CACHED)
            made = np.lib.format.open_memmap(Path(place) / "pixels.npy", "w+", np.uint8, shape)
            for row, path in enumerate(photos):
                image = simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB")
                made[row] = cv2.resize(image, (CACHED, CACHED), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
            made.flush()

    return run


if __name__ == "__main__":
    main()
