"""What every stage of one run works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beholder.data.decode import Limits
from beholder.recipes.lvm.settings import LVMTraining
from beholder.runtime.device import Device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Sitting:
    """Settings, folder, machine and console."""

    data: Path
    settings: LVMTraining
    seed: int
    run: RunFolder
    device: Device
    limits: Limits
    log: Log
