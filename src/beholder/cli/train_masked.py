"""beholder train masked"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Group, Json, MaxPixels, Seed, Threads


def train_masked(
    *,
    data: Path,
    tokenizer: Path,
    out: Path,
    size: Literal["tiny", "small", "base"] = "tiny",
    budget: str = "12m",
    batch_size: int = 64,
    steps: int = 12,
    guidance: float = 2.0,
    without_labels: bool = False,
    without_texts: bool = False,
    group: Group = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Pictures with holes: a model that tells what is hidden, and paints from nothing in a few steps.

    Example: `beholder train masked --data photos/ --tokenizer runs/tok --out runs/masked`

    Parameters
    ----------
    data
        Your pictures, in any layout; classes and captions are learned as something to ask for where there are some.
    tokenizer
        The run or model folder of `beholder train tokenizer`.
    out
        Folder of the run; the model is written to its model/.
    size
        Of the model: tiny (1 million weights), small (5 million) or base (25 million).
    budget
        For training: a time such as 90s, 12m or 2h, or '400 steps'.
    batch_size
        Pictures a training step.
    steps
        Of decoding, for the pictures by which the model is judged.
    guidance
        Of pictures that are asked for by class or caption, along the way and to judge by.
    without_labels
        Learn no classes, though the data have some.
    without_texts
        Learn no captions, though the data have some.
    """
    from beholder.inference.unmask import UnmaskConfig
    from beholder.recipes.masked import train_masked as run
    from beholder.recipes.masked.settings import MaskedTraining
    from beholder.runtime.log import Log

    UnmaskConfig(guidance=guidance)  # which tells of a value that cannot be
    settings = MaskedTraining(
        size, not without_labels, not without_texts, budget, batch_size, decoding=UnmaskConfig(num_steps=steps),
        guidance=guidance, group=group,
    )  # fmt: skip
    run(
        data, tokenizer=tokenizer, out=out, settings=settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
