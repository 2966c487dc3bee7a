"""The same embeddings on Ray Data: every worker reads its share of the photos, only points come back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beholder.data.decode import Limits
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import Part
from beholder.recipes.ray_cluster import connect
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import BATCH_SIZE
from beholder.tasks.image_encoder import PLAIN, Way, first_samples, hasten
from beholder.tasks.search import open_finder
from beholder.tasks.shared_space import Placed
from beholder.types import Sample, UserError

_BATCHES_A_BLOCK = 8


class Embedder:
    """One worker: the model, loaded once and made ready in the way asked, and a thread for each of its cores."""

    def __init__(
        self, model: str, device: str, limits: Limits, way: Way = PLAIN, examples: Sequence[Sample] = ()
    ) -> None:
        picked, loaded = pick_device(device, 1), load(model)
        self._finder, self._limits = open_finder(loaded, model, picked), limits
        if way != PLAIN and examples:
            pictures = [pixels for _, pixels in first_samples(examples, limits)]
            self._finder, _ = hasten(self._finder, loaded, picked, way, pictures)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = zip(batch["key"], batch["path"], batch["data"], strict=True)
        samples = [Sample(key, Path(os.fsdecode(path)) if path else None, data or None) for key, path, data in rows]
        placed = list(self._finder.place_samples(samples, self._limits, 1))
        width = next((len(one.point) for one in placed if one.point is not None), 0)
        points = [np.zeros(width, np.float32) if one.point is None else one.point.numpy() for one in placed]
        return {
            "key": [one.key for one in placed],
            "point": [point.tobytes() for point in points],
            "refused": [one.refused or "" for one in placed],
        }


def embed_on_ray(
    model: Bundle | Foreign | Part | str | Path,
    samples: Sequence[Sample],
    limits: Limits,
    device: Device,
    way: Way = PLAIN,
    examples: Sequence[Sample] = (),
) -> Iterator[Placed]:
    """Points in any order, computed by the workers of the Ray cluster that RAY_ADDRESS names, else by one of this
    machine's own. Every worker must reach the photos, and the model, by the same paths. `examples` are readable samples
    on which each makes its `way` ready.

    Raises UserError when ray is missing, or the model is not given by its name.
    """
    if not isinstance(model, str | Path):
        raise UserError("--ray needs a model that its workers can load; give the name or the folder of one.")
    if not samples:
        return
    ray = connect("--ray", "data")
    ray.data.DataContext.get_current().enable_progress_bars = False
    is_gpu = device.torch_device.type == "cuda"
    num_workers = max(1, int(ray.cluster_resources().get("GPU" if is_gpu else "CPU", 1)))
    place = str(Path(model).absolute()) if Path(model).exists() else str(model)
    rows = [
        {"key": one.key, "path": os.fsencode(one.path.absolute()) if one.path else b"", "data": one.data or b""}
        for one in samples
    ]
    num_blocks = -(-len(rows) // (BATCH_SIZE * _BATCHES_A_BLOCK))
    embedded = ray.data.from_items(rows, override_num_blocks=num_blocks).map_batches(
        Embedder,
        fn_constructor_args=(place, device.torch_device.type, limits, way, [_anywhere(one) for one in examples]),
        batch_size=BATCH_SIZE,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(num_workers, num_blocks)),
        num_cpus=1,
        num_gpus=1 if is_gpu else 0,
    )
    for row in embedded.iter_rows():
        point = torch.from_numpy(np.frombuffer(row["point"], np.float32).copy())
        yield Placed(row["key"], None, row["refused"]) if row["refused"] else Placed(row["key"], point)


def _anywhere(sample: Sample) -> Sample:
    """Found from any working directory."""
    return sample if sample.path is None else replace(sample, path=sample.path.absolute())
