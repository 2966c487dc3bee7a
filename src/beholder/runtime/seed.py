"""One seed, every generator: random numbers as a function of (seed, purpose, step), so a resumed run repeats them."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch

from beholder.types import UserError

_BEYOND = 1 << 62
"""What is drawn in rows takes seeds from the one that is given on, and torch takes 64 bits."""


def check_seed(seed: int) -> None:
    """Raises UserError for what is no seed."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < _BEYOND:
        raise UserError(f"--seed {seed}: give a whole number from 0 to {_BEYOND - 1}.")


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose: equal arguments give equal seeds, on every machine and Python version."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *purpose))


def torch_generator(seed: int, *purpose: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, *purpose))


def seed_everything(seed: int, *purpose: str | int) -> None:
    """Set the global generators of Python, NumPy and PyTorch (all devices)."""
    value = derive(seed, *purpose)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)
