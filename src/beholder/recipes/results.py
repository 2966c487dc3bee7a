"""What the results of every training begin with, and how a run ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from beholder.runtime.device import Device
from beholder.runtime.energy import Cost
from beholder.runtime.log import Log, spent
from beholder.runtime.machine import machine
from beholder.runtime.run_folder import RunFolder
from beholder.version import VERSION


def begin_results(run: RunFolder, device: Device, command: str, seed: int) -> dict[str, Any]:
    """Which run it was, when, by which command, where."""
    return {
        "version": VERSION,
        "name": run.path.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seed": seed,
        "machine": machine(device),
    }


def end_run(run: RunFolder, log: Log, results: dict[str, Any], headline: str | None = None) -> None:
    """Write `results.json`, which marks the run as finished, and say aloud what was found, what it cost, and where what
    came of it lies."""
    run.finish(results)
    if headline is not None:
        log.stage("Judge", headline)
    log.stage("Cost", spent(sum(run.costs().values(), Cost())))
    for name, path in (("Model", run.path / "model"), ("Report", run.path / "report.html")):
        if path.exists():
            log.stage(name, str(path))
