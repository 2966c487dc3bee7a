"""What every stage of one run of `tune` works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from beholder.data.decode import Limits
from beholder.recipes.tune.settings import TuneConfig
from beholder.runtime.device import Device, release_freed_memory
from beholder.runtime.energy import Stopwatch
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Session:
    """One sitting of a run: settings, folder, machine and console."""

    config: TuneConfig
    run: RunFolder
    device: Device
    limits: Limits
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
