"""The model as an ONNX graph, run by ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from beholder.backends.outputs import Flat, Run, export_graph, frozen_copy
from beholder.backends.quiet import quietly


def build_onnxruntime(model: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Run:
    """In fp32, for any number of examples. Raises ImportError without onnx, onnxscript and onnxruntime."""
    import onnxruntime

    assert dtype == torch.float32, dtype
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; the graph's own warnings tell a user nothing
    with tempfile.TemporaryDirectory() as folder:  # weights above 2 GB do not fit into one message
        path = Path(folder) / "model.onnx"
        export_onnx(model, example, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return [torch.from_numpy(found) for found in session.run(None, given)]

    return run


def export_onnx(model: nn.Module, example: Sequence[Tensor], path: Path) -> None:
    """Write the model's graph, with weights beside it. The first dimension of every input may vary."""
    with quietly():
        graph = export_graph(Flat(frozen_copy(model)), example)
        torch.onnx.export(graph, (), path, dynamo=True, external_data=True, verbose=False)
