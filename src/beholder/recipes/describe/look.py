"""Stage: what is seen in each image, as it is and mirrored, and in its parts, computed once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from beholder.data.parallel import decoded
from beholder.models.seen import SeenTokens, shown_briefly
from beholder.recipes.describe.material import Asked, Material
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.sitting import Sitting
from beholder.runtime.files import told_kindly, write_whole
from beholder.tokenizers.pixels import PixelConfig, prepare

_AT_ONCE = 16


@dataclass(frozen=True)
class Seen:
    """What is seen in all samples."""

    table: Float32[np.ndarray, "n views S C"]
    """Mapped from a file."""
    mean: Float[Tensor, " C"]
    """Of all tokens of images that are learned from: what stands for an image that is not shown."""
    parts: Float32[np.ndarray, "n K C"] | None = None
    """The summary of each part of each image."""

    def shown(self, asked: Sequence[Asked], views: Int[np.ndarray, " B"] | None = None) -> Float[Tensor, "B I S C"]:
        """In the images of each; rows with fewer are filled up with the first, which no place names. `views` tells
        which are mirrored."""
        most = max(len(one.images) for one in asked)
        shown = [[*one.shown, *[one.shown[0]] * (most - len(one.images))] for one in asked]
        rows = np.array([[row for row, _ in listed] for listed in shown])
        parts = np.array([[-1 if part is None else part for _, part in listed] for listed in shown])
        chosen = np.zeros(len(asked), int) if views is None else views
        images = torch.from_numpy(np.ascontiguousarray(self.table[rows, chosen[:, None]]))
        if (parts >= 0).any():
            assert self.parts is not None, "the images were not taken apart"
            summaries = torch.from_numpy(self.parts[rows[parts >= 0], parts[parts >= 0]])
            images[torch.from_numpy(parts >= 0)] = shown_briefly(summaries, images.shape[2], self.mean)
        return images


def look_once(
    sitting: Sitting[DescribeTraining], material: Material, vision: SeenTokens, pixels: PixelConfig, name: str = "seen"
) -> Seen:
    """Look at every image, as it is and, with two views, mirrored. `name` is that of the file in which it is kept."""
    path = sitting.run.scratch("seen") / f"{name}.npy"
    if not path.exists():
        device, num_views = sitting.device.torch_device, sitting.settings.num_views
        vision.to(device)
        seen = []
        with sitting.log.progress("Look", len(material.samples)) as advance, torch.inference_mode():
            images = decoded(material.samples, sitting.limits, sitting.device.num_threads)
            for batch in iter(lambda: list(itertools.islice(images, _AT_ONCE)), []):
                views = [batch, [image[:, ::-1] for image in batch]][:num_views]
                told = [vision(prepare(view, pixels).to(device)).float().cpu().numpy() for view in views]
                seen.append(np.stack(told, axis=1))
                advance(len(batch))
        with told_kindly(path.parent):
            save_array(path, np.concatenate(seen))
    table = np.load(path, mmap_mode="r")
    learned = sorted({row for one in material.asked["train"] for row in one.images})
    return Seen(table, torch.from_numpy(table[learned].mean((0, 1, 2), dtype=np.float64)).float())


def save_array(path: Path, array: np.ndarray) -> None:
    """Whole or not at all, to be mapped from the file."""

    def save(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.save(handle, array)

    write_whole(path, save)
