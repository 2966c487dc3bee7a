"""beholder train describe"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import DEFAULT_PAIRS, Device, Json, MaxPixels, Seed, Threads


def train_describe(
    *,
    data: Path,
    out: Path,
    vision: str = DEFAULT_PAIRS,
    language: str = "own",
    fusion: Literal["linear", "gated"] = "linear",
    tuning: Literal["frozen", "low-rank", "full"] = "frozen",
    vision_tuning: Literal["frozen", "low-rank", "full"] = "frozen",
    size: Literal["tiny", "small"] = "tiny",
    budget: str = "8m",
    language_share: float = 0.25,
    num_shots: int = 4,
    regions: bool = False,
    things: Path | None = None,
    spoken: str | None = None,
    batch_size: int = 32,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """A model that puts your images into words, or answers questions about them, from your own captions or answers.

    Example: `beholder train describe --data photos/ --out runs/describe`

    Parameters
    ----------
    data
        Images with captions (a table with a column caption or captions, or x.png beside x.txt), with questions (columns
        question and answer, or a list qa), or LLaVA's conversations json.
    out
        Folder of the run; the model is written to its model/.
    vision
        What sees: embedded, a model that adapt made, or a ViT, DINO or CLIP by folder or name on the Hugging Face hub.
    language
        What speaks: own trains a small one on your texts; or a GPT, LLaMA or Qwen by folder or name, which stays as it
        is.
    fusion
        linear: what is seen stands among the words. gated: blocks that look are put between the language model's
        (Flamingo).
    tuning
        Of a named language model: frozen, it stays as it is; low-rank, two thin matrices a layer are learned; full, all
        of it learns, slowly.
    vision_tuning
        Of what sees, in the same ways: it learns from your images first, half of the budget in addition.
    size
        Of a language model of your own.
    budget
        For training: a time such as 90s, 8m or 2h, or '400 steps'.
    language_share
        Of the budget, in addition to it, for an own language model to learn the texts alone first.
    num_shots
        Most examples that stand before a question in training, and that the model can be shown when it is asked.
    regions
        Learn also to take images apart, to name what is in the parts, to say a phrase about each, and to join phrases
        and what is seen into one description (beholder describe --regions).
    things
        For regions: a text file of what your captions name, a thing a line, other words for it after commas. If not
        given, what English captions of photos name.
    spoken
        The language of the captions, where a table has several: zh takes the column captions_zh; en,zh both, and the
        model is then asked for one of them.
    batch_size
        Answers a step.
    """
    from beholder.recipes.describe import DescribeTraining
    from beholder.recipes.describe import train_describe as run
    from beholder.runtime.log import Log

    settings = DescribeTraining(
        fusion=fusion, size=size, budget=budget, language_share=language_share, num_shots=num_shots,
        batch_size=batch_size, regions=regions,
        tuning=tuning, vision_tuning=vision_tuning,
    )  # fmt: skip
    run(
        data, out=out, vision=vision, language=language, spoken=spoken, things=things, settings=settings, seed=seed,
        device=device, threads=threads, max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
