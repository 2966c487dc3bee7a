"""How long, and in how much memory, 100,000 images are curated, and whether every planted fault is found.

    python benchmarks/curate_100k.py --count 100000 --out DIR

Makes small JPEGs (96 px) from a few hundred backgrounds with marks of their own, plants corrupt files and duplicates,
curates them, and prints one JSON object. The images are made by a process of its own, so that peak memory is the
curation's. Measured with one thread on a shared server core: 100 CPU seconds, 1.0 GB, every fault found, no
false duplicate.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

from beholder.data.curate import Curation, curate
from beholder.data.sources import read_source
from beholder.runtime.energy import Stopwatch
from beholder.runtime.log import Log

SIDE = 96
NUM_BACKGROUNDS = 300
FAULT_SHARE = 0.001
"""Of each kind: truncated, text, empty, exact copy, re-encoded copy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    photos, work = options.out / "photos", options.out / "work"
    maker = multiprocessing.get_context("spawn").Process(target=make_images, args=(photos, options.count))
    maker.start()
    maker.join()
    planted = json.loads((options.out / "planted.json").read_text())
    shutil.rmtree(work, ignore_errors=True)
    watch = Stopwatch()
    source = read_source(photos)
    read_seconds = watch.cost().seconds
    found = curate(source, work, num_workers=options.workers, log=Log(quiet=True))
    cost = watch.cost()
    again = Stopwatch()
    curate(source, work, num_workers=options.workers, log=Log(quiet=True))
    result = {
        "count": options.count,
        "workers": options.workers,
        "seconds": round(cost.seconds, 1),
        "seconds_reading_the_folder": round(read_seconds, 1),
        "seconds_of_a_rerun": round(again.cost().seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "peak_memory_bytes": cost.peak_memory_bytes,
        **check(found, planted),
    }
    print(json.dumps(result, indent=2))


def check(found: Curation, planted: dict[str, list]) -> dict[str, object]:
    """Planted faults against found ones."""
    reasons = {refused.key: refused.reason for refused in found.quarantine}
    cluster = {sample.key: int(number) for sample, number in zip(found.samples, found.cluster, strict=True)}
    broken = planted["truncated"] + planted["text"] + planted["empty"]
    pairs = [tuple(pair) for pair in planted["exact"] + planted["near"]]
    told = {key for group in found.duplicates for key in group.keys}
    missed = [pair for pair in pairs if cluster[pair[0]] != cluster[pair[1]]]
    false = told - {key for pair in pairs for key in pair}
    return {
        "planted_broken": len(broken),
        "broken_found": sum(key in reasons for key in broken),
        "good_refused": len(set(reasons) - set(broken)),
        "planted_duplicates": len(pairs),
        "duplicates_found": len(pairs) - len(missed),
        "false_duplicates": len(false),
        "everything_found": set(reasons) == set(broken) and not missed and not false,
    }


def make_images(photos: Path, count: int) -> None:
    """Write the images, and `planted.json` beside them."""
    rng = np.random.default_rng(0)
    shutil.rmtree(photos, ignore_errors=True)
    backgrounds = [
        np.asarray(
            Image.fromarray(rng.integers(40, 216, (7, 7, 3), dtype=np.uint8)).resize(
                (SIDE, SIDE), Image.Resampling.BICUBIC
            )
        )
        for _ in range(NUM_BACKGROUNDS)
    ]
    num = max(1, round(FAULT_SHARE * count))
    planted: dict[str, list] = {"truncated": [], "text": [], "empty": [], "exact": [], "near": []}
    kinds = [kind for kind in planted for _ in range(num)]
    for index in range(count):
        key = f"{index // 1000:04d}/{index:07d}.jpg"
        path = photos / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # The first images are whole, so that copies have something to copy.
        kind = kinds[index - 5 * num] if 5 * num <= index < 10 * num else ""
        other = f"{(index - 5 * num) // 1000:04d}/{index - 5 * num:07d}.jpg" if kind in ("exact", "near") else ""
        if kind == "exact":
            shutil.copyfile(photos / other, path)
        elif kind == "near":
            with Image.open(photos / other) as image:
                ImageEnhance.Brightness(image).enhance(0.92).save(path, quality=60)
        elif kind in ("text", "empty"):
            path.write_text("no picture\n" if kind == "text" else "")
        else:
            draw(backgrounds[index % NUM_BACKGROUNDS], rng).save(path, quality=85)
            if kind == "truncated":
                path.write_bytes(path.read_bytes()[:700])
        if kind:
            planted[kind].append([other, key] if other else key)
    (photos.parent / "planted.json").write_text(json.dumps(planted))


def draw(background: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A background with five marks of its own."""
    values = background.copy()
    for _ in range(5):
        x, y = rng.integers(0, SIDE - 16, 2)
        width, height = rng.integers(12, 40, 2)
        values[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return Image.fromarray(values)


if __name__ == "__main__":
    main()
