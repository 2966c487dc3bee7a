"""What every stage of one run works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.data.decode import Limits
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.runtime.device import Device, release_freed_memory
from beholder.runtime.energy import Stopwatch
from beholder.runtime.files import told_kindly
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tokenizers.pixels import PixelConfig


@dataclass(frozen=True)
class Session:
    """One sitting of a run: settings, folder, machine and console."""

    config: AdaptConfig
    run: RunFolder
    device: Device
    limits: Limits
    pixels: PixelConfig
    log: Log

    @contextmanager
    def charged(self, stage: str) -> Iterator[None]:
        """Book what the block costs to `stage`; the memory that it leaves behind goes back to the system."""
        watch = Stopwatch()
        try:
            yield
        finally:
            self.run.charge(stage, watch.cost())
            release_freed_memory()

    def trained(self, stage: str, backbone: nn.Module, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Let `work` train the backbone in place and tell its story, once: later sittings load what came of it."""
        final = self.run.path / "checkpoints" / f"{stage}.safetensors"
        if not self.run.is_done(stage):
            with told_kindly(self.run.path):
                story = work()
                release_freed_memory()
                final.parent.mkdir(exist_ok=True)
                save_tensors(final, backbone.state_dict())
                self.run.stage(stage, lambda: story)
        backbone.load_state_dict(load_tensors(final))
        return self.run.stage(stage, dict)
