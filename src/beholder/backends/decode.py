"""A language model made ready to write: the same model to `inference.generate`, its weights as one token wants them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from beholder.backends.outputs import Precision, check_loss, frozen_copy
from beholder.backends.packed import pack
from beholder.models.gpt import GPT
from beholder.types import UserError

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
_NUM_TOKENS = 16
"""Of the text on which outputs are compared."""


def prepare_decoder(
    model: GPT, backend: Literal["plain", "packed"] = "packed", precision: Precision = "fp32", num_rows: int = 1
) -> nn.Module:
    """A copy for inference on a CPU, called as the model is, caches included; `num_rows` texts are usually written side
    by side.

    Raises UserError for a precision that does not exist here, and when scores lie further from the model's own in fp32
    than `BOUNDS` allows.
    """
    if precision not in _DTYPES:
        raise UserError(f"precision={precision!r} is not known for writing; choose {' or '.join(_DTYPES)}.")
    dtype = _DTYPES[precision]
    ready = frozen_copy(model, dtype) if backend == "plain" else pack(model, dtype, num_rows)
    tokens = torch.arange(min(_NUM_TOKENS, model.longest or _NUM_TOKENS))[None] % model.config.vocabulary_size
    with torch.inference_mode():
        expected = frozen_copy(model)(tokens)
        check_loss([ready(tokens)], [expected], backend, precision)
    return ready
