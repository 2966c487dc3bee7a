"""A language model as one OpenVINO graph that keeps keys and values itself: a call costs its new tokens, no Python."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.backends.outputs import frozen_copy
from beholder.backends.quiet import quietly
from beholder.models.gpt import GPT
from beholder.trunk.cache import Cache
from beholder.types import UserError

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVINODecoder(nn.Module):
    """Called as a `GPT` is, by `inference`; tells scores of the next token alone. `longest` as there.

    Keys and values lie in a request of OpenVINO's, one for each cache. Padding must stand on the left.
    """

    def __init__(self, model: GPT, dtype: torch.dtype = torch.float32, has_8_bits: bool = False) -> None:
        super().__init__()
        trunk = model.config.trunk
        if trunk.source_width is not None or trunk.gated is not None:
            raise UserError("backend='openvino' writes for models that read text alone; choose backend='packed'.")
        if trunk.experts is not None:
            raise UserError("backend='openvino' has no graph for a mixture of experts; choose backend='packed'.")
        self.config, self.longest = model.config, model.longest
        self.nowhere = nn.Parameter(torch.zeros(0), requires_grad=False)  # tells the device
        self._program = _compile(_convert(model), dtype, has_8_bits)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B S"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B 1 V"]:
        """Scores of what comes after the last token."""
        return self.next_scores(tokens, is_real=is_real, cache=cache)[:, None]

    def next_scores(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B S"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B V"]:
        """Scores of what comes after the last token."""
        cache = cache or Cache(tokens.shape[1])
        cache.check_room(tokens.shape[1])
        if cache.elsewhere is None:
            cache.elsewhere = _Past(self._program.create_infer_request())
        past = cache.elsewhere
        assert isinstance(past, _Past)
        cache.length += tokens.shape[1]
        return past.read(tokens, is_real)


class _Past:
    """What one request has read. Rows are put into another order when it reads on."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._rows: Tensor | None = None

    def reorder(self, rows: Tensor) -> None:
        self._rows = rows if self._rows is None else self._rows.index_select(0, rows)

    def read(self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B S"] | None) -> Float[Tensor, "B V"]:
        starts = np.zeros(len(tokens), np.int64)
        if is_real is not None:
            starts = (~is_real).sum(1).numpy()
            assert bool((is_real == (torch.arange(is_real.shape[1]) >= torch.from_numpy(starts)[:, None])).all()), (
                "padding stands on the left"
            )
        rows = np.arange(len(tokens)) if self._rows is None else self._rows.numpy()
        self._rows = None
        self._request.infer([tokens.contiguous().numpy(), starts, rows.astype(np.int32)], share_inputs=True)
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())


class _PassedCache(Cache):
    """Keys and values that come in with a call and go out with it."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__(0)
        self.past, self.now = past, list[Tensor]()
        self.length = past[0].shape[2]

    def places(self, x: Tensor) -> Int[Tensor, "1 S"]:
        return torch.arange(self.length + x.shape[1], device=x.device)[None]

    def extend(
        self, layer: int, k: Float[Tensor, "B N T K"], v: Float[Tensor, "B N T K"]
    ) -> tuple[Float[Tensor, "B N S K"], Float[Tensor, "B N S K"]]:
        keys, values = torch.cat([self.past[2 * layer], k], 2), torch.cat([self.past[2 * layer + 1], v], 2)
        self.now += [keys, values]
        return keys, values


class _Step(nn.Module):
    """New tokens, how many tokens each row's padding has, and the past, to scores and the past with the new tokens."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, starts: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        cache = _PassedCache(past)
        places = torch.arange(past[0].shape[2] + tokens.shape[1])
        x = self.model.hidden(tokens, is_real=places[None] >= starts[:, None], cache=cache)
        return (self.model.logits(x[:, -1]).float(), *cache.now)


def _convert(model: GPT) -> Any:
    """The graph of a step, whose past is a state of the request."""
    import openvino
    from openvino._offline_transformations import apply_make_stateful_transformation

    copy = frozen_copy(model)
    assert isinstance(copy, GPT)
    trunk = copy.config.trunk
    num_heads, width = trunk.attention.num_key_heads or trunk.attention.num_heads, copy.trunk.head_width
    past = [torch.zeros(2, num_heads, 5, width) for _ in range(2 * trunk.depth)]  # sizes that are not alike
    dynamic = torch.export.Dim.DYNAMIC
    shapes = ({0: dynamic, 1: dynamic}, {0: dynamic}, [{0: dynamic, 2: dynamic}] * len(past))
    given = (torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, dtype=torch.long), past)
    with torch.no_grad(), quietly():
        graph = openvino.convert_model(torch.export.export(_Step(copy), given, dynamic_shapes=shapes))
    names = {}
    for number, (source, sink) in enumerate(zip(graph.inputs[2:], graph.outputs[1:], strict=True)):
        source.get_node().set_partial_shape(openvino.PartialShape([-1, num_heads, -1, width]))
        source.get_tensor().set_names({f"past.{number}"})
        sink.get_tensor().set_names({f"now.{number}"})
        names[f"past.{number}"] = f"now.{number}"
    graph.inputs[0].get_tensor().set_names({"tokens"})
    _take_rows(graph, list(names))
    apply_make_stateful_transformation(graph, names)
    _begin_empty(graph)
    return graph


def _take_rows(graph: Any, names: Sequence[str]) -> None:
    """A last input: the rows of the past to go on from."""
    import openvino
    from openvino import opset13

    rows = opset13.parameter(openvino.PartialShape([-1]), openvino.Type.i32, "rows")
    graph.add_parameters([rows])
    for name in names:
        source = graph.input(name)
        readers = source.get_target_inputs()
        taken = opset13.gather(source, rows, opset13.constant(0))
        for reader in readers:
            reader.replace_source_output(taken.output(0))
    graph.validate_nodes_and_infer_types()


def _begin_empty(graph: Any) -> None:
    """A state begins with as many rows as there are tokens' rows, and no token."""
    from openvino import opset13

    shape = opset13.shape_of(graph.input("tokens"), "i64")
    num_rows = opset13.gather(shape, opset13.constant([0]), opset13.constant(0))
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            sizes = [node.get_output_partial_shape(0)[place].min_length for place in (1, 2, 3)]
            wanted = opset13.concat([num_rows, opset13.constant(np.array(sizes, np.int64))], axis=0)
            node.set_arguments([opset13.broadcast(opset13.constant(np.float32(0)), wanted)])
    graph.validate_nodes_and_infer_types()


def _compile(graph: Any, dtype: torch.dtype, has_8_bits: bool) -> Any:
    import openvino

    if has_8_bits:
        import nncf

        nncf.set_log_level(logging.ERROR)
        with quietly():  # progress bars
            graph = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM)
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[dtype],
        "KV_CACHE_PRECISION": _HINTS[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    return openvino.Core().compile_model(graph, "CPU", settings)
