"""torch's own exported program: one file that torch runs without beholder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from beholder.backends.outputs import Precision
from beholder.backends.quiet import quietly
from beholder.portable.exportable import Exportable, Pipeline

FILE = "model.pt2"
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def write_program(model: Exportable, precision: Precision, examples: Sequence[Tensor], folder: Path) -> None:
    """Any number of pictures of any size in a call."""
    pictures = torch.zeros(2, 96, 80, 3, dtype=torch.uint8)  # sizes that are not alike
    sizes = dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC)
    with torch.no_grad(), quietly():
        program = torch.export.export(
            Pipeline(model, _DTYPES[precision]).eval(), (pictures,), dynamic_shapes={"pictures": sizes}
        )
        torch.export.save(program, folder / FILE)
