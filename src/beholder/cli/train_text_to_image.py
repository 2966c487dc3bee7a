"""beholder train text-to-image"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Group, Json, MaxPixels, Seed, Threads


def train_text_to_image(
    *,
    data: Path,
    tokenizer: Path,
    out: Path,
    form: Literal["causal", "encoder-decoder"] = "causal",
    size: Literal["tiny", "small", "base"] = "tiny",
    budget: str = "12m",
    batch_size: int = 32,
    guidance: float = 3.0,
    group: Group = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Captions to pictures: a model that draws what a text says, and one that chooses among what is drawn.

    Example: `beholder train text-to-image --data pairs/ --tokenizer runs/tok --out runs/draw`

    Parameters
    ----------
    data
        Your pictures with a text each: x.png and x.txt, or a table with a column text, caption or captions; or sorted
        into a folder per class, whose names are then the captions.
    tokenizer
        The run or model folder of `beholder train tokenizer`.
    out
        Folder of the run; the model is written to its model/.
    form
        causal: one trunk over the caption and then the picture. encoder-decoder: one reads the caption, one draws.
    size
        Of the model: tiny (1 million weights), small (5 million) or base (25 million); of two trunks 1.7, 9 and 47.
    budget
        For training what draws: a time such as 90s, 12m or 2h, or '400 steps'. What chooses takes a fifth more.
    batch_size
        Pairs a step; fewer take less memory.
    guidance
        Of what is drawn along the way and to be judged: 1 is the model as it is, 3 follows the caption more.
    """
    from beholder.recipes.text_to_image import train_text_to_image as run
    from beholder.recipes.text_to_image.settings import TextToImageTraining
    from beholder.runtime.log import Log

    settings = TextToImageTraining(form, size, budget, batch_size, guidance=guidance, group=group)
    run(
        data, tokenizer=tokenizer, out=out, settings=settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
