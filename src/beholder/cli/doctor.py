"""beholder doctor"""

from __future__ import annotations

from beholder.cli.options import Device, Json, Threads
from beholder.runtime.log import Log


def doctor(
    *,
    backends: bool = False,
    model: str | None = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """What this machine has and what will be used: device, number format, energy counters, extras.

    Example: `beholder doctor`

    Parameters
    ----------
    backends
        Measure every way to run an image encoder on this CPU; takes minutes.
    model
        With --backends: the model whose encoder is measured, by folder or name. One of ViT-B/32's shape, with random
        weights, if not given.
    """
    from beholder.recipes.doctor import doctor as run

    log = Log(as_json=json)
    findings = run(device, threads, backends=backends, model=model, log=log)
    width = max(20, *(len(name) for name in findings))
    log.result(findings, "\n".join(f"{name:<{width}} {value}" for name, value in findings.items()))
