"""Stage: which pictures there are, which tasks they serve, and which of them are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.data.curate import curate
from beholder.data.series import class_series, find_mask_files, frame_series, without_masks
from beholder.data.sources import AUTO, Source, read_source
from beholder.recipes.lvm.settings import PAIRED, USUAL, LVMTraining
from beholder.recipes.lvm.sitting import Sitting
from beholder.recipes.tokenizer.pictures import FEWEST, groups_of, hold_out
from beholder.types import Sample, UserError


@dataclass(frozen=True)
class Material:
    """The pictures of a run."""

    description: str
    samples: tuple[Sample, ...]
    is_held_out: np.ndarray
    """bool n; near-duplicates and groups are on one side, as for the tokenizer."""
    masks: Mapping[int, Path]
    """Of the pictures that have one, by their place."""
    classes: Mapping[str, np.ndarray]
    """Places of each class that is large enough to fill a sentence."""
    frames: Sequence[np.ndarray]
    """Places of pictures that follow each other."""
    tasks: tuple[str, ...]
    """Those that are learned."""
    left_out: tuple[str, ...]
    """Those that are judged only."""
    num_refused: int

    def places(self, is_held_out: bool, task: str = "plain") -> np.ndarray:
        """Pictures on one side that serve a task of pairs or plain sentences."""
        places = np.flatnonzero(self.is_held_out == is_held_out)
        return places[np.isin(places, list(self.masks))] if task == "masks" else places


def gather(sitting: Sitting, facts: Mapping[str, Any]) -> Material:
    """Read and curate the folder. `facts` are the tokenizer's: what it held out of this folder is held out here too.

    Raises UserError for too few pictures, and for a task that they cannot serve.
    """
    data, settings, run, log = sitting.data, sitting.settings, sitting.run, sitting.log
    source = _read(data)
    masks = find_mask_files(data)
    kept = without_masks([sample.key for sample in source.samples], masks, data)
    source = Source(
        source.folder, source.layout, source.description, tuple(source.samples[place] for place in kept), source.refused
    )
    log.stage("Read", source.description)
    curation = curate(
        source,
        run.scratch("survey"),
        limits=sitting.limits, num_workers=sitting.device.num_threads,
        log=log,
        quarantine_file=run.path / "quarantine.jsonl",
    )  # fmt: skip
    samples = curation.samples
    if len(samples) < FEWEST:
        raise UserError(f"{data} has {len(samples)} readable pictures and at least {FEWEST} are needed; give more.")
    keys, labels = [sample.key for sample in samples], [sample.label for sample in samples]
    split = facts.get("split")
    own = split["seed"] if isinstance(split, dict) and isinstance(split.get("seed"), int) else sitting.seed
    is_held_out = hold_out(samples, groups_of(samples, curation.cluster), own)
    known = np.flatnonzero(~is_held_out)
    frames = [known[run_of] for run_of in frame_series([keys[place] for place in known], settings.num_pictures)]
    learned = [None if held else label for label, held in zip(labels, is_held_out, strict=True)]
    series = class_series(learned, settings.num_pictures)
    found = {str(labels[places[0]]): places for places in series}
    if is_held_out.all() or not is_held_out.any():
        raise UserError(f"{data} holds one picture again and again, or one group, so that none can be held out.")
    owned = {place: masks[key] for place, key in enumerate(keys) if key in masks}
    tasks = _tasks(settings, data, owned, found if len(found) > 1 else {}, frames)
    return Material(
        source.description, samples, is_held_out, owned, found if "classes" in tasks else {}, frames, tasks,
        settings.leave_out, len(curation.quarantine),
    )  # fmt: skip


def _read(data: Path) -> Source:
    try:
        return read_source(data, labels=AUTO)
    except UserError:  # a folder without labels; what else is wrong with it is told next
        return read_source(data)


def _tasks(
    settings: LVMTraining,
    data: Path,
    masks: Mapping[int, Path],
    classes: Mapping[str, np.ndarray],
    frames: Sequence[np.ndarray],
) -> tuple[str, ...]:
    """The tasks to learn. Raises UserError for one that was asked for and cannot be had."""
    has = {"masks": len(masks) >= FEWEST, "classes": bool(classes), "frames": bool(frames)}
    rules = {
        "masks": f"{len(masks)} pictures have a mask and at least {FEWEST} must; name them in a column mask_file_name "
        "of metadata.jsonl, or lay x.png into masks/ or x_mask.png beside it",
        "classes": f"two classes of at least {settings.num_pictures} pictures are needed; sort them into folders",
        "frames": f"no {settings.num_pictures} pictures have names that differ by a number only, in order",
    }
    asked = settings.tasks
    for name in (*(asked or ()), *settings.leave_out):
        if not has.get(name, True):
            raise UserError(f"--tasks {name}: {data} has none ({rules[name]}).")
    chosen = asked if asked is not None else (*USUAL, *(name for name in ("masks", "classes") if has[name]))
    learned = tuple(name for name in chosen if name not in settings.leave_out)
    if not learned:
        raise UserError(f"--leave-out {','.join(settings.leave_out)}: nothing remains to be learned; leave out less.")
    if settings.leave_out and not any(name in PAIRED for name in learned):
        raise UserError("--leave-out: what is left has no task with answers, so that the model never sees an example.")
    return learned
