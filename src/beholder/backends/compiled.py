"""The model in torch itself: as it is, or compiled into one program for this processor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from beholder.backends.outputs import Flat, Run, cast, frozen_copy


def build_plain(model: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Run:
    """Every operation by itself, without gradients."""
    flat = Flat(frozen_copy(model, dtype))

    @torch.inference_mode()
    def run(*inputs: Tensor) -> Sequence[Tensor]:
        return flat(*cast(inputs, dtype))

    return run


def build_compiled(model: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Run:
    """Through torch.compile with weights as constants, arranged for the processor once. Needs a C++ compiler; takes
    from seconds to minutes, and again for every new shape of the input."""
    flat = torch.compile(Flat(frozen_copy(model, dtype)), options={"freezing": True})

    @torch.no_grad()
    def run(*inputs: Tensor) -> Sequence[Tensor]:
        return flat(*cast(inputs, dtype))

    run(*example)
    return run
