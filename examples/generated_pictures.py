"""Draw a small folder of pictures to try beholder on: grey tiles, some of them scratched.

python examples/generated_pictures.py pictures --count 40
beholder adapt pictures --out runs/tiles --labels auto --budget 30s
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def draw_tile(generator: np.random.Generator, is_scratched: bool, side: int = 128) -> Image.Image:
    """A tile with cloudy texture, a seam and specks; a scratched one has a faint broken line across it too."""
    clouds = Image.fromarray(generator.integers(70, 150, (8, 8), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
    grain = generator.normal(0, 9, (side, side))
    tile = Image.fromarray(np.clip(np.asarray(clouds, float) + grain, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(tile)
    seam = int(generator.integers(side // 4, 3 * side // 4))
    pen.line([(0, seam), (side, seam + int(generator.integers(-8, 9)))], fill=60, width=2)
    for x, y in generator.uniform(0, side, (int(generator.integers(2, 7)), 2)):
        pen.ellipse([x, y, x + 3, y + 3], fill=int(generator.integers(150, 200)))
    if is_scratched:
        start, length = generator.uniform(0.2 * side, 0.7 * side, 2), generator.uniform(0.15, 0.4) * side
        angle = generator.uniform(0, 2 * np.pi)
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        pen.line([tuple(start), tuple(end)], fill=int(generator.integers(150, 190)), width=1)
    return tile.filter(ImageFilter.GaussianBlur(0.6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    generator = np.random.default_rng(asked.seed)
    for index in range(asked.count):
        name = "scratched" if index % 2 else "good"
        (asked.folder / name).mkdir(parents=True, exist_ok=True)
        draw_tile(generator, name == "scratched").save(asked.folder / name / f"tile{index:04d}.png")
    print(f"{asked.count} pictures in {asked.folder}/good and {asked.folder}/scratched")


if __name__ == "__main__":
    main()
