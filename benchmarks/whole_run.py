"""A short pretraining from the start of Python to the saved model: ours beside lightly-train.

    python benchmarks/whole_run.py --peer PEER/bin/python --rounds 3

400 PNG pictures of 64 pixels, ViT-T/16, batch 32, 12 steps, self-distillation of two views (ours: a moving-average
teacher; lightly-train: DINO without its small local views), fp32, one thread. Told are CPU seconds of the whole
process with its children and its peak memory, medians of rounds in turns. lightly-train (0.18, with torchvision) lives
in an environment of its own, whose Python is `--peer`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from beholder.runtime.device import pick_device
from beholder.runtime.machine import machine

NUM_PICTURES, SIDE, BATCH, STEPS = 400, 64, 32, 12
OURS = f"""
import sys
from pathlib import Path
from beholder.checkpoint.files import save_tensors
from beholder.data.augment import AugmentConfig
from beholder.data.decode import Limits
from beholder.data.sources import read_source
from beholder.data.stream import ImageStream
from beholder.models.vit import PRESETS, ViT
from beholder.objectives.teacher import SelfDistillation
from beholder.recipes.pixel_cache import cache_pixels
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.train.loop import Plan, train
photos, out = map(Path, sys.argv[1:])
device = pick_device("cpu", 1)
out.mkdir()
pictures = cache_pixels(read_source(photos).samples, {SIDE}, out, Limits(), 1, Log(quiet=True))
model = ViT(PRESETS["tiny"])
stream = ImageStream(pictures, batch_size={BATCH}, num_views=2, augmentation=AugmentConfig(size={SIDE}), seed=0)
train(model, SelfDistillation(model), stream, plan=Plan({STEPS}), device=device, folder=out / "run")
save_tensors(out / "model.safetensors", model.state_dict())
"""
THEIRS = f"""
import sys
import lightly_train
lightly_train.pretrain(
    out=sys.argv[2], data=sys.argv[1], model="dinov3/vitt16-notpretrained", method="dino",
    epochs={STEPS * BATCH // NUM_PICTURES + 1}, batch_size={BATCH}, num_workers=0, accelerator="cpu",
    precision="32-true", transform_args={{"image_size": ({SIDE}, {SIDE}), "local_view": None}},
)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="the Python of lightly-train's environment")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ways = {"beholder": [sys.executable, "-c", OURS], "lightly-train": [str(asked.peer), "-c", THEIRS]}
    told: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        photos = write_pictures(Path(scratch) / "photos")
        for number in range(asked.rounds):
            for name, command in ways.items():
                told[name].append(measured([*command, str(photos), str(Path(scratch) / f"{name}-{number}")]))
    medians = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in told.items()
    }
    ours, theirs = medians.values()
    json.dump({
        **medians, "steps": STEPS, "times_fewer_cpu_seconds": theirs["cpu_seconds"] / ours["cpu_seconds"],
        "share_of_memory": ours["peak_mb"] / theirs["peak_mb"], "machine": machine(pick_device("cpu", 1)),
    }, sys.stdout, indent=1)  # fmt: skip


def write_pictures(folder: Path) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(NUM_PICTURES):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")
    return folder


def measured(command: list[str]) -> dict[str, float]:
    """Of one process that ends well. Its usage is read by a process between, whose children are no others."""
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss, done.stderr[-2000:]]))"
    )
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **threads},
    )
    status, seconds, kilobytes, wrong = json.loads(found.stdout)
    if status:
        sys.exit(f"{command[0]} failed:\n{wrong}")
    return {"cpu_seconds": seconds, "peak_mb": kilobytes / (1000 if sys.platform != "darwin" else 1_000_000)}


if __name__ == "__main__":
    main()
