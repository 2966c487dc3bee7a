"""The weights of the moment at which held-out data were understood best: with few pictures, the last ones know the
learned pictures by heart (early stopping: Prechelt 1998)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.runtime.files import read_json, write_text
from beholder.train.loop import Probe

_WEIGHTS, _NOTE = "best.safetensors", "best.json"


class KeepBest:
    """A probe that passes on what `probe` tells, and keeps the weights in `folder` at which `figure` was lowest.

    A run that was killed and goes on tells the same figures again, and so keeps the same weights.
    """

    def __init__(self, probe: Probe, figure: str, folder: Path) -> None:
        self._probe, self._figure, self._folder = probe, figure, folder

    def __call__(self, model: nn.Module, step: int) -> Mapping[str, float]:
        told = self._probe(model, step)
        value, note = float(told[self._figure]), self._folder / _NOTE
        if not note.is_file() or value < read_json(note)["value"]:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_tensors(self._folder / _WEIGHTS, model.state_dict())
            write_text(note, json.dumps({"step": step, "value": value}))  # last: it says that the weights are whole
        return told

    def restore(self, model: nn.Module) -> int:
        """Put the kept weights into the model; the step that they are of."""
        model.load_state_dict(load_tensors(self._folder / _WEIGHTS))
        return int(read_json(self._folder / _NOTE)["step"])
