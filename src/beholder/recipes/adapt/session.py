"""What every stage of one run works with."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.data.decode import Limits
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.runtime.device import Device
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
