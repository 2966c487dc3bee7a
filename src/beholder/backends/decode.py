"""A language model made ready to write: the same model to `inference.generate`, run as one token at a time wants it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beholder.backends.libraries import check_libraries
from beholder.backends.openvino_decoder import OpenVINODecoder
from beholder.backends.outputs import Backend, Precision, check_loss, frozen_copy
from beholder.backends.packed import pack
from beholder.models.gpt import GPT
from beholder.trunk.cache import Cache
from beholder.types import UserError

Build = Callable[[GPT, int], nn.Module]
_BUILDS: dict[tuple[Backend, Precision], Build] = {
    ("plain", "fp32"): lambda model, num_rows: frozen_copy(model),
    ("plain", "bf16"): lambda model, num_rows: frozen_copy(model, torch.bfloat16),
    ("packed", "fp32"): lambda model, num_rows: pack(model, torch.float32, num_rows),
    ("packed", "bf16"): lambda model, num_rows: pack(model, torch.bfloat16, num_rows),
    ("openvino", "fp32"): lambda model, num_rows: OpenVINODecoder(model),
    ("openvino", "bf16"): lambda model, num_rows: OpenVINODecoder(model, torch.bfloat16),
    ("openvino", "int8"): lambda model, num_rows: OpenVINODecoder(model, torch.float32, has_8_bits=True),
}
DECODERS: tuple[Backend, ...] = ("plain", "packed", "openvino")
"""What "auto" tries."""
_NUM_TOKENS = 16
"""Of the text on which scores are compared, and after which steps are timed."""
_NUM_STEPS = 9


@dataclass(frozen=True)
class Writer:
    """What one backend did on this machine."""

    backend: Backend
    seconds: float | None = None
    """Of a step with all rows, the median of several."""
    loss: float | None = None
    """Distance of its scores from the model's own, in the unit of `BOUNDS`."""
    model: nn.Module | None = None
    refused: str | None = None
    """Why it cannot be used, in one sentence."""


def prepare_decoder(
    model: GPT, backend: Backend | Literal["auto"] = "packed", precision: Precision = "fp32", num_rows: int = 1
) -> nn.Module:
    """A copy for inference on a CPU, called by `inference` as the model is, caches included; `num_rows` texts are
    usually written side by side. "auto" measures and takes the fastest.

    int8 is of weights alone; what they are multiplied with is rounded group by group as it comes. Raises UserError for
    a library that is not installed, a pair of backend and precision that does not exist here, and when scores lie
    further from the model's own in fp32 than `BOUNDS` allows.
    """
    if backend != "auto":
        return cast(nn.Module, _prepare(model, backend, precision, num_rows).model)
    writers = choose_decoder(model, precision, num_rows)
    if writers[0].model is None:
        told = " ".join(one.refused for one in writers if one.refused)
        raise UserError(f"No backend writes with this model in {precision}. {told}")
    return writers[0].model


def choose_decoder(
    model: GPT, precision: Precision = "fp32", num_rows: int = 1, backends: Sequence[Backend] = DECODERS
) -> list[Writer]:
    """Every backend tried on this machine, the fastest first, those that cannot be used last, each with its reason.
    They write in turn, so that what else the machine does falls on all of them."""
    ready, refused = list[Writer](), list[Writer]()
    for backend in backends:
        try:
            ready.append(_prepare(model, backend, precision, num_rows))
        except UserError as error:
            refused.append(Writer(backend, refused=str(error)))
    seconds: dict[str, list[float]] = {one.backend: [] for one in ready}
    tokens = _tokens(model).expand(num_rows, -1)
    caches = {one.backend: Cache(tokens.shape[1]) for one in ready}
    for place in range(min(_NUM_STEPS + 1, tokens.shape[1])):
        for one in ready:
            began = time.perf_counter()
            _read(cast(nn.Module, one.model), tokens[:, place : place + 1], caches[one.backend])
            seconds[one.backend].append(time.perf_counter() - began)
    timed = [
        Writer(one.backend, statistics.median(seconds[one.backend][1:]), one.loss, one.model) for one in ready
    ]  # the first step makes the room
    return sorted(timed, key=lambda one: one.seconds or 0.0) + refused


def _prepare(model: GPT, backend: Backend, precision: Precision, num_rows: int) -> Writer:
    build = _BUILDS.get((backend, precision))
    if build is None:
        able = [one for one, number in _BUILDS if number == precision]
        if not able:
            raise UserError(f"precision={precision!r} is not known for writing; choose fp32, bf16 or int8.")
        raise UserError(f"backend={backend!r} does not write in {precision}; choose {', '.join(able)} or auto.")
    check_libraries(backend, precision)
    try:
        ready = build(model, num_rows)
        found = _last_scores(ready, _tokens(model))
    except UserError:
        raise
    except Exception as error:  # whatever a library trips over in a model that it cannot read
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        raise UserError(f"backend={backend!r} cannot write with this model ({reason}); choose another one.") from error
    loss = check_loss([found], [_last_scores(frozen_copy(model), _tokens(model))], backend, precision)
    return Writer(backend, loss=loss, model=ready)


def _tokens(model: GPT) -> Int[Tensor, "1 T"]:
    """Of a text that is read to compare and to measure."""
    return torch.arange(min(_NUM_TOKENS, model.longest or _NUM_TOKENS))[None] % model.config.vocabulary_size


def _last_scores(model: nn.Module, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "steps B V"]:
    """After most of the text, read at once, and after each token of its end, read by itself."""
    cache, num_tokens = Cache(tokens.shape[1]), tokens.shape[1]
    parts = tokens.tensor_split(list(range(max(1, num_tokens - 3), num_tokens)), dim=1)
    return torch.stack([_read(model, part, cache).float() for part in parts])


@torch.inference_mode()
def _read(model: nn.Module, tokens: Int[Tensor, "B T"], cache: Cache) -> Float[Tensor, "B V"]:
    return model(tokens, cache=cache)[:, -1]
