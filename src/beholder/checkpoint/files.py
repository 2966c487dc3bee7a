"""Safetensors files, written whole and read with kind words when they are broken. Nothing is ever unpickled."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from beholder.runtime.files import write_whole
from beholder.types import UserError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write all tensors in one whole file; `metadata` are short texts that travel in the header.

    Raises OSError when the file system refuses, as other writers do.
    """
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(ready, temporary, dict(metadata or {}))
        except SafetensorError as error:  # a full disk comes as "I/O error: ... (os error 28)"
            found = re.search(r"\(os error (\d+)\)", str(error))
            if not found:
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error

    write_whole(path, write)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file. Raises UserError when it is missing, truncated or another format."""
    if not path.is_file():
        raise UserError(f"{path} is missing; a model folder holds config.json and model.safetensors.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({error}); copy it or train it again "
            "(pickled weights, .pt, .pth or .bin, are never read)."
        ) from error


def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], source: Path, names_there: Mapping[str, str] | None = None
) -> None:
    """Fill `module` with exactly these tensors. `names_there`: what the source calls them, where it differs.

    Raises UserError that names what is missing, extra, misshapen or no number.
    """
    there = names_there or {}
    wanted = module.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    misshapen = [
        f"{there.get(name, name)} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & tensors.keys())
        if wanted[name].shape != tensors[name].shape
    ]
    invalid = sorted(there.get(name, name) for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    for what, names in (
        ("lacks", missing),
        ("has unknown", extra),
        ("has misshapen", misshapen),
        ("has NaN or infinity in", invalid),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            reason = "its values are damaged" if names is invalid else "it does not fit its config.json"
            remedy = "copy the whole folder again, or train it again"
            raise UserError(f"{source} {what} {', '.join(names[:3])}{more}: {reason}; {remedy}.")
    module.load_state_dict(dict(tensors))
