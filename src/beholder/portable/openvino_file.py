"""OpenVINO's two files: a graph that begins with the bytes of pictures, and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beholder.backends.outputs import Flat, Precision, export_graph, frozen_copy
from beholder.backends.quiet import quietly
from beholder.portable.exportable import Exportable
from beholder.portable.quantise import quantise_openvino
from beholder.tokenizers.pixels import PixelConfig

FILE = "model.xml"
_PICTURES = "pictures"


def write_openvino(model: Exportable, precision: Precision, examples: Sequence[Tensor], folder: Path) -> None:
    """`examples` are pixels of real pictures, from which 8 bits take their ranges."""
    import openvino

    pixels = [f"pixels.{number}" for number in range(len(model.pixels))]
    with torch.no_grad():
        seen = model.network(*(tensor[:2] for tensor in examples))
    features = [f"features.{number}" for number in range(len(seen))]
    network = _named(_convert(model.network, [tensor[:2] for tensor in examples]), pixels, features)
    if precision == "int8":
        network = quantise_openvino(network, pixels, examples, is_transformer=model.is_transformer)
    last = _named(_convert(model.answers, list(seen)), features, model.outputs)
    graph = _chain(_chain(_preprocessing(model.pixels), network), last)
    openvino.save_model(graph, folder / FILE, compress_to_fp16=precision == "bf16")


def _convert(module: nn.Module, given: list[Tensor]) -> Any:
    import openvino

    with quietly():
        return openvino.convert_model(export_graph(Flat(frozen_copy(module)), given))


def _named(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    for port, name in zip([*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True):
        port.get_tensor().set_names({name})
    return graph


def _chain(first: Any, second: Any) -> Any:
    """One graph: what the first gives, the second takes, in order."""
    for result, parameter in zip(first.get_results(), second.get_parameters(), strict=True):
        parameter.output(0).replace(result.input_value(0))
    return _graph(second.get_results(), first.get_parameters())


def _preprocessing(configs: Sequence[PixelConfig]) -> Any:
    """`PixelsInGraph` in OpenVINO's own operations, which know Pillow's way to resample."""
    import openvino
    from openvino import opset13 as ops

    pictures = ops.parameter([-1, -1, -1, 3], openvino.Type.u8, _PICTURES)
    pictures.output(0).get_tensor().set_names({_PICTURES})
    sides = ops.gather(ops.shape_of(pictures, "i64"), _whole([1, 2]), _whole(0))  # height, width
    planes = ops.transpose(pictures, _whole([0, 3, 1, 2]))
    return _graph([_pixels(planes, sides, config) for config in configs], [pictures])


def _graph(results: Sequence[Any], parameters: Sequence[Any]) -> Any:
    import openvino

    build: Any = openvino.Model  # two classes of one name, of which type checkers see the wrong one
    return build(results, parameters, "beholder")


def _pixels(planes: Any, sides: Any, config: PixelConfig) -> Any:
    from openvino import opset13 as ops

    if config.fit == "stretch":
        size = _whole(_pair(config.size))
    else:
        shorter = ops.reduce_min(sides, _whole(0), keep_dims=True)
        size = ops.divide(ops.multiply(sides, _whole(config.size)), shorter)
    x = planes if config.is_rounded else ops.convert(planes, "f32")
    how = f"{config.resampling}_pillow"
    x = ops.interpolate(x, size, how, shape_calculation_mode="sizes", cube_coeff=-0.5, axes=_whole([2, 3]))
    if config.crop is not None:
        crop = _whole(_pair(config.crop))
        begin = ops.divide(ops.subtract(size, crop), _whole(2))
        x = ops.slice(x, begin, ops.add(begin, crop), _whole([1, 1]), _whole([2, 3]))
    mean, std = (_colours(values, config.divisor) for values in (config.mean, config.std))
    return ops.divide(ops.subtract(ops.convert(x, "f32"), mean), std)


def _whole(values: Any) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.array(values, np.int64))


def _colours(values: Sequence[float], divisor: float) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.array(values, np.float32).reshape(1, 3, 1, 1) * np.float32(divisor))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
