"""Weights and activations in 8 bits after training: ONNX Runtime's own tool for its graphs, NNCF for OpenVINO's.

Each library runs the graphs of its own tool fastest: of NNCF's ONNX graph one picture took four times as long as of
ONNX Runtime's. The products that read pixels stay as they are: they see values that no range was learned for, and
cost little (measured on solar cells, both more exact and faster in ONNX Runtime). A transformer's weights have no sign
in ONNX Runtime: with one, products overflow 16 bits on processors without VNNI, and a small ViT lay 0.10 away and not
0.009. Convolutions have fast kernels for weights with a sign alone. Where this processor adds bytes in 16 bits,
weights use half of their range: on the solar cells OpenVINO's graph lay 0.13 away and not 0.29, ONNX Runtime's 0.46 and
not 0.69.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from beholder.backends.openvino import quantise
from beholder.backends.quiet import quietly
from beholder.runtime.machine import adds_bytes_exactly

NUM_EXAMPLES = 64
"""Pictures from which ranges of activations are taken."""
_PRODUCTS = ("Conv", "MatMul", "Gemm")
_ON_THE_WAY = ("Convert", "Reshape", "Transpose")
"""Between pixels and the first product."""


def quantise_onnx(graph: Any, names: Sequence[str], examples: Sequence[Tensor], *, is_transformer: bool) -> Any:
    """The graph with its operations in 8 bits, ranges from the examples, row by row. Of a transformer the products
    alone, whose inputs' ranges are taken anew in every call: with fixed ones a ViT-B/32 of random weights lay 0.37 away
    and not 0.014. Raises ImportError without onnxruntime."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reads_pixels = [
        node.name for node in graph.graph.node if node.op_type in _PRODUCTS and set(node.input) & set(names)
    ]
    with quietly(), tempfile.TemporaryDirectory() as folder:
        plain, tidied, quantised = (Path(folder) / f"{name}.onnx" for name in ("plain", "tidied", "quantised"))
        onnx.save(graph, plain)
        quant_pre_process(plain, tidied, skip_symbolic_shape=True)
        if is_transformer:
            graph = onnx.load(tidied)
            del graph.graph.value_info[:]  # shapes from before matrices were turned
            onnx.save(graph, tidied)
            quantize_dynamic(
                tidied, quantised, per_channel=True, weight_type=QuantType.QUInt8, nodes_to_exclude=reads_pixels,
                op_types_to_quantize=["MatMul", "Gemm"],
            )  # fmt: skip
        else:
            quantize_static(
                tidied, quantised, cast(Any, _Rows(names, examples)), quant_format=QuantFormat.QDQ,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                reduce_range=not adds_bytes_exactly(), nodes_to_exclude=reads_pixels,
            )  # fmt: skip
        return onnx.load(quantised)


def quantise_openvino(graph: Any, names: Sequence[str], examples: Sequence[Tensor], *, is_transformer: bool) -> Any:
    """The graph with its products in 8 bits, ranges as above. Raises ImportError without nncf."""
    return quantise(graph, _rows(names, examples), is_transformer=is_transformer, left_out=_first_products(graph))


def _first_products(graph: Any) -> list[str]:
    found = []
    for node in graph.get_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            source = node.input_value(0).get_node()
            while source.get_type_name() in _ON_THE_WAY:
                source = source.input_value(0).get_node()
            if source.get_type_name() == "Parameter":
                found.append(node.get_friendly_name())
    return found


def _rows(names: Sequence[str], examples: Sequence[Tensor]) -> list[dict[str, Any]]:
    return [
        {name: tensor[row : row + 1].numpy() for name, tensor in zip(names, examples, strict=True)}
        for row in range(len(examples[0]))
    ]


class _Rows:
    """What ONNX Runtime's tool reads examples from; it only asks for `get_next`."""

    def __init__(self, names: Sequence[str], examples: Sequence[Tensor]) -> None:
        self._rows = iter(_rows(names, examples))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rows, None)
