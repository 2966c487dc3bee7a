"""What every stage of one run works with."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.data.decode import Limits
from beholder.models.codec import CodecConfig
from beholder.recipes.tokenizer.settings import TokenizerConfig
from beholder.runtime.device import Device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Sitting:
    """Settings, folder, machine and console."""

    config: TokenizerConfig
    codec: CodecConfig
    run: RunFolder
    device: Device
    limits: Limits
    log: Log
