"""beholder train pairs"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import DEFAULT_PAIRS, Device, Json, MaxPixels, Seed, Threads


def train_pairs(
    *,
    data: Path,
    out: Path,
    image: str = DEFAULT_PAIRS,
    text: str = DEFAULT_PAIRS,
    loss: Literal["softmax", "sigmoid"] = "softmax",
    steps: int = 300,
    group: str | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """One space for your images and your words: maps are trained on top of two towers that stay as they are.

    Example: `beholder train pairs --data photos/ --out runs/pairs`

    Parameters
    ----------
    data
        Images with a text each (x.png beside x.txt, or a table with a column text, caption or captions), or in folders
        of classes, whose names are then the texts.
    out
        Folder of the run; the model is written to its model/.
    image
        The tower of images: embedded, a model that adapt made, or a ViT or DINO by folder or name on the Hugging Face
        hub.
    text
        The reader of texts: embedded, which needs beholder[text], or one of BERT's kind by folder or name.
    loss
        softmax: the texts of a batch compete; sigmoid: each pair is judged by itself.
    steps
        Of training, for each setting that is tried.
    group
        A column of the table (an author, a patient), or folder: images of one group stand in one part, whatever parts
        the data name.
    """
    from beholder.recipes.pair_maps import PairsConfig
    from beholder.recipes.train_pairs import train_pairs as run
    from beholder.runtime.log import Log

    run(
        data, out=out, image=image, text=text, config=PairsConfig(loss=loss, num_steps=steps), group=group, seed=seed,
        device=device, threads=threads, max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
