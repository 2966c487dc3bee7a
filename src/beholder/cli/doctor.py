"""beholder doctor"""

from __future__ import annotations

from beholder.runtime.log import Log


def doctor(*, device: str = "auto", threads: int | None = None, json: bool = False) -> None:
    """What this machine has and what will be used: device, number format, energy counters, extras.

    Example: `beholder doctor`

    Parameters
    ----------
    device
        auto, cpu, cuda, cuda:N or mps.
    threads
        CPU threads; all cores of this process if not given.
    json
        Print one JSON object.
    """
    from beholder.recipes.doctor import doctor as run

    findings = run(device, threads)
    Log(as_json=json).result(findings, "\n".join(f"{name:<20} {value}" for name, value in findings.items()))
