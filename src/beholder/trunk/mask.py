"""Which token may read which: everything, the past, a prefix, a window, its own row of a packed batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask


@dataclass(frozen=True)
class Mask:
    """What attention needs to know; `EVERYTHING` hides nothing."""

    allowed: Bool[Tensor, "A 1 T S"] | None = None
    """True where the query may read the key. None: no more than `is_causal` says."""
    is_causal: bool = False
    """As many queries as keys, each reading itself and what came before; the kernel knows how without a table."""
    blocks: BlockMask | None = None
    """The same as `allowed`, for attention that leaves out whole blocks; None: it does not."""


EVERYTHING = Mask()


@dataclass(frozen=True)
class MaskConfig:
    """How far a token sees; padding and packing come with the batch."""

    is_causal: bool = False
    window: int | None = None
    """A token reads so many, itself counted (Mistral: Jiang et al. 2023, arXiv 2310.06825); both ways if not causal."""


def build_mask(
    config: MaskConfig,
    queries: Int[Tensor, "A T"],
    keys: Int[Tensor, "A S"],
    *,
    is_real: Bool[Tensor, "B S"] | None = None,
    rows: tuple[Int[Tensor, "B T"], Int[Tensor, "B S"]] | None = None,
    num_prefix: Int[Tensor, " B"] | None = None,
) -> Mask:
    """From the places of queries and keys in the sequence.

    `is_real` is False for padding. `rows` are the numbers of the packed examples that queries and keys belong to.
    `num_prefix` tokens at the start are read by all, as in a prefix language model (Raffel et al. 2019, arXiv
    1910.10683). Every query may read itself, so that no softmax is over nothing.
    """
    is_plain = is_real is None and rows is None and num_prefix is None and config.window is None
    if is_plain and not config.is_causal:
        return EVERYTHING
    is_whole = queries.shape == keys.shape
    if is_plain and (is_whole or queries.shape[1] == 1):  # a last token alone reads all that came before
        return Mask(is_causal=is_whole)
    here, there = queries[:, :, None], keys[:, None, :]  # tables of facts only: distances would take 8 times the room
    allowed = here >= there if config.is_causal else torch.ones_like(here == there)  # A T S
    if config.window is not None:
        allowed = allowed & (there > here - config.window)
        if not config.is_causal:
            allowed = allowed & (there < here + config.window)
    if num_prefix is not None:
        allowed = allowed | (there < num_prefix[:, None, None])
    if rows is not None:
        allowed = allowed & (rows[0][:, :, None] == rows[1][:, None, :])
    if is_real is not None:
        allowed = allowed & is_real[:, None, :]
    return Mask((allowed | (here == there))[:, None])


def padding_mask(is_real: Bool[Tensor, "B S"] | None) -> Mask:
    """Of a source that is read whole, but for its padding."""
    return EVERYTHING if is_real is None else Mask(is_real[:, None, None])
