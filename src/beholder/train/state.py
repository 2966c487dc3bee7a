"""Checkpoints: everything a resumed run needs, as one safetensors file and one JSON file; nothing is pickled.

step-00000200.safetensors   weights, objective, optimizer, average, by name
step-00000200.json          step, plan, probes; written last, so a checkpoint without it does not exist
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from beholder.checkpoint.files import save_tensors
from beholder.runtime.files import read_json, told_kindly, write_json
from beholder.train.average import WeightAverage
from beholder.train.optimizer import AdamW
from beholder.types import UserError


@dataclass(frozen=True)
class TrainState:
    """The live objects of a run; `save` reads them, `load` fills them in place."""

    model: nn.Module
    objective: nn.Module
    optimizer: AdamW
    parameters: Mapping[str, nn.Parameter]
    """What the optimizer trains, by name."""
    average: WeightAverage | None = None

    def modules(self) -> dict[str, nn.Module]:
        modules = {"model": self.model, "objective": self.objective}
        return modules if self.average is None else {**modules, "average": self.average.model}


def save_checkpoint(state: TrainState, folder: Path, step: int, notes: Mapping[str, Any], num_kept: int = 2) -> None:
    """Write the checkpoint of `step` whole, then delete all but the newest `num_kept`.

    `notes` are JSON values that `load_checkpoint` gives back.
    """
    _prepare_moments(state)  # also of parameters that no gradient reached yet
    with told_kindly(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = _tensor_path(folder, step)
        tensors = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in _walk(state)}
        save_tensors(path, tensors)
        write_json(path.with_suffix(".json"), {"step": step, **notes})
        for old in find_checkpoints(folder)[:-num_kept]:
            _tensor_path(folder, old).with_suffix(".json").unlink()  # first what says that it exists
        kept = {_tensor_path(folder, whole) for whole in find_checkpoints(folder)}
        for orphan in {*folder.glob("step-*.safetensors"), *folder.glob(".step-*.tmp")} - kept:
            orphan.unlink()  # of deleted checkpoints, or left by a process that was killed while writing


def find_checkpoints(folder: Path) -> list[int]:
    """Steps of the whole checkpoints in `folder`, ascending."""
    return sorted(
        int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json") if path.stem[5:].isdecimal()
    )


def steps_taken(folder: Path) -> int:
    """Steps after which the last whole checkpoint in `folder` was written; 0 without one."""
    return max(find_checkpoints(folder), default=0)


def read_notes(folder: Path, step: int) -> dict[str, Any]:
    """The JSON part of a checkpoint: "step" and what `save_checkpoint` was given."""
    return read_json(_tensor_path(folder, step).with_suffix(".json"))


def load_checkpoint(state: TrainState, folder: Path, step: int) -> None:
    """Fill `state` in place. Raises UserError when the file is damaged or belongs to another model or objective."""
    path = _tensor_path(folder, step)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete it and its .json to go on from the one before."
        ) from None
    _prepare_moments(state)
    wanted = dict(_walk(state))
    differing = sorted(wanted.keys() ^ tensors.keys()) or [
        name for name, tensor in wanted.items() if tensor.shape != tensors[name].shape
    ]
    if differing:
        raise UserError(
            f"{path} belongs to another model or objective (they differ in {differing[0]}); "
            "repeat the first command to resume, or choose another folder."
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])


def _tensor_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.safetensors"


def _walk(state: TrainState) -> list[tuple[str, Tensor]]:
    """Every tensor of the run with a name, in a stable order; the tensors are the live ones."""
    named = [
        (f"{prefix}.{name}", tensor)
        for prefix, module in state.modules().items()
        for name, tensor in module.state_dict().items()
    ]
    for name, parameter in state.parameters.items():
        named += [(f"optimizer.{name}.{key}", tensor) for key, tensor in state.optimizer.state[parameter].items()]
    return named


def _prepare_moments(state: TrainState) -> None:
    """Give the optimizer's state the tensors that it lacks, as its first step would, so that they can be filled."""
    for parameter in state.parameters.values():
        state.optimizer.prepare(parameter)
