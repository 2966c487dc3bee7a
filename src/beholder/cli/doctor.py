"""beholder doctor"""

from __future__ import annotations

from beholder.cli.options import Device, Json, Threads
from beholder.runtime.log import Log


def doctor(*, device: Device = "auto", threads: Threads = None, json: Json = False) -> None:
    """What this machine has and what will be used: device, number format, energy counters, extras.

    Example: `beholder doctor`
    """
    from beholder.recipes.doctor import doctor as run

    findings = run(device, threads)
    Log(as_json=json).result(findings, "\n".join(f"{name:<20} {value}" for name, value in findings.items()))
