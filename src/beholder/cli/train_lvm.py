"""beholder train lvm"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Group, Json, MaxPixels, Seed, Threads


def train_lvm(
    *,
    data: Path,
    tokenizer: Path,
    out: Path,
    size: Literal["tiny", "small", "base"] = "tiny",
    tasks: str | None = None,
    leave_out: str | None = None,
    group: Group = None,
    budget: str = "12m",
    pictures: int = 8,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Pictures as sentences: a model that learns what comes next, and is then asked by example.

    Example: `beholder train lvm --data photos/ --tokenizer runs/tok --out runs/lvm`

    Parameters
    ----------
    data
        Your pictures, in any layout; masks are found by a column mask_file_name, by a folder masks/, or as x_mask.png.
    tokenizer
        The run or model folder of `beholder train tokenizer`.
    out
        Folder of the run; the model is written to its model/.
    size
        Of the model: tiny (1 million weights), small (5 million) or base (25 million).
    tasks
        Names between commas: plain, edges, grey, noise, rotate, hole, masks, classes, frames. All but frames if not
        given, as far as the data have them.
    leave_out
        Tasks, between commas, that are judged and never learned.
    budget
        For training: a time such as 90s, 12m or 2h, or '400 steps'.
    pictures
        In a sentence: half as many pairs, the question's included.
    """
    from beholder.recipes.lvm import train_lvm as run
    from beholder.recipes.lvm.settings import LVMTraining, parse_tasks
    from beholder.runtime.log import Log

    settings = LVMTraining(
        size,
        parse_tasks(tasks, "--tasks"),
        parse_tasks(leave_out, "--leave-out") or (),
        budget,
        num_pictures=pictures,
        group=group,
    )
    run(
        data, tokenizer=tokenizer, out=out, settings=settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
