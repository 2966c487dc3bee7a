"""beholder train language"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Json, Seed, Threads


def train_language(
    *,
    data: Path,
    out: Path,
    language: str = "own",
    tuning: Literal["full", "low-rank"] = "full",
    size: Literal["tiny", "small", "base"] = "tiny",
    budget: str = "10m",
    vocabulary_size: int = 4096,
    length: int = 256,
    batch_size: int = 16,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """A language model of your texts, or one that you name, which goes on learning from them.

    Example: `beholder train language --data texts/ --out runs/language`

    Parameters
    ----------
    data
        A text file, a table with a column of text, of questions and answers or of conversations (messages), or a folder
        of such files.
    out
        Folder of the run; the model is written to its model/, which transformers opens too.
    language
        What learns: own begins anew with words of its own; or a GPT, LLaMA or Qwen by folder or name.
    tuning
        Of a named language model: full, all of it learns, slowly; low-rank, two thin matrices a layer.
    size
        Of a language model of your own.
    budget
        For training: a time such as 90s, 10m or 2h, or '400 steps'.
    vocabulary_size
        Most tokens of a language model of your own.
    length
        Tokens of a row, and what a model of your own reads at once.
    batch_size
        Rows a step.
    """
    from beholder.recipes.language import LanguageTraining
    from beholder.recipes.language import train_language as run
    from beholder.runtime.log import Log

    settings = LanguageTraining(
        tuning=tuning, size=size, budget=budget, vocabulary_size=vocabulary_size, length=length, batch_size=batch_size
    )
    run(data, out=out, language=language, settings=settings, seed=seed, device=device, threads=threads,
        log=Log(as_json=json))  # fmt: skip
