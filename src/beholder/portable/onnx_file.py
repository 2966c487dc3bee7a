"""One ONNX file: preprocessing, network (in 8 bits, if asked for) and answers, joined."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.backends.outputs import Precision, frozen_copy
from beholder.backends.quiet import quietly
from beholder.portable.exportable import Exportable, Preprocessing
from beholder.portable.quantise import quantise_onnx

FILE = "model.onnx"
_PICTURES = "pictures"
_MOST_BYTES_OF_A_MESSAGE = 1_900_000_000
"""A protobuf message ends at 2 GB; heavier weights stand in a file beside it."""


def write_onnx(model: Exportable, precision: Precision, examples: Sequence[Tensor], folder: Path) -> None:
    """`examples` are pixels of real pictures, from which 8 bits take their ranges."""
    import onnx
    from onnx import compose

    pixels = [f"pixels.{number}" for number in range(len(model.pixels))]
    with torch.no_grad():
        seen = model.network(*(tensor[:2] for tensor in examples))
    features = [f"features.{number}" for number in range(len(seen))]
    pictures = torch.zeros(2, 96, 80, 3, dtype=torch.uint8)  # sizes that are not alike
    first = _graph(Preprocessing(model.pixels), [pictures], [_PICTURES], pixels, (0, 1, 2))
    network = _graph(frozen_copy(model.network), [tensor[:2] for tensor in examples], pixels, features, (0,))
    if precision == "int8":
        network = quantise_onnx(network, pixels, examples, is_transformer=model.is_transformer)
    last = _graph(frozen_copy(model.answers), list(seen), features, list(model.outputs), (0,))
    joined = first
    for number, (part, names) in enumerate(((network, pixels), (last, features))):
        part = compose.add_prefix(part, f"part{number}/", rename_inputs=False, rename_outputs=False)
        part.ir_version = joined.ir_version
        joined = compose.merge_models(joined, part, io_map=[(name, name) for name in names])
    del joined.metadata_props[:]
    onnx.checker.check_model(joined)
    is_heavy = joined.ByteSize() > _MOST_BYTES_OF_A_MESSAGE
    onnx.save(joined, folder / FILE, save_as_external_data=is_heavy, location=f"{FILE}.weights" if is_heavy else None)


def _graph(
    module: nn.Module, given: list[Tensor], inputs: list[str], outputs: list[str], varying: tuple[int, ...]
) -> Any:
    import onnx

    sizes = tuple(dict.fromkeys(varying, torch.export.Dim.DYNAMIC) for _ in given)
    with quietly(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(_Listed(module), tuple(given), dynamic_shapes={"inputs": sizes})
        path = Path(folder) / FILE
        torch.onnx.export(
            program, (), path, dynamo=True, external_data=True, verbose=False, input_names=inputs, output_names=outputs
        )
        return onnx.load(path)


class _Listed(nn.Module):
    """Inputs in a row, whatever the module calls them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)
