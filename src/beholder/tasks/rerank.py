"""Pictures in the order in which a model of images and texts finds that they go with a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device
from beholder.tasks.shared_space import SharedSpace, open_space
from beholder.types import UserError

RERANKER = "reranker"
"""Folder of a model's own one, within its folder."""
NO_RERANKER = "none"


def open_reranker(name: str | None, part: Part, device: Device) -> tuple[SharedSpace | None, str]:
    """The model that ranks, and what the user is told of it. `name`: what `load` opens, or "none"; None: the one that
    was trained with the model, unless it was found to do harm; the embedded one where there is none.

    Raises UserError for a name of what reads no images and texts.
    """
    own = part.source / RERANKER
    if name == NO_RERANKER:
        return None, "not reranked"
    if name is not None:
        return open_space(load(name), device), f"reranked by {name}"
    if own.is_dir():
        if part.facts.get("judged", {}).get("reranking", {}).get("harms"):
            return None, "not reranked, since its own reranker chose worse than the first (--reranker may name it)"
        return open_space(load(own), device), "reranked by the model's own reranker"
    try:
        space = open_space(load(DEFAULT_PAIRS), device)
    except UserError as error:
        return (
            None,
            f"not reranked, because the model has no reranker of its own and {DEFAULT_PAIRS} is absent: {error}",
        )
    return space, (
        f"reranked by {DEFAULT_PAIRS}, because the model has no reranker of its own (it looks with the same network as "
        "the tokenizer's loss)"
    )


def rank_pictures(
    space: SharedSpace, text: str, pictures: Sequence[UInt8[np.ndarray, "H W 3"]]
) -> Float[np.ndarray, " B"]:
    """Cosine of each picture with the text, -1 to 1."""
    return (space.place_arrays(pictures) @ space.place_texts([text])[0]).numpy()
