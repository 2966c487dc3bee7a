"""Stage: how well held-out pictures come back from their codes, and how many codes are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.nn import functional as F

from beholder.evaluate.resample import grouped_interval
from beholder.metrics.filters import NAME, filter_features
from beholder.metrics.pictures import frechet_distance, perplexity, psnr, share_used, ssim
from beholder.models.codec import ImageCodec
from beholder.recipes.tokenizer.learn import encode, middles, repaint
from beholder.recipes.tokenizer.pictures import Pictures
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.runtime.seed import numpy_generator

_AT_ONCE = 64
_MOST_ENCODED = 5_000
_HALF = 127.5
_LEAST_SPREAD = 0.01
"""Of a feature, in units of a pixel from 0 to 1: grey pictures have no spread of colour to divide by."""


@dataclass(frozen=True)
class Judged:
    """Held-out pictures as they came back, the quality of each, and the figures of all."""

    painted: UInt8[np.ndarray, "m 3 S S"]
    psnr: Float[np.ndarray, " m"]
    figures: dict[str, Any]
    """JSON values."""


def judge(sitting: Sitting, codec: ImageCodec, pictures: Pictures) -> Judged:
    """Figures over held-out pictures, each with its 95 % interval over redrawn groups.

    Beside them what needs no training: each picture shrunk to one pixel a code and enlarged again.
    """
    device, config = sitting.device.torch_device, sitting.codec
    painted, codes = repaint(codec, pictures.held_out, device)
    side = config.image_size // config.stride
    shrunk = _shrunk(pictures.held_out, side)
    rows = np.linspace(0, len(pictures.learned) - 1, min(len(pictures.learned), _MOST_ENCODED)).astype(int)
    learned = middles(pictures.learned[rows], config.image_size)
    all_codes = encode(codec, learned, device)
    quality, likeness = _each(psnr, pictures.held_out, painted), _each(ssim, pictures.held_out, painted)
    small = _each(psnr, pictures.held_out, shrunk)
    groups, seed = pictures.groups[pictures.judged], sitting.config.seed
    figures = {
        "num_judged": len(painted),
        "num_groups": len(np.unique(groups)),
        "size": config.image_size,
        "num_tokens": side * side,
        "num_codes": codec.num_codes,
        "num_parameters": sum(one.numel() for one in codec.parameters()),
        "psnr": _told(quality, groups, seed),
        "ssim": _told(likeness, groups, seed),
        "shrunk_psnr": _told(small, groups, seed),
        "shrunk_ssim": _told(_each(ssim, pictures.held_out, shrunk), groups, seed),
        "gain_over_shrunk": _told(quality - small, groups, seed),
        "frechet": _frechet(pictures.held_out, painted, learned, shrunk),
        "codes": {
            "num_pictures": len(painted) + len(learned),
            "share_used": share_used(np.concatenate([codes.ravel(), all_codes.ravel()]), codec.num_codes),
            "share_used_held_out": share_used(codes, codec.num_codes),
            "perplexity": perplexity(np.concatenate([codes.ravel(), all_codes.ravel()])),
        },
    }
    if pictures.masks is not None:
        overlap = _overlap(pictures.masks, repaint(codec, pictures.masks, device)[0])
        figures["masks"] = {"num_judged": len(overlap), **_told(overlap, pictures.groups[pictures.masks_of], seed)}
    return Judged(painted, quality, figures)


def _overlap(masks: UInt8[np.ndarray, "k 3 S S"], painted: UInt8[np.ndarray, "k 3 S S"]) -> Float[np.ndarray, " k"]:
    """Intersection over union of what is white; 1 where neither has any."""
    ours, theirs = (one.mean(1) > _HALF for one in (masks, painted))
    union = (ours | theirs).sum((1, 2))
    return np.where(union > 0, (ours & theirs).sum((1, 2)) / np.maximum(union, 1), 1.0)


def _frechet(held_out: np.ndarray, painted: np.ndarray, learned: np.ndarray, shrunk: np.ndarray) -> dict[str, Any]:
    """The distance of sets, with features that the loss never saw; what other originals have is the best that can be
    hoped for."""
    seen = _features(held_out)
    mean, spread = seen.mean(0), np.maximum(seen.std(0), _LEAST_SPREAD)
    rows = {name: (_features(one) - mean) / spread for name, one in
            (("originals", held_out), ("painted", painted), ("learned", learned), ("shrunk", shrunk))}  # fmt: skip
    return {
        "features": f"{NAME}, in units of their spread over the held-out originals",
        "num_pictures": len(painted),
        "painted": frechet_distance(rows["originals"], rows["painted"]),
        "other_originals": frechet_distance(rows["originals"], rows["learned"]),
        "shrunk": frechet_distance(rows["originals"], rows["shrunk"]),
    }


def _told(values: Float[np.ndarray, " m"], groups: Int[np.ndarray, " m"], seed: int) -> dict[str, Any]:
    """The mean over pictures, and the interval in which it would lie with other groups of pictures."""
    generator = numpy_generator(seed, "groups")  # the same draws for every figure
    return {"value": float(values.mean()), "interval": grouped_interval(values, groups, generator)}


def _each(measure: Any, one: np.ndarray, other: np.ndarray) -> Float[np.ndarray, " m"]:
    parts = range(0, len(one), _AT_ONCE)
    return np.concatenate(
        [measure(_unit(one[at : at + _AT_ONCE]), _unit(other[at : at + _AT_ONCE])).numpy() for at in parts]
    )


def _features(pictures: np.ndarray) -> Float[np.ndarray, "n D"]:
    parts = range(0, len(pictures), _AT_ONCE)
    return np.concatenate([filter_features(_unit(pictures[at : at + _AT_ONCE])).numpy() for at in parts])


def _unit(pictures: UInt8[np.ndarray, "n 3 S S"]) -> Float[torch.Tensor, "n 3 S S"]:
    return torch.from_numpy(pictures.astype(np.float32)) / 255


def _shrunk(pictures: np.ndarray, side: int) -> UInt8[np.ndarray, "n 3 S S"]:
    """One pixel a code, in bytes, enlarged again."""
    whole = torch.from_numpy(pictures.astype(np.float32))
    small = F.interpolate(whole, (side, side), mode="bicubic", antialias=True).round().clamp(0, 255)
    large = F.interpolate(small, tuple(pictures.shape[2:]), mode="bicubic")
    return large.round().clamp(0, 255).to(torch.uint8).numpy()
