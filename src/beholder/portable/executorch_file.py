"""ExecuTorch's file, for phones and other small machines: one picture in a call, products by XNNPACK."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.backends.outputs import Precision, frozen_copy
from beholder.portable.exportable import Exportable, Preprocessing

FILE = "model.pte"
SHORTEST, LONGEST = 8, 1024
"""Sides of a picture; the room for the longest is planned in the file."""


def write_executorch(model: Exportable, precision: Precision, examples: Sequence[Tensor], folder: Path) -> None:
    """In fp32, which is all that it has."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    told = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about each other
            parts = Preprocessing(model.pixels, by_products=True), _plain(model.network), _plain(model.answers)
            pictures = torch.zeros(1, 96, 80, 3, dtype=torch.uint8)  # sizes that are not alike
            sides = {
                number: torch.export.Dim(name, min=SHORTEST, max=LONGEST) for number, name in ((1, "high"), (2, "wide"))
            }
            program = torch.export.export(_OnePicture(*parts), (pictures,), dynamic_shapes={"pictures": sides})
            lowered: Any = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            (folder / FILE).write_bytes(lowered.to_executorch().buffer)
    finally:
        logging.disable(told)


class _OnePicture(nn.Module):
    def __init__(self, preprocessing: nn.Module, network: nn.Module, answers: nn.Module) -> None:
        super().__init__()
        self.preprocessing, self.network, self.answers = preprocessing, network, answers

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return self.answers(*self.network(*self.preprocessing(pictures)))


def _plain(module: nn.Module) -> nn.Module:
    """Values in their plain order, which is the only one that its writer knows."""
    frozen = frozen_copy(module)
    for value in (*frozen.parameters(), *frozen.buffers()):
        value.data = value.data.contiguous()
    return frozen
