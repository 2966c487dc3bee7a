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
