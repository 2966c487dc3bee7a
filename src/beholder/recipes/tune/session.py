"""What every stage of one run of `tune` works with."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.data.decode import Limits
from beholder.recipes.tune.settings import TuneConfig
from beholder.runtime.device import Device
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
