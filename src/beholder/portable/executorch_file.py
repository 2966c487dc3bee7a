"""ExecuTorch's file, for phones and other small machines: one picture in a call, products by XNNPACK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beholder.backends.outputs import Precision
from beholder.backends.quiet import quietly
from beholder.portable.exportable import Exportable, Pipeline

FILE = "model.pte"
SHORTEST, LONGEST = 8, 1024
"""Sides of a picture; the room for the longest is planned in the file. `runners/executorch.py` knows it, too."""


def write_executorch(model: Exportable, precision: Precision, examples: Sequence[Tensor], folder: Path) -> None:
    """In fp32, which is all that it has."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    whole = Pipeline(model, by_products=True).eval()
    for value in (*whole.parameters(), *whole.buffers()):
        value.data = value.data.contiguous()  # the only order of values that its writer knows
    pictures = torch.zeros(1, 96, 80, 3, dtype=torch.uint8)  # sizes that are not alike
    sides = {place: torch.export.Dim(name, min=SHORTEST, max=LONGEST) for place, name in ((1, "high"), (2, "wide"))}
    with torch.no_grad(), quietly():
        program = torch.export.export(whole, (pictures,), dynamic_shapes={"pictures": sides})
        lowered: Any = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        (folder / FILE).write_bytes(lowered.to_executorch().buffer)
