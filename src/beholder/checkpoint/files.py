"""Safetensors files, written whole and read with kind words when they are broken. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from beholder.runtime.files import write_whole
from beholder.types import UserError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write all tensors in one whole file; `metadata` are short texts that travel in the header."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: save_file(ready, temporary, dict(metadata or {})))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file. Raises UserError when it is missing, truncated or another format."""
    if not path.is_file():
        raise UserError(f"{path} is missing; a model folder holds config.json and model.safetensors.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({error}); copy or train it again. "
            "Pickled weights (.pt, .pth, .bin) are never read."
        ) from error


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Fill `module` with exactly these tensors. Raises UserError that names what is missing, extra or misshapen."""
    wanted = module.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & tensors.keys())
        if wanted[name].shape != tensors[name].shape
    ]
    invalid = sorted(name for name, tensor in tensors.items() if tensor.is_floating_point() and has_nan(tensor))
    for what, names in (
        ("lacks", missing),
        ("has unknown", extra),
        ("has misshapen", misshapen),
        ("has NaN in", invalid),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"{source} {what} {', '.join(names[:3])}{more}; it does not fit its config.json.")
    module.load_state_dict(dict(tensors))


def has_nan(tensor: Tensor) -> bool:
    return bool(torch.isnan(tensor).any())
