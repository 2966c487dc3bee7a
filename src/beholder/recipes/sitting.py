"""What every stage of one run over picture codes works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from beholder.data.decode import Limits
from beholder.runtime.device import Device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder

Settings = TypeVar("Settings")
Others = TypeVar("Others")


@dataclass(frozen=True)
class Sitting(Generic[Settings]):
    """Settings, folder, machine and console."""

    data: Path
    settings: Settings
    """Of the recipe: what decides its numbers."""
    seed: int
    run: RunFolder
    device: Device
    limits: Limits
    log: Log

    def with_settings(self, settings: Others) -> Sitting[Others]:
        """The same run under the settings of another recipe, whose stages it takes."""
        return Sitting(self.data, settings, self.seed, self.run, self.device, self.limits, self.log)
