"""What a run of `tune` was asked, and the refusal of what cannot work before anything is read."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from beholder.data.decode import Limits
from beholder.data.sources import check_folder
from beholder.recipes.spoken import spoken
from beholder.runtime.files import refuse_inside
from beholder.types import UserError

RANK = 8
LEARNING_RATE = 1e-3
_MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class TuneConfig:
    """The arguments of `tune`, as JSON keeps them."""

    model: str
    data: str
    guard: str | None = None
    rank: int = RANK
    """Of the update that each matrix gets."""
    steps: int | None = None
    """None: chosen from the number of images."""
    lr: float = LEARNING_RATE
    may_lose: float | None = None
    """Points of the general score that may be given for the own one; None: both count the same."""
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    max_pixels: int = 100_000_000


def check(config: TuneConfig, out: Path) -> None:
    """Raises UserError for what cannot work."""
    if config.rank < 1:
        raise UserError(f"--rank {config.rank}: a low-rank update has a rank of at least 1; leave it out for {RANK}.")
    if config.steps is not None and not 1 <= config.steps <= _MOST_STEPS:
        raise UserError(f"--steps {config.steps}: give between 1 and {_MOST_STEPS:,}, or leave it out.")
    if not (math.isfinite(config.lr) and config.lr > 0):
        raise UserError(f"--lr {config.lr:g}: a learning rate is above 0; leave it out for {LEARNING_RATE:g}.")
    if config.may_lose is not None:
        if not 0 <= config.may_lose <= 100:
            raise UserError(f"--may-lose {config.may_lose:g}: points of a score lie between 0 and 100.")
        if config.guard is None:
            raise UserError("--may-lose bounds the loss on the guard set, and there is none; name one with --guard.")
    Limits(config.max_pixels)
    check_folder(Path(config.data))
    if config.guard is not None and not Path(config.guard).exists():
        raise UserError(f"--guard {config.guard} does not exist; name a folder of images, or leave it out.")
    refuse_inside(out, Path(config.data))
    if config.guard is not None:
        _refuse_overlap(config.data, config.guard)
        refuse_inside(out, Path(config.guard))


def _refuse_overlap(data: str, guard: str) -> None:
    """What is learned cannot show what is forgotten."""
    own, general = (Path(os.path.realpath(name)) for name in (data, guard))
    if own == general:
        raise UserError(f"--guard {guard} is the --data folder itself; name a folder of other, general images.")
    if general.is_relative_to(own) or own.is_relative_to(general):
        inner, outer = ("--guard", "--data") if general.is_relative_to(own) else ("--data", "--guard")
        raise UserError(f"{inner} lies in {outer} ({data}, {guard}); name two folders without a common image.")


def command(config: TuneConfig, out: Path) -> str:
    """The command line that repeats this run: what was asked for beside the defaults."""
    usual = TuneConfig(config.model, config.data)
    words = ["beholder", "tune", config.model, "--data", config.data, "--out", str(out)]
    words += spoken(config, usual, (one.name for one in fields(config) if one.name not in ("model", "data")))
    return shlex.join(words)
