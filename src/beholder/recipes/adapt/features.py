"""Stage: what a frozen backbone sees in every image, kept as half-precision rows on disk and resumed row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from beholder.data.parallel import decoded, map_in_order
from beholder.models.conv import EfficientNetLite
from beholder.models.heads import describe
from beholder.recipes.adapt.session import Session
from beholder.runtime.arrays import create_array, open_array, release_pages
from beholder.runtime.device import Device
from beholder.runtime.files import read_json, write_json
from beholder.tokenizers.pixels import PixelConfig, normalise, resize, to_batch
from beholder.types import Sample

BATCH_SIZE = 8
"""A batch of every core is in memory at once; larger ones were not faster."""
_ROWS_BETWEEN_SAVES = 512


@dataclass(frozen=True)
class Features:
    """Rows of one backbone for every kept image, in the domain's order."""

    descriptor: Float[np.ndarray, "n F"]
    """Pooled maps at every resolution; half precision, mapped from disk."""
    summary: Float[np.ndarray, "n S"]
    """The last layer's average at the middle resolution."""


Look = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]
"""Descriptor and summary rows of a batch of decoded images."""


def extract(session: Session, backbone: nn.Module, samples: Sequence[Sample], name: str) -> Features:
    """Run the backbone over all samples; rows already on disk are not made again."""
    backbone, resolutions = prepare(backbone, session.device), session.config.resolutions

    def look(batch: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return see(backbone, batch, resolutions, session.pixels, session.device)

    return extract_by(session, look, samples, name, at_least=max(resolutions))


def extract_by(session: Session, look: Look, samples: Sequence[Sample], name: str, at_least: int) -> Features:
    """Look at all samples, decoded with at least so many pixels a side; rows already on disk are not made again."""
    folder = session.run.scratch(name.replace(" ", "-"))
    widths = _widths(look)
    arrays = [_open(folder / f"{part}.npy", (len(samples), width)) for part, width in widths.items()]
    progress = folder / "rows.json"
    done = read_json(progress) if progress.exists() else 0
    images = decoded(samples[done:], session.limits, session.device.num_threads, at_least=at_least)
    batches = iter(lambda: list(itertools.islice(images, BATCH_SIZE)), [])
    with session.log.progress("Features", len(samples), done) as advance:
        for values in look_at_batches(look, batches, session.device):
            rows = slice(done, done + len(values[0]))
            for array, value in zip(arrays, values, strict=True):
                array[rows] = in_range(value)
            done = rows.stop
            advance(rows.stop - rows.start)
            if done % _ROWS_BETWEEN_SAVES < BATCH_SIZE or done == len(samples):
                for array in arrays:
                    array.flush()
                write_json(progress, done)
    for array in arrays:
        release_pages(array)
    return Features(*arrays)


def prepare(backbone: nn.Module, device: Device) -> nn.Module:
    """The backbone ready to look: folded where it can be, on its device, without gradients."""
    if isinstance(backbone, EfficientNetLite):
        backbone = backbone.folded()
    return backbone.eval().requires_grad_(False).to(device.torch_device)


def see_batches(
    backbone: nn.Module,
    batches: Iterable[Sequence[np.ndarray]],
    resolutions: Sequence[int],
    pixels: PixelConfig,
    device: Device,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`see` of every batch, in order."""
    yield from look_at_batches(lambda batch: see(backbone, batch, resolutions, pixels, device), batches, device)


def look_at_batches(
    look: Look, batches: Iterable[Sequence[np.ndarray]], device: Device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What the look finds in every batch, in order.

    On a CPU each core looks at a batch of its own: cores that share one wait for the slowest of them at every layer,
    which doubles the time wherever another program takes a core. The rows do not depend on the number of threads.
    """

    if device.torch_device.type != "cpu":
        yield from map(look, batches)
        return
    try:
        with ThreadPoolExecutor(device.num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from map_in_order(pool, look, batches, device.num_threads + 1)
    finally:
        torch.set_num_threads(device.num_threads)  # torch keeps the last number for threads to come


@torch.inference_mode()
def see(
    backbone: nn.Module,
    images: Sequence[np.ndarray],
    resolutions: Sequence[int],
    pixels: PixelConfig,
    device: Device,
) -> tuple[np.ndarray, np.ndarray]:
    """Descriptor rows (all resolutions side by side) and summary rows (middle resolution) of decoded images."""
    descriptors, summary = [], torch.empty(0)
    for index, side in enumerate(resolutions):
        batch = to_batch([resize(image, side) for image in images]).to(device.torch_device)
        with device.autocast():
            outputs = backbone(normalise(batch, pixels))
        descriptors.append(describe(outputs))
        if index == len(resolutions) // 2:
            summary = outputs.summary
    return torch.cat(descriptors, dim=1).cpu().numpy(), summary.float().cpu().numpy()


def _widths(look: Look) -> dict[str, int]:
    descriptor, summary = look([np.zeros((8, 8, 3), np.uint8)])
    return {"descriptor": descriptor.shape[1], "summary": summary.shape[1]}


def _open(path: Path, shape: tuple[int, int]) -> np.memmap:
    return open_array(path) if path.exists() else create_array(path, np.float16, shape)


def in_range(rows: Float[np.ndarray, "m F"]) -> Float[np.ndarray, "m F"]:
    """Without NaN and within half precision: what pretraining blew up is judged (badly), not tripped over."""
    largest = float(np.finfo(np.float16).max)
    return np.nan_to_num(rows, nan=0.0).clip(-largest, largest)


def rows_of(array: np.ndarray, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m F"]:
    """The chosen rows in single precision."""
    return np.asarray(array[np.sort(rows)], dtype=np.float32)[np.argsort(np.argsort(rows))]
