"""beholder train tokenizer"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Group, Json, MaxPixels, Seed, Threads


def train_tokenizer(
    *,
    data: Path,
    out: Path,
    size: int = 64,
    stride: int = 8,
    kind: Literal["conv", "vit"] = "conv",
    codes: Literal["finite", "learned"] | None = None,
    levels: tuple[int, ...] | None = None,
    num_codes: int | None = None,
    also: str | None = None,
    group: Group = None,
    budget: str = "12m",
    adversary: bool = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Your pictures as sequences of codes: an encoder, a codebook and a decoder, trained on them alone.

    Example: `beholder train tokenizer --data photos/ --out runs/tok`

    Parameters
    ----------
    data
        A folder of pictures in any layout, or a table; labels are not needed.
    out
        Folder of the run; the tokenizer is written to its model/.
    size
        Side of the squares that are learned from: the shorter side is fitted, the middle cut out. A multiple of
        the stride.
    stride
        Side of the square of pixels that one code stands for: with 4 pictures come back much better, and what learns
        from the codes reads four times as many of them.
    kind
        Of encoder and decoder: conv or vit.
    codes
        learned: a table of points, found among squares of your pictures; finite: a fixed grid of points. learned if
        not given, and finite where levels are.
    levels
        finite: how many values each coordinate takes; their product is the number of codes. 4 4 4 4 4 if not given.
    num_codes
        learned: rows of the table; 1024 if not given.
    also
        What is learned beside photos, so that a model of visual sentences can write it: masks, edges, or masks,edges;
        or none. Masks if not given, where the data have at least 20.
    budget
        For training: a time such as 12m, or a number such as '400 steps'.
    adversary
        A critic that tells painted patches from real ones joins after a third of the steps: sharper, less faithful.
    """
    from beholder.recipes.tokenizer import train_tokenizer as run
    from beholder.runtime.log import Log

    run(
        data, out=out, size=size, stride=stride, kind=kind, codes=codes, levels=levels, num_codes=num_codes, also=also,
        group=group, budget=budget, adversary=adversary, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
