"""One function for all ways to run a model, and which of them is the fastest on this machine, found by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from beholder.backends.compiled import build_compiled, build_plain
from beholder.backends.libraries import check_libraries
from beholder.backends.onnx import build_onnxruntime
from beholder.backends.openvino import build_openvino, build_openvino_int8
from beholder.backends.outputs import BOUNDS, Backend, Precision, Run, check_loss, flatten, frozen_copy, rebuild
from beholder.backends.packed import build_packed
from beholder.types import UserError

QUICK: tuple[Backend, ...] = ("plain", "packed", "onnxruntime", "openvino")
"""What "auto" tries; compiling takes minutes, so that it is for those who ask for it."""

Build = Callable[[nn.Module, Sequence[Tensor], torch.dtype], Run]
_BUILDS: dict[tuple[Backend, Precision], Build] = {
    ("plain", "fp32"): build_plain,
    ("plain", "bf16"): build_plain,
    ("packed", "fp32"): build_packed,
    ("packed", "bf16"): build_packed,
    ("compiled", "fp32"): build_compiled,
    ("compiled", "bf16"): build_compiled,
    ("onnxruntime", "fp32"): build_onnxruntime,
    ("openvino", "fp32"): build_openvino,
    ("openvino", "bf16"): build_openvino,
    ("openvino", "int8"): build_openvino_int8,
}
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}
"""Of what is not in 8 bits."""
_NUM_RUNS = 5


@dataclass(frozen=True)
class Prepared:
    """A model ready to run: called with tensors as the model is, it gives what the model gives, in fp32."""

    backend: Backend
    precision: Precision
    loss: float
    """Distance of its outputs from the model's own on the example, in the unit of `BOUNDS`."""
    run: Run
    like: Any
    """What the model gave for the example."""

    def __call__(self, *inputs: Tensor) -> Any:
        return rebuild(self.like, self.run(*inputs))


@dataclass(frozen=True)
class Trial:
    """What one backend did on this machine."""

    backend: Backend
    seconds: float | None = None
    """A run on the example, the median of several."""
    prepared: Prepared | None = None
    refused: str | None = None
    """Why it cannot be used, in one sentence."""


def prepare(
    model: nn.Module,
    example: Tensor | Sequence[Tensor],
    backend: Backend | Literal["auto"] = "auto",
    precision: Precision = "fp32",
    bound: float | None = None,
) -> Prepared:
    """`model` made ready for inference on a CPU, with torch's present number of threads.

    `example` is what it is called with; calls may differ from it in their first dimension. For int8 it must be real
    inputs, some dozens: the ranges of activations are taken from it. "auto" measures and takes the fastest.

    Raises UserError for a library that is not installed, a pair of backend and precision that does not exist, and when
    outputs on the example are further from the model's own in fp32 than `bound`, if not given that of
    `BOUNDS`, allows.
    """
    if backend != "auto":
        return _prepare(model, _as_tuple(example), backend, precision, bound)
    trials = choose(model, example, precision, QUICK, bound)
    if trials[0].prepared is None:
        told = " ".join(trial.refused for trial in trials if trial.refused)
        raise UserError(f"No backend runs this model in {precision}. {told}")
    return trials[0].prepared


def choose(
    model: nn.Module,
    example: Tensor | Sequence[Tensor],
    precision: Precision = "fp32",
    backends: Sequence[Backend] = QUICK,
    bound: float | None = None,
) -> list[Trial]:
    """Every backend tried on this machine, the fastest first, those that cannot be used last, each with its reason.

    They run in turn, so that what else the machine does falls on all of them.
    """
    given, ready, refused = _as_tuple(example), list[Prepared](), list[Trial]()
    for backend in backends:
        try:
            ready.append(_prepare(model, given, backend, precision, bound))
        except UserError as error:
            refused.append(Trial(backend, refused=str(error)))
    seconds: dict[str, list[float]] = {one.backend: [] for one in ready}
    for _ in range(_NUM_RUNS):
        for one in ready:
            began = time.perf_counter()
            one.run(*given)
            seconds[one.backend].append(time.perf_counter() - began)
    trials = [Trial(one.backend, statistics.median(seconds[one.backend]), one) for one in ready]
    return sorted(trials, key=lambda trial: trial.seconds or 0.0) + refused


def exists(backend: Backend, precision: Precision) -> bool:
    """Whether there is such a pair, its libraries being here or not."""
    return (backend, precision) in _BUILDS


def _prepare(
    model: nn.Module, example: tuple[Tensor, ...], backend: Backend, precision: Precision, bound: float | None
) -> Prepared:
    if precision not in BOUNDS:
        raise UserError(f"precision={precision!r} is not known; choose {', '.join(BOUNDS)}.")
    build = _BUILDS.get((backend, precision))
    if build is None:
        able = [one for one, number in _BUILDS if number == precision]
        raise UserError(f"backend={backend!r} does not run in {precision}; choose {', '.join(able)} or auto.")
    check_libraries(backend, precision)
    frozen = frozen_copy(model)  # the model itself may be in training, as a whole or in part
    with torch.no_grad():
        expected = frozen(*example)
    try:
        run = build(frozen, example, _DTYPES[precision])
        found = run(*example)
    except UserError:
        raise
    except Exception as error:  # whatever a library trips over in a model that it cannot read
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        raise UserError(f"backend={backend!r} cannot run this model ({reason}); choose backend='plain'.") from error
    loss = check_loss(found, flatten(expected), backend, precision, bound)
    return Prepared(backend, precision, loss, run, expected)


def _as_tuple(example: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (example,) if isinstance(example, Tensor) else tuple(example)
