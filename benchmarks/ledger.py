"""research/runs/: a small file for every run of research/PROTOCOL.md, with the commit that made it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.runtime.energy import WATTS_PER_BUSY_CORE

RUNS = Path(__file__).parent.parent / "research" / "runs"


def write_run(name: str, content: Mapping[str, Any]) -> None:
    """research/runs/NAME.json; what is no JSON is written as text."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    RUNS.mkdir(parents=True, exist_ok=True)
    told = {**content, "commit": commit.stdout.strip() or None}
    (RUNS / f"{name}.json").write_text(json.dumps(told, indent=1, default=str) + "\n")


def energy(cpu_seconds: float) -> dict[str, Any]:
    """As `adapt` estimates it on a CPU without counters."""
    return {"joules": round(WATTS_PER_BUSY_CORE * cpu_seconds), "joules_are": "estimated"}
