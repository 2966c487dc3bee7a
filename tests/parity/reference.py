"""Reference models of `transformers`, small and with all parameters random, saved as users find them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """No parameter keeps the zeros and ones of an initialisation, which would hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            is_gain = value.ndim == 1 and name.endswith("weight")
            value.copy_(1 + 0.2 * noise if is_gain else 0.2 * noise if value.ndim == 1 else 0.15 * noise)
    return model.eval()


def save(model: Any, folder: Path) -> Path:
    """As `save_pretrained` does it, without its progress bar."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference in units of the reference's largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())
