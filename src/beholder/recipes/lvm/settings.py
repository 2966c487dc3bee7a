"""What a run of `train lvm` was asked to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from beholder.data.annotate import ANNOTATIONS
from beholder.types import UserError

PAIRED = (*ANNOTATIONS, "masks")
"""Tasks whose sentences are pairs of a question and its answer."""
WEIGHTS = {
    "plain": 1.0,
    **dict.fromkeys(ANNOTATIONS, 1.0),
    "masks": 2.0,
    "classes": 1.0,
    "frames": 1.0,
}
"""How often sentences of each task are drawn, relative to each other. Masks are what a user made by hand."""
USUAL = ("plain", *ANNOTATIONS)
"""Learned where no tasks are named; masks and classes are added where the data have them. Frames are not: numbers in
names often mean nothing."""
Size = Literal["tiny", "small", "base", "debug"]


@dataclass(frozen=True)
class LVMTraining:
    """Every choice that decides the numbers; frozen, written to `recipe.json`, compared when a run is resumed."""

    size: Size = "tiny"
    tasks: tuple[str, ...] | None = None
    """None: the usual ones as far as the data serve them (grey needs colour), with masks and classes where they have
    some."""
    leave_out: tuple[str, ...] = ()
    """Tasks that are judged and never learned."""
    budget: str = "12m"
    """A time such as "90s", "5m", "2h", or "400 steps"."""
    num_pictures: int = 8
    """In a sentence; half as many pairs."""
    batch_size: int = 16
    """Sentences a step."""
    lr: float = 2e-3
    question_weight: float = 0.3
    """How much the question pictures of pairs count beside their answers."""
    num_views: int = 2
    """2: each picture is read as it is and mirrored; 1: as it is."""
    num_judged: int = 48
    """Most held-out questions of each task that tell the result."""
    group: str | None = None
    """A column of the table, or "folder": what belongs together and stays on one side of the split."""


MOST_TOKENS = 1 << 18
"""That one step reads: more of them take hours on any machine that such models are for."""


def check_length(settings: LVMTraining, tokens: int) -> None:
    """Raises UserError where sentences of so many tokens are more than one step can read."""
    if settings.batch_size * tokens > MOST_TOKENS:
        raise UserError(
            f"--pictures {settings.num_pictures}: {settings.batch_size} sentences of {tokens:,} tokens are more than "
            f"the {MOST_TOKENS:,} that a step reads; give fewer pictures, or a tokenizer with fewer codes a picture."
        )


def parse_tasks(text: str | Sequence[str] | None, option: str) -> tuple[str, ...] | None:
    """Names of tasks between commas. Raises UserError for a name that is none."""
    if text is None:
        return None
    listed = text.split(",") if isinstance(text, str) else list(text)
    names = tuple(dict.fromkeys(name.strip() for name in listed if name.strip()))
    for name in names:
        if name not in WEIGHTS:
            near = difflib.get_close_matches(name, WEIGHTS, n=1)
            told = f"did you mean {near[0]}?" if near else f"choose from {', '.join(WEIGHTS)}."
            raise UserError(f"{option} {name}: not a task; {told}")
    if not names:
        raise UserError(f"{option} names no task; choose from {', '.join(WEIGHTS)}.")
    return names


def check(settings: LVMTraining) -> None:
    """Raises UserError for counts that cannot work, before anything is read."""
    if settings.num_pictures < 4 or settings.num_pictures % 2:
        raise UserError(
            f"--pictures {settings.num_pictures}: sentences are pairs, of at least one example and a question with "
            "its answer; give an even number from 4 on."
        )
    for name, least in (("batch_size", 1), ("num_views", 1), ("num_judged", 1)):
        if getattr(settings, name) < least:
            raise UserError(f"{name}={getattr(settings, name)}: at least {least} is needed.")
    if settings.num_views > 2:
        raise UserError(f"num_views={settings.num_views}: a picture is read as it is and mirrored; give 1 or 2.")
    unjudged = [name for name in settings.leave_out if name not in PAIRED]
    if unjudged:
        raise UserError(
            f"--leave-out {unjudged[0]}: only tasks with answers can be judged by example; choose from "
            f"{', '.join(PAIRED)}."
        )
