"""What the teacher says of each picture and of cuttings of it, and the same views as the student will see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from beholder.data.decode import Limits
from beholder.data.parallel import decoded
from beholder.pretrained.bundle import Bundle
from beholder.runtime.arrays import create_array
from beholder.runtime.device import Device
from beholder.runtime.files import read_json, write_json
from beholder.runtime.log import Log
from beholder.runtime.seed import numpy_generator
from beholder.tasks.embed import embed_arrays
from beholder.tokenizers.pixels import resize
from beholder.types import Sample

_AT_ONCE = 16
_SMALLEST_SIDE, _MOST_LIGHT = 0.75, 0.2
"""Of a cutting: its sides as shares of the picture's, and how much lighter or darker it gets."""


@dataclass(frozen=True)
class Views:
    """Row by row the same view: the first of each picture is the picture itself, in order, then come cuttings."""

    pixels: UInt8[np.ndarray, "n 3 S S"]
    embeddings: Float[Tensor, "n D"]
    """The teacher's."""


def look(
    teacher: Bundle,
    samples: Sequence[Sample],
    num_views: int,
    side: int,
    folder: Path,
    device: Device,
    limits: Limits,
    seed: int,
    log: Log,
    title: str,
) -> Views:
    """Made once, then only opened. Raises UserError when a picture can no longer be read."""
    mark, pixels_path, embeddings_path = (folder / name for name in ("done.json", "pixels.npy", "embeddings.npy"))
    total = len(samples) * num_views
    if not mark.exists():
        width = teacher.model.config.embedder.width
        pixels = create_array(pixels_path, np.uint8, (total, 3, side, side))
        embeddings = create_array(embeddings_path, np.float32, (total, width))
        teacher.model.to(device.torch_device)
        waiting: list[tuple[int, np.ndarray]] = []
        with log.progress(title, total) as advance:
            for number, image in enumerate(decoded(samples, limits, device.num_threads)):
                for view in range(num_views):
                    row = view * len(samples) + number
                    waiting.append((row, image if view == 0 else cutting(image, numpy_generator(seed, number, view))))
                if len(waiting) >= _AT_ONCE or number == len(samples) - 1:
                    rows = [row for row, _ in waiting]
                    embeddings[rows] = embed_arrays(teacher, [one for _, one in waiting], device).cpu().numpy()
                    pixels[rows] = np.stack([resize(one, side).transpose(2, 0, 1) for _, one in waiting])
                    advance(len(waiting))
                    waiting = []
        pixels.flush()
        embeddings.flush()
        write_json(mark, total)
    assert read_json(mark) == total
    return Views(np.load(pixels_path, mmap_mode="r"), torch.from_numpy(np.load(embeddings_path)))


def cutting(image: UInt8[np.ndarray, "H W 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "_ _ 3"]:
    """A part of the picture, a little lighter or darker; never turned over, since left and right may matter."""
    place = []
    for length in image.shape[:2]:
        kept = max(1, round(length * generator.uniform(_SMALLEST_SIDE, 1.0)))
        begin = int(generator.integers(0, length - kept + 1))
        place.append(slice(begin, begin + kept))
    light = generator.uniform(1 - _MOST_LIGHT, 1 + _MOST_LIGHT)
    return np.clip(image[place[0], place[1]] * light + 0.5, 0, 255).astype(np.uint8)
