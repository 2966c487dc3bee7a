"""A folder of pictures as codes of a tokenizer, each picture looked at once: what all recipes over picture codes need.

`collect` reads and curates the folder and holds out what the tokenizer held out; `encode_once` writes the codes, and
squares of bytes beside them, into mapped files of the run's scratch folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from beholder.data.curate import curate
from beholder.data.decode import Limits, Unreadable, read_picture
from beholder.data.parallel import map_in_order
from beholder.data.sources import AUTO, Source, read_source
from beholder.recipes.masks import split_masks
from beholder.recipes.same_pictures import hash_once, identify, refuse_changed
from beholder.recipes.sitting import Sitting
from beholder.recipes.tokenizer.drawn import FEWEST
from beholder.recipes.tokenizer.pictures import groups_of, hold_out
from beholder.runtime.arrays import create_array
from beholder.runtime.files import read_json, write_json
from beholder.runtime.log import counted
from beholder.runtime.words import words_of
from beholder.tasks.picture_codes import PictureCodes
from beholder.types import Sample, UserError

PLAIN = "plain"
"""The table of the pictures as they are."""
_AT_ONCE = 32
_SIDES = frozenset({"left", "right", "leftmost", "rightmost"})

Look = Callable[[int], Mapping[str, UInt8[np.ndarray, "views S S 3"]]]
"""The squares that are made of the picture at a place, by the table that each belongs to; the first view is the picture
as it is, the second its mirror image."""


@dataclass(frozen=True)
class Collection:
    """The pictures of a run, curated and split."""

    description: str
    """The layout, as it is said aloud."""
    samples: tuple[Sample, ...]
    """With labels and texts where the data have them; pictures that are a mask of another are none of them."""
    hashes: list[str]
    """Of the content of each."""
    groups: Int[np.ndarray, " n"]
    """Near-duplicates and what the data call a group are one."""
    is_held_out: Bool[np.ndarray, " n"]
    """Whole groups, and nothing that the tokenizer has learned from."""
    is_grey: Bool[np.ndarray, " n"]
    """Those without colour."""
    masks: Mapping[int, Path]
    """Of the pictures that have one, by their place."""
    num_refused: int
    notes: tuple[str, ...] = ()
    """What the user should know of the folder."""

    def places(self, is_held_out: bool) -> Int[np.ndarray, " m"]:
        """Of the pictures on one side."""
        return np.flatnonzero(self.is_held_out == is_held_out)

    @property
    def facts(self) -> dict[str, Any]:
        """What a report tells of the data: JSON values."""
        num_held = int(self.is_held_out.sum())
        return {
            "description": self.description,
            "num_found": len(self.samples) + self.num_refused,
            "num_kept": len(self.samples),
            "num_quarantined": self.num_refused,
            "notes": list(self.notes),
            "split": {"train": len(self.samples) - num_held, "test": num_held},
        }


@dataclass(frozen=True)
class CodeTables:
    """Codes of all pictures, mapped from files."""

    tables: Mapping[str, np.ndarray]
    """By what was made of the pictures ("plain", "edges", "masks", ...): uint16 or uint32, n views codes."""
    squares: Mapping[str, np.ndarray]
    """The same as pictures, of the first view: uint8 n S S 3."""

    def plain(self, place: int, view: int) -> Int[np.ndarray, " codes"]:
        """The codes of the picture, or with view 1 of its mirror image."""
        return self.tables[PLAIN][place, view].astype(np.int64)


def collect(sitting: Sitting[Any], facts: Mapping[str, Any]) -> Collection:
    """Read and curate the folder. `facts` are the tokenizer's: what it has learned from is not held out.

    Raises UserError for fewer than 20 pictures, and where none can be held out.
    """
    data, run, log = sitting.data, sitting.run, sitting.log
    source, masks = _read(data, sitting.settings.group)
    log.stage("Read", source.description)
    notes = tuple(note for note in source.notes if "--labels" not in note)  # these verbs have no such option
    for note in notes:
        log.warn(note)
    curation = curate(
        source,
        run.scratch("survey"),
        limits=sitting.limits, num_workers=sitting.device.num_threads,
        log=log,
        quarantine_file=run.path / "quarantine.jsonl",
    )  # fmt: skip
    samples = curation.samples
    if len(samples) < FEWEST:
        raise UserError(
            f"{data} has {counted(len(samples), 'readable picture')} and at least {FEWEST} are needed; give more."
        )
    found = identify(samples, masks)
    refuse_changed(run, data, run.expect("pictures", found), found)
    hashes = hash_once(run, samples, found, sitting.device.num_threads)
    groups = groups_of(samples, curation.cluster)
    learned = facts.get("pictures", {}).get("learned")
    is_known = np.isin(hashes, learned or [])
    is_held_out = _hold_out(sitting, samples, groups, facts, is_known)
    owned = {place: masks[sample.key] for place, sample in enumerate(samples) if sample.key in masks}
    told = [_what_it_knows(is_known, is_held_out, learned is not None)]
    told += [f"{len(owned):,} of {counted(len(samples), 'picture')} have a mask"] if masks else []
    for note in told:
        log.warn(note)
    return Collection(
        source.description,
        samples,
        hashes,
        groups,
        is_held_out,
        curation.is_grey,
        owned,
        len(curation.quarantine),
        (*notes, *told),
    )


def _hold_out(
    sitting: Sitting[Any],
    samples: tuple[Sample, ...],
    groups: Int[np.ndarray, " n"],
    facts: Mapping[str, Any],
    is_known: Bool[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """A tenth, or the test part that the data name, of what the tokenizer has not learned from. Raises UserError where
    nothing can be held out."""
    split = facts.get("split")
    seed = split["seed"] if isinstance(split, dict) and isinstance(split.get("seed"), int) else sitting.seed
    is_held_out = hold_out(samples, groups, seed, is_known)
    if is_held_out.any() and not is_held_out.all():
        return is_held_out
    if is_known.any():
        raise UserError(
            f"{sitting.data} has nothing to hold out, or in its test part nothing, that the tokenizer has not learned "
            "from or seen in a picture of the same group; add others, or train the tokenizer without some of these."
        )
    raise UserError(f"{sitting.data} holds one picture again and again, or one group, so that none can be held out.")


def _what_it_knows(is_known: Bool[np.ndarray, " n"], is_held_out: Bool[np.ndarray, " n"], is_told: bool) -> str:
    num_known, num_held = int(is_known.sum()), int(is_held_out.sum())
    if not is_told:
        return "the tokenizer does not tell which pictures it has learned from: it may know some that are held out"
    if not num_known:
        return f"the tokenizer has seen none of these {len(is_known):,} pictures; {num_held:,} held out"
    return (
        f"the tokenizer has learned from {num_known:,} of these {len(is_known):,} pictures; "
        f"held out: {counted(num_held, 'other')}"
    )


def _read(data: Path, group: str | None) -> tuple[Source, dict[str, Path]]:
    """The folder without its masks, with the labels that its layout carries; and the masks by the keys of pictures."""
    try:
        source = read_source(data, labels=AUTO, group=group)
    except UserError:  # a folder without labels; what else is wrong with it is told next
        source = read_source(data, group=group)
    return split_masks(source, data)


def read_square(
    sample: Sample, pictures: PictureCodes, limits: Limits
) -> tuple[UInt8[np.ndarray, "S S 3"], tuple[int, int]]:
    """The square that the tokenizer reads, and height and width of the whole. Raises UserError where a picture that
    was readable before no longer is."""
    try:
        picture = read_picture(sample, limits, at_least=pictures.side)
    except Unreadable as error:
        raise UserError(
            f"{sample.key} cannot be read ({error.reason}); mend or remove it and run the command again."
        ) from error
    return pictures.square(picture.pixels), (picture.height, picture.width)


def views_of(square: UInt8[np.ndarray, "S S 3"], num_views: int) -> UInt8[np.ndarray, "views S S 3"]:
    """The square, and with two views its mirror image."""
    return np.stack([square, square[:, ::-1]][:num_views])


def tells_sides(text: str) -> bool:
    """Whether a caption would be wrong of the mirrored picture."""
    return not _SIDES.isdisjoint(words_of(text))


def look_plainly(collection: Collection, pictures: PictureCodes, limits: Limits, num_views: int = 2) -> Look:
    """Looks at the pictures as they are, and at nothing made of them."""

    def look(place: int) -> Mapping[str, np.ndarray]:
        return {PLAIN: views_of(read_square(collection.samples[place], pictures, limits)[0], num_views)}

    return look


def encode_once(
    sitting: Sitting[Any], pictures: PictureCodes, look: Look, names: Sequence[str], count: int, num_views: int = 2
) -> CodeTables:
    """Look at the pictures of all places up to `count`, encode what was made of them into the tables of those `names`,
    once: a resumed run maps the files."""
    folder = sitting.run.scratch("codes")
    mark, asked = folder / "done.json", {"names": list(names), "count": count}
    if not mark.exists():
        dtype = np.uint16 if pictures.num_codes <= 1 << 16 else np.uint32
        shape = (count, num_views, pictures.grid[0] * pictures.grid[1])
        codes = {name: create_array(folder / f"codes-{name}.npy", dtype, shape) for name in names}
        shape = (count, pictures.side, pictures.side, 3)
        squares = {name: create_array(folder / f"squares-{name}.npy", np.uint8, shape) for name in names}
        _fill(sitting, pictures, look, codes, squares)
        for array in (*codes.values(), *squares.values()):
            array.flush()
        write_json(mark, asked)
    if read_json(mark) != asked:
        raise UserError(
            f"{sitting.run.path} was begun by another version of beholder, which made other codes of these pictures; "
            "choose another --out, or finish it with that version."
        )
    tables = {name: np.load(folder / f"codes-{name}.npy", mmap_mode="r") for name in names}
    return CodeTables(tables, {name: np.load(folder / f"squares-{name}.npy", mmap_mode="r") for name in names})


def _fill(
    sitting: Sitting[Any],
    pictures: PictureCodes,
    look: Look,
    codes: Mapping[str, np.ndarray],
    squares: Mapping[str, np.ndarray],
) -> None:
    num_workers, count = sitting.device.num_threads, len(codes[PLAIN])
    waiting: list[tuple[int, Mapping[str, np.ndarray]]] = []
    with sitting.log.progress("Encode", count) as advance, ThreadPoolExecutor(num_workers) as pool:
        for place, made in enumerate(map_in_order(pool, look, range(count), 2 * num_workers + 2)):
            waiting.append((place, made))
            if len(waiting) == _AT_ONCE or place == count - 1:
                _encode(waiting, pictures, codes, squares)
                advance(len(waiting))
                waiting = []


def _encode(
    waiting: Sequence[tuple[int, Mapping[str, np.ndarray]]],
    pictures: PictureCodes,
    codes: Mapping[str, np.ndarray],
    squares: Mapping[str, np.ndarray],
) -> None:
    for name in codes:
        some = [(place, made[name]) for place, made in waiting if name in made]
        if not some:
            continue
        places = np.array([place for place, _ in some])
        stacked = np.stack([views for _, views in some])  # pictures views S S 3
        codes[name][places] = pictures.encode(stacked.reshape(-1, *stacked.shape[2:])).reshape(*stacked.shape[:2], -1)
        squares[name][places] = stacked[:, 0]
