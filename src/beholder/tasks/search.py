"""Which pictures of a folder are like a text, like a picture, or like both: a query is a point, answers lie near it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.config import to_json
from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.parallel import map_in_order
from beholder.index.vectors import VectorIndex
from beholder.models.vit import ViT
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part, need_whole
from beholder.runtime.device import Device
from beholder.tasks.embed import BATCH_SIZE, ImageInput, decoded_batches, embed_arrays
from beholder.tasks.shared_space import Placed, SharedSpace, open_space
from beholder.tokenizers.pixels import prepare
from beholder.types import Answer, Sample, UserError

_NUM_SAMPLED = 10_000
"""Rows from which the spread of scores is told, where two queries are joined."""


@dataclass(frozen=True)
class Finder:
    """A model that makes points of pictures, and of texts where it reads them, ready on its device."""

    name: str
    """Of the model, for people."""
    identity: str
    """A digest of all that decides where a picture is placed: weights and preprocessing."""
    place_arrays: Callable[[Sequence[np.ndarray]], Float[Tensor, "B C"]]
    """Decoded pictures (H W 3 bytes) to points of length 1, on the CPU."""
    space: SharedSpace | None = None
    """None where the model reads no texts."""

    def place_text(self, text: str) -> Float[Tensor, " C"]:
        """Raises UserError for an empty text, one that is too long, or when the model reads none."""
        if self.space is None:
            raise UserError(
                f"{self.name} reads no texts; search by a picture (--like IMAGE), or name a model that reads texts, "
                "such as openai/clip-vit-base-patch32."
            )
        return self.space.place_texts([text])[0]

    def place_picture(self, image: ImageInput, limits: Limits) -> Float[Tensor, " C"]:
        """Of the picture to search by. Raises UserError when it cannot be read."""
        ((key, pixels),) = next(decoded_batches([image], limits))
        if isinstance(pixels, str):
            raise UserError(f"--like {key} cannot be read ({pixels}); name another picture.")
        return self.place_arrays([pixels])[0]

    def place_samples(self, samples: Iterable[Sample], limits: Limits, num_workers: int) -> Iterator[Placed]:
        """Points in the order of the samples, decoded by `num_workers` threads a few pictures ahead; an unreadable one
        is answered with its reason, the others go on."""
        with ThreadPoolExecutor(num_workers) as pool:
            decoded = map_in_order(pool, lambda sample: (sample.key, _decode(sample, limits)), samples, 4 * BATCH_SIZE)
            for batch in iter(lambda: list(itertools.islice(decoded, BATCH_SIZE)), []):
                yield from self._place_batch(batch)

    def _place_batch(self, batch: Sequence[tuple[str, np.ndarray | str]]) -> Iterator[Placed]:
        readable = [pixels for _, pixels in batch if not isinstance(pixels, str)]
        points = iter(self.place_arrays(readable)) if readable else iter(())
        for key, pixels in batch:
            point = None if isinstance(pixels, str) else next(points)
            if point is not None and not torch.isfinite(point).all():
                point, pixels = None, "the model makes no finite point of it"
            yield Placed(key, point, pixels if isinstance(pixels, str) else None)


def open_finder(model: Foreign | Bundle | Part, name: str, device: Device) -> Finder:
    """The model as a finder. Raises UserError when it reads no pictures, or came without its preprocessing."""
    model = need_whole(model)
    if isinstance(model, Bundle):
        embedder = model.model.embedder.to(device.torch_device)
        described = [to_json(model.pixels), to_json(embedder.config)]
        return Finder(
            name,
            identify(embedder, described),
            lambda images: F.normalize(embed_arrays(model, images, device).float(), dim=1).cpu(),
        )
    if isinstance(model.model, ViT):
        vit, pixels = model.model.to(device.torch_device), model.need_pixels()

        @torch.inference_mode()
        def see(images: Sequence[np.ndarray]) -> Float[Tensor, "B C"]:
            with device.autocast():
                summary = vit(prepare(images, pixels).to(device.torch_device)).summary
            return F.normalize(summary.float(), dim=1).cpu()

        return Finder(name, identify(vit, to_json(pixels)), see)
    space = open_space(model, device)
    return Finder(name, identify(cast(nn.Module, space.model), to_json(space.pixels)), space.place_arrays, space)


def identify(module: nn.Module, described: Any) -> str:
    """A digest of all weights and of the JSON values beside them."""
    digest = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def search(
    index: VectorIndex,
    count: int,
    *,
    text: Float[Tensor, " C"] | None = None,
    like: Float[Tensor, " C"] | None = None,
) -> list[Answer]:
    """The `count` keys of the index that are most like the query's points, best first.

    `score` is the cosine (-1 to 1) with the query; `details` has "text" and "like", the cosines with each. Both
    together are one point between them, weighed so that each decides as much: cosines with texts differ by a few
    hundredths in a space such as CLIP's, those with pictures by tenths, and a plain mean would forget the text.
    """
    points = {name: point for name, point in (("text", text), ("like", like)) if point is not None}
    assert points, "a search has a text or a picture"
    found = index.search(_join(list(points.values()), index), count)
    rows = index.table.view.read([index.table.entries[one.key].row or 0 for one in found])
    cosines = {name: (rows @ point).tolist() for name, point in points.items()}
    return [
        Answer(one.key, score=_cosine(one.score), details={name: _cosine(of[rank]) for name, of in cosines.items()})
        for rank, one in enumerate(found)
    ]


def _join(points: Sequence[Float[Tensor, " C"]], index: VectorIndex) -> Float[Tensor, " C"]:
    if len(points) == 1:
        return points[0]
    view = index.table.view
    sample = view.read(view.rows[:: max(1, len(view.rows) // _NUM_SAMPLED)])
    spreads = [float((sample @ point).std(correction=0)) if len(sample) else 0.0 for point in points]
    weighed = [point / (spread if spread > 0 else 1.0) for point, spread in zip(points, spreads, strict=True)]
    return F.normalize(torch.stack(weighed).sum(0), dim=0)


def _cosine(product: float) -> float:
    """Half precision leaves rows a little longer or shorter than one."""
    return max(-1.0, min(1.0, product))


def _decode(sample: Sample, limits: Limits) -> np.ndarray | str:
    try:
        return decode(sample, limits)
    except Unreadable as error:
        return error.reason
