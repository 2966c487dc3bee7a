"""Pictures of what a text says, drawn by a model of `train text-to-image`, the best of several kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from beholder.inference.sampling import SamplingConfig
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device, pick_device
from beholder.tasks.captioned_pictures import USUAL, CaptionedPictures, open_captioned
from beholder.tasks.provenance import describe_origin, write_picture
from beholder.tasks.rerank import open_reranker, rank_pictures
from beholder.types import UserError

GUIDANCE = 3.0
"""How much further than asked a picture goes, where nothing else is said."""
_CANDIDATES = 4
"""Pictures that are drawn for each that is given, where a reranker chooses."""
_AT_ONCE = 32


@dataclass(frozen=True)
class Generated:
    """One picture, drawn and not photographed."""

    picture: UInt8[np.ndarray, "S S 3"]
    origin: dict[str, Any]
    """What is written into the file: model, prompt, seed, settings."""
    score: float | None = None
    """How well the reranker finds that it goes with the text: a cosine; None where none looked."""

    def save(self, path: str | Path) -> None:
        """Write a PNG that carries its origin. Raises UserError for another ending."""
        write_picture(Path(path), self.picture, self.origin)


@dataclass(frozen=True)
class Generation:
    """What was drawn for one prompt."""

    pictures: list[Generated]
    """The best first, where a reranker looked, else in the order of their seeds."""
    notes: tuple[str, ...] = field(default=())
    """What the user should know."""

    def save(self, folder: str | Path) -> list[Path]:
        """Write 01.png, 02.png, ... into a new folder. Raises UserError where it holds something."""
        folder = make_folder(Path(folder))
        paths = [folder / f"{number:02d}.png" for number in range(1, len(self.pictures) + 1)]
        for path, one in zip(paths, self.pictures, strict=True):
            one.save(path)
        return paths


def generate(
    part: Part,
    prompt: str,
    *,
    count: int = 4,
    keep: int | None = None,
    guidance: float = GUIDANCE,
    sampling: SamplingConfig = USUAL,
    seed: int = 0,
    reranker: str | None = None,
    batch_size: int = _AT_ONCE,
    device: Device | None = None,
) -> Generation:
    """Pictures of what the prompt says.

    With a reranker four times `count` are drawn and the best given; with `keep`, `count` are drawn and so many of them
    given. Each picture has a seed of its own, from `seed` on. Raises UserError for counts that cannot be, a prompt of
    unknown words, and where the memory does not hold `batch_size` at once.
    """
    _check(count, keep, batch_size)
    device = device or pick_device()
    drawer = open_captioned(part, device)
    notes = drawer.captions.check(prompt)
    space, told = open_reranker(reranker, part, device)
    if keep is not None and space is None and keep < count:
        raise UserError(f"--keep {keep}: there is no reranker to choose by ({told}); leave --keep out.")
    num_drawn = count if keep is not None or space is None else _CANDIDATES * count
    codes = drawer.draw([prompt] * num_drawn, sampling, guidance, seed, batch_size)
    pictures = drawer.pictures.decode(codes)
    scores = None if space is None else rank_pictures(space, _read_part(drawer, prompt), list(pictures))
    order = np.arange(num_drawn) if scores is None else np.argsort(-scores, kind="stable")
    chosen = order[: keep or count].tolist()
    settings = {
        "guidance": guidance,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "chosen": f"{len(chosen)} of {num_drawn}, {told}",
    }
    given = [
        Generated(
            pictures[row],
            describe_origin("generate", part.fingerprint, seed + row, prompt, **settings),
            None if scores is None else float(scores[row]),
        )
        for row in chosen
    ]
    return Generation(given, (*notes, f"{num_drawn} drawn, {told}"))


def make_folder(folder: Path) -> Path:
    """A new or empty folder. Raises UserError where it holds something, or is none."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out {folder} exists and holds something; choose another folder, nothing is overwritten.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read_part(drawer: CaptionedPictures, prompt: str) -> str:
    """What the model reads of the prompt, which is also what a reranker of the same words can read."""
    return drawer.captions.decode(drawer.captions.encode([prompt])[0])


def _check(count: int, keep: int | None, batch_size: int) -> None:
    for option, value in (("--count", count), ("--keep", keep), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: it must be at least 1.")
    if keep is not None and keep > count:
        raise UserError(f"--keep {keep}: more than the {count} that --count draws; raise --count or lower --keep.")
