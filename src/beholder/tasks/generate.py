"""Pictures out of nothing but a wish: of what a text says, by a model of `train text-to-image`, or of a class, by one
of `train masked`; the best of several are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from beholder.config import to_json
from beholder.inference.sampling import SamplingConfig
from beholder.inference.unmask import UnmaskConfig
from beholder.pretrained.part_folder import MASKED, Part
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import refuse_unwritable, told_kindly
from beholder.tasks.captioned_pictures import USUAL, open_captioned
from beholder.tasks.masked_pictures import Wish, open_masked
from beholder.tasks.provenance import check_drawing, describe_origin, write_picture
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


@dataclass(frozen=True)
class DrawingConfig:
    """How pictures are drawn; None takes what is usual for the kind of model."""

    guidance: float = GUIDANCE
    """How far to go towards what is asked for, and away from what would be drawn without: 1 is the model as it is."""
    temperature: float = 1.0
    """0 takes the likeliest code each time; 1 draws codes as often as the model expects them."""
    top_k: int | None = None
    top_p: float | None = None
    """Of models that draw one code after the other: which codes may be drawn; 0.95 where both are None."""
    num_steps: int | None = None
    """Of masked models: in how many looks they draw; 12 where None."""

    @property
    def sampling(self) -> SamplingConfig:
        """Of one code after the other."""
        is_usual = self.top_k is None and self.top_p is None
        return SamplingConfig(
            temperature=self.temperature, top_k=self.top_k, top_p=USUAL.top_p if is_usual else self.top_p
        )

    @property
    def unmasking(self) -> UnmaskConfig:
        """Of codes all at once."""
        return UnmaskConfig(self.num_steps or UnmaskConfig().num_steps, self.temperature, guidance=self.guidance)


def generate(
    part: Part,
    prompt: str | None = None,
    *,
    label: str | None = None,
    count: int = 4,
    keep: int | None = None,
    config: DrawingConfig = DrawingConfig(),
    seed: int = 0,
    reranker: str | None = None,
    batch_size: int = _AT_ONCE,
    device: Device | None = None,
) -> Generation:
    """Pictures of what the prompt says; of masked models also of a class, or of nothing in particular.

    With a reranker four times `count` are drawn and the best given; with `keep`, `count` are drawn and so many of them
    given. Each picture has a seed of its own, from `seed` on. Raises UserError for counts that cannot be, a prompt of
    unknown words, an option that the model has no use for, and where the memory does not hold `batch_size` at once.
    """
    _check(prompt, count, keep, batch_size, seed, config)
    device = device or pick_device()
    wished = prompt if prompt is not None else label
    draw, notes = _open(part, prompt, label, config, device)
    space, told = open_reranker(reranker, part, device) if wished is not None else (None, "nothing to rerank by")
    if keep is not None and space is None and keep < count:
        raise UserError(f"--keep {keep}: nothing chooses among them ({told}); leave --keep out.")
    num_drawn = count if keep is not None or space is None else _CANDIDATES * count
    pictures = draw(num_drawn, seed, batch_size)
    scores = None
    if space is not None and wished is not None:
        scores = rank_pictures(space, _read_part(part, wished), list(pictures))
    order = np.arange(num_drawn) if scores is None else np.argsort(-scores, kind="stable")
    chosen = order[: keep or count].tolist()
    settings = {"label": label} if label is not None else {}
    settings |= {name: value for name, value in to_json(config).items() if value is not None}
    settings["chosen"] = f"{len(chosen)} of {num_drawn}, {told}"
    given = [
        Generated(
            pictures[row],
            describe_origin("generate", part.fingerprint, seed + row, prompt or "", **settings),
            None if scores is None else float(scores[row]),
        )
        for row in chosen
    ]
    return Generation(given, (*notes, f"{num_drawn} drawn, {told}"))


Draw = Callable[[int, int, int], UInt8[np.ndarray, "n S S 3"]]
"""So many pictures, from that seed on, so many at once."""


def _open(
    part: Part, prompt: str | None, label: str | None, config: DrawingConfig, device: Device
) -> tuple[Draw, list[str]]:
    """What draws, by the kind of the part, and what the user is told of the wish."""
    if part.kind == MASKED:
        if config.top_k is not None or config.top_p is not None:
            raise UserError(
                "--top-k and --top-p go with models that draw one code after the other; leave them out here."
            )
        painter, wish = open_masked(part, device), Wish(label, prompt)

        def paint(count: int, seed: int, batch_size: int) -> UInt8[np.ndarray, "n S S 3"]:
            return painter.pictures.decode(painter.paint([wish] * count, config.unmasking, seed, batch_size))

        return paint, painter.check(wish)
    drawer = open_captioned(part, device)
    if prompt is None or label is not None:
        raise UserError("This model draws what a text says; write what the picture should show, and no --label.")
    if config.num_steps is not None:
        raise UserError("--steps goes with masked models; this one draws one code after the other.")

    def write(count: int, seed: int, batch_size: int) -> UInt8[np.ndarray, "n S S 3"]:
        codes = drawer.draw([prompt] * count, config.sampling, config.guidance, seed, batch_size)
        return drawer.pictures.decode(codes)

    return write, drawer.captions.check(prompt)


def check_folder(folder: Path) -> None:
    """Raises UserError where it holds something, is no folder, or cannot be made."""
    with told_kindly(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"--out {folder} exists and holds something; choose another folder, nothing is overwritten."
            )
        refuse_unwritable(folder / "01.png" if folder.exists() else folder)


def make_folder(folder: Path) -> Path:
    """A new or empty folder. Raises UserError as `check_folder` does."""
    check_folder(folder)
    with told_kindly(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read_part(part: Part, wished: str) -> str:
    """What the model reads of the prompt, which is also what a reranker of the same words can read."""
    captions = part.captions
    return wished if captions is None else captions.decode(captions.encode([wished])[0])


def _check(prompt: Any, count: int, keep: int | None, batch_size: int, seed: int, config: DrawingConfig) -> None:
    if not isinstance(prompt, str | None):
        raise UserError(f"The prompt is {prompt!r:.60}; give one text, and call again for another.")
    check_drawing(count, batch_size, seed)
    for option, value in (("--keep", keep), ("--steps", config.num_steps)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: it must be at least 1.")
    if keep is not None and keep > count:
        raise UserError(f"--keep {keep}: more than the {count} that --count draws; raise --count or lower --keep.")
