"""Stage: which pictures there are, which tasks they serve, and which of them are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.data.series import class_series, frame_series
from beholder.recipes.coded_pictures import Collection, collect
from beholder.recipes.lvm.settings import PAIRED, USUAL, LVMTraining
from beholder.recipes.masks import WHERE
from beholder.recipes.sitting import Sitting
from beholder.recipes.tokenizer.drawn import FEWEST
from beholder.types import Sample, UserError

_GREY = "grey to colour is no task here: the pictures have no colour"


@dataclass(frozen=True)
class Material:
    """The pictures of a run, and what they are good for."""

    collection: Collection
    classes: Mapping[str, np.ndarray]
    """Places of each class that is large enough to fill a sentence."""
    frames: Sequence[np.ndarray]
    """Places of pictures that follow each other."""
    tasks: tuple[str, ...]
    """Those that are learned."""
    left_out: tuple[str, ...]
    """Those that are judged only."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.collection.samples

    @property
    def is_held_out(self) -> np.ndarray:
        """Bool n."""
        return self.collection.is_held_out

    @property
    def masks(self) -> Mapping[int, Path]:
        """By the place of their picture."""
        return self.collection.masks

    def places(self, is_held_out: bool, task: str = "plain") -> np.ndarray:
        """Pictures on one side that serve a task of pairs or plain sentences."""
        places = self.collection.places(is_held_out)
        return places[np.isin(places, list(self.masks))] if task == "masks" else places


def gather(sitting: Sitting[LVMTraining], facts: Mapping[str, Any]) -> Material:
    """Read and curate the folder. `facts` are the tokenizer's: what it has learned from is not held out.

    Raises UserError for too few pictures, and for a task that they cannot serve.
    """
    data, settings, collection = sitting.data, sitting.settings, collect(sitting, facts)
    samples, known = collection.samples, collection.places(False)
    frames = [known[run] for run in frame_series([samples[place].key for place in known], settings.num_pictures)]
    held = collection.is_held_out
    learned = [None if is_held else sample.label for sample, is_held in zip(samples, held, strict=True)]
    series = class_series(learned, settings.num_pictures)
    found = {str(samples[places[0]].label): places for places in series}
    tasks = _tasks(settings, data, collection, found if len(found) > 1 else {}, frames)
    if settings.tasks is None and "grey" not in tasks and "grey" not in settings.leave_out:
        sitting.log.warn(_GREY)
        collection = replace(collection, notes=(*collection.notes, _GREY))
    return Material(collection, found if "classes" in tasks else {}, frames, tasks, settings.leave_out)


def _tasks(
    settings: LVMTraining,
    data: Path,
    collection: Collection,
    classes: Mapping[str, np.ndarray],
    frames: Sequence[np.ndarray],
) -> tuple[str, ...]:
    """The tasks to learn. Raises UserError for one that was asked for and cannot be had."""
    known = collection.places(False)
    num_masked = int(np.isin(known, list(collection.masks)).sum())
    num_coloured = int((~collection.is_grey[known]).sum())
    has = {
        "masks": num_masked >= FEWEST, "classes": bool(classes), "frames": bool(frames), "grey": num_coloured > 0,
    }  # fmt: skip
    rules = {
        "masks": f"{num_masked} pictures to learn from have a mask and at least {FEWEST} must; {WHERE}",
        "classes": f"two classes of at least {settings.num_pictures} pictures are needed; sort them into folders",
        "grey": "no picture to learn from has colour",
        "frames": f"no {settings.num_pictures} pictures have names that differ by a number only, in order",
    }
    asked = settings.tasks
    for option, names in (("--tasks", asked or ()), ("--leave-out", settings.leave_out)):
        for name in names:
            if not has.get(name, True):
                raise UserError(f"{option} {name}: {data} has none ({rules[name]}).")
    chosen = asked if asked is not None else tuple(name for name in (*USUAL, "masks", "classes") if has.get(name, True))
    learned = tuple(name for name in chosen if name not in settings.leave_out)
    if not learned:
        raise UserError(f"--leave-out {','.join(settings.leave_out)}: nothing remains to be learned; leave out less.")
    if settings.leave_out and not any(name in PAIRED for name in learned):
        raise UserError("--leave-out: what is left has no task with answers, so that the model never sees an example.")
    return learned
