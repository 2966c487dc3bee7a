"""The model as OpenVINO's graph: Intel's own library, the fastest on its processors; int8 with NNCF."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from beholder.backends.outputs import Flat, Run, export_graph, frozen_copy
from beholder.backends.quiet import quietly
from beholder.runtime.machine import adds_bytes_exactly
from beholder.trunk.attention import SelfAttention

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


def build_openvino(model: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Run:
    """Products in that number format, for any number of examples. Raises ImportError without openvino."""
    return _compile(_convert(model, example), dtype)


def build_openvino_int8(model: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Run:
    """Weights and activations in 8 bits, whose ranges are taken from the example: give real inputs, some dozens (NNCF's
    post-training quantisation). Raises ImportError without openvino and nncf."""
    graph, is_transformer = _convert(model, example), any(isinstance(part, SelfAttention) for part in model.modules())
    rows = [tuple(tensor[row : row + 1].numpy() for tensor in example) for row in range(len(example[0]))]
    return _compile(quantise(graph, rows, is_transformer=is_transformer), dtype)


def quantise(graph: Any, rows: Sequence[Any], *, is_transformer: bool, left_out: Sequence[str] = ()) -> Any:
    """The graph with its products in 8 bits, those named in `left_out` as they are; ranges of activations are those of
    `rows`, each what the graph is asked about once. Weights use half of their range where this processor adds bytes in
    16 bits. Raises ImportError without nncf."""
    import nncf

    fix = nncf.OverflowFix.FIRST_LAYER if adds_bytes_exactly() else nncf.OverflowFix.ENABLE
    nncf.set_log_level(logging.ERROR)
    with quietly():  # progress bars
        return nncf.quantize(
            graph, nncf.Dataset(list(rows)), subset_size=len(rows), fast_bias_correction=is_transformer,
            model_type=nncf.ModelType.TRANSFORMER if is_transformer else None,
            ignored_scope=nncf.IgnoredScope(names=list(left_out), validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )  # fmt: skip


def _convert(model: nn.Module, example: Sequence[Tensor]) -> Any:
    import openvino

    with quietly():
        return openvino.convert_model(export_graph(Flat(frozen_copy(model)), example))


def _compile(graph: Any, dtype: torch.dtype) -> Run:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        found = request.infer([tensor.numpy() for tensor in inputs])
        return [torch.from_numpy(found[place].copy()) for place in range(len(found))]

    return run
