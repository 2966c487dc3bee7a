"""Pictures that tests draw: small, seeded, with something to learn in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw(generator: np.random.Generator, kind: int, side: int = 48) -> np.ndarray:
    """Noise on a random grey, with stripes across (kind 0) or along (kind 1), or a disc (kind 2)."""
    image = generator.normal(float(generator.integers(90, 160)), 12.0, (side, side))
    place = np.arange(side)
    if kind == 2:
        y, x = np.mgrid[:side, :side] - side / 2
        image[x**2 + y**2 < (side / 4) ** 2] += 60
    else:
        stripes = 40 * (np.sin(place / 2 + generator.uniform(0, 6)) > 0)
        image += stripes[:, None] if kind == 0 else stripes[None, :]
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_classes(folder: Path, count: int, names: tuple[str, ...] = ("across", "along"), seed: int = 0) -> Path:
    """A folder per class, `count` pictures in all."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        name = names[index % len(names)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(generator, index % len(names))).save(folder / name / f"{index:04d}.png")
    return folder
