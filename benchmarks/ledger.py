"""research/runs/: a small file for every run of research/PROTOCOL.md, with the commit that made it; and
research/predictions/: what the full run's arms said of every test image, from which its table is drawn again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import beholder
from beholder.runtime.energy import WATTS_PER_BUSY_CORE
from beholder.runtime.files import write_text

_ROOT = Path(__file__).resolve().parent.parent
RUNS = _ROOT / "research" / "runs"
PREDICTIONS = _ROOT / "research" / "predictions"


def _git(*words: str) -> str:
    if shutil.which("git") is None:
        return ""
    told = subprocess.run(["git", "-C", _ROOT, *words], capture_output=True, text=True, check=False)
    return told.stdout.strip()


_CHANGED = "-changed" if _git("status", "--porcelain", "--", "src", "benchmarks") else ""
_IS_OF_HERE = Path(beholder.__file__).resolve().parents[2] == _ROOT
COMMIT = _git("rev-parse", "--short", "HEAD") + _CHANGED + ("" if _IS_OF_HERE else ", with an installed beholder")
"""Of the code that runs, as it was when the process began."""


def write_run(name: str, content: Mapping[str, Any]) -> None:
    """research/runs/NAME.json, whole or not at all; what is no JSON is written as text."""
    RUNS.mkdir(parents=True, exist_ok=True)
    told = {**content, "commit": COMMIT or None}
    write_text(RUNS / f"{name}.json", json.dumps(told, indent=1, default=str) + "\n")


def energy(cpu_seconds: float) -> dict[str, Any]:
    """As `adapt` estimates it on a CPU without counters."""
    return {"joules": round(WATTS_PER_BUSY_CORE * cpu_seconds), "joules_are": "estimated"}
