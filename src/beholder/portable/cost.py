"""What a model costs to run: time of a picture, pictures a CPU second, memory of a program that runs it alone."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beholder.types import UserError

BATCH = 16
_NUM_ROUNDS = 5
_GUESSED_WITH = 4
_PEAK = """
def peak():
    import pathlib, re, resource, sys
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with that of the program that started this one
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text()).group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
_EXPORT = """
import json, sys
import numpy as np
folder, pictures, threads = sys.argv[1:4]
sys.path.insert(0, folder)
from model import open_model
open_model(folder, int(threads))(np.load(pictures))
print(json.dumps(peak()))
"""
_ORIGINAL = """
import json, sys
import numpy as np
model, pictures, threads, names = sys.argv[1:5]
from beholder.portable.exportable import open_exportable
from beholder.pretrained.load import load
from beholder.runtime.device import pick_device
open_exportable(load(model), json.loads(names), pick_device("cpu", int(threads))).ask(list(np.load(pictures)))
print(json.dumps(peak()))
"""

Ask = Callable[[np.ndarray], object]
"""Takes pictures of one size (N H W 3 bytes)."""


@dataclass(frozen=True)
class Speed:
    """Medians of several rounds, in which both models run in turn."""

    seconds: float
    """Of one picture by itself, on the clock."""
    per_cpu_second: float
    """Pictures, in batches of `BATCH`."""


def time_in_turn(models: Sequence[Ask], picture: np.ndarray) -> list[Speed]:
    """Each model's speed on that picture (H W 3 bytes), preprocessing included."""
    alone, many = picture[None], np.stack([picture] * BATCH)
    clocks: list[list[float]] = [[] for _ in models]
    busy: list[list[float]] = [[] for _ in models]
    for model in models:  # the first call makes the room
        model(alone)
        model(many)
    for _ in range(_NUM_ROUNDS):
        for place, model in enumerate(models):
            began = time.perf_counter()
            model(alone)
            clocks[place].append(time.perf_counter() - began)
            began = time.process_time()
            model(many)
            busy[place].append(time.process_time() - began)
    return [
        Speed(statistics.median(clock), BATCH / max(statistics.median(cpu), 1e-9))
        for clock, cpu in zip(clocks, busy, strict=True)
    ]


def guess_seconds(model: Ask, picture: np.ndarray) -> float:
    """On the clock, of one picture (H W 3 bytes) in a batch: quickly measured, for telling how long work will take."""
    batch = np.stack([picture] * _GUESSED_WITH)
    model(batch)
    began = time.perf_counter()
    model(batch)
    return (time.perf_counter() - began) / _GUESSED_WITH


def memory_of_export(folder: Path, picture: np.ndarray, threads: int) -> int:
    """Peak bytes of a program of its own that opens the export and asks it about a batch."""
    return _run(_EXPORT, picture, str(folder.absolute()), "{pictures}", str(threads))


def memory_of_original(model: str, names: Sequence[str], picture: np.ndarray, threads: int) -> int:
    """The same of the original, through beholder and torch."""
    return _run(_ORIGINAL, picture, model, "{pictures}", str(threads), json.dumps(list(names)))


def _run(code: str, picture: np.ndarray, *arguments: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, np.stack([picture] * BATCH))
        given = [str(pictures) if one == "{pictures}" else one for one in arguments]
        done = subprocess.run([sys.executable, "-c", _PEAK + code, *given], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"The model does not run in a program of its own ({reason}); nothing was written.")
    return int(json.loads(done.stdout.strip().splitlines()[-1]))
