"""Training that a resumed run does not repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.runtime.device import release_freed_memory
from beholder.runtime.files import told_kindly
from beholder.runtime.run_folder import RunFolder


def trained_once(run: RunFolder, stage: str, model: nn.Module, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Let `work` train the model in place and tell its story, once: later sittings load what came of it."""
    final = run.path / "checkpoints" / f"{stage}.safetensors"
    if not run.is_done(stage):
        with told_kindly(run.path):
            story = work()
            release_freed_memory()
            final.parent.mkdir(exist_ok=True)
            save_tensors(final, model.state_dict())
            run.stage(stage, lambda: story)
    model.load_state_dict(load_tensors(final))
    return run.stage(stage, dict)
