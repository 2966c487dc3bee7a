"""The index of a folder of photos: what is new is embedded, what is gone is forgotten, and a kill costs seconds."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from beholder.data.decode import Limits, may_pass
from beholder.data.sources import Source
from beholder.index.journal import Entry
from beholder.index.table import VectorTable
from beholder.index.vectors import VectorIndex
from beholder.runtime.lock import lock_folder
from beholder.runtime.log import Log, counted, duration
from beholder.tasks.image_encoder import PLAIN, Way
from beholder.tasks.shared_space import Placed
from beholder.types import Sample, UserError

_ROWS_A_WRITE = 256
_SECONDS_A_WRITE = 10.0
"""So many embeddings, or those of so much time, a kill may cost."""

Embed = Callable[[Sequence[Sample]], Iterator[Placed]]
"""Samples to points, in any order, each once."""
Start = Callable[[Way], tuple[Way, Embed]]
"""What embeds in that way; and which one it is, where "auto" was asked."""


@dataclass(frozen=True)
class Origin:
    """What the vectors of an index come from."""

    model: str
    """Its name, for people."""
    identity: str
    """Of the model: a digest of what decides where a picture is placed."""
    width: int
    """Of its points."""
    way: Way | None = None
    """How pictures are to be embedded; None: as the index was begun, a new one plainly."""


def update_index(folder: Path, origin: Origin, source: Source, limits: Limits, start: Start, log: Log) -> VectorIndex:
    """The index in `folder`, made or brought up to date; what `start` makes ready is given the samples that it lacks.

    Raises UserError when the folder holds something else, the index of another model, another way or other photos, or
    another process is writing it; OSError when the file system refuses.
    """
    begun = time.perf_counter()
    stamps = {sample.key: _stamp(sample) for sample in source.samples}
    table = _open_checked(folder, origin, source, stamps, log)
    if table is not None and not _changes(table, stamps, limits) and not VectorIndex(table).lacks_neighbours:
        log.stage("Index", f"{folder}: {counted(table.num_live, 'embedding')}, nothing new")
        return VectorIndex(table)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        table = _open_checked(folder, origin, source, stamps, Log(quiet=True))  # another process may have gone on
        if table is None:
            log.stage("Index", f"{folder}: none yet, {counted(len(stamps), 'image')} to embed")
            way, embed = start(origin.way or PLAIN)
            table = VectorTable.create(folder, origin.width, {**_owner(origin, source), **_told(way)})
        else:
            own = _way(table)
            embed = lambda samples: start(own)[1](samples)  # noqa: E731 (nothing is made ready for no sample)
        table.mend()
        if table.num_damaged:
            lines = counted(table.num_damaged, "line")
            log.warn(f"{lines} of {folder} could not be used; what they told of is embedded again")
        num_seen, num_gone = _bring_up_to_date(table, source, stamps, limits, embed, log)
        index = VectorIndex(table)
        index.connect(log)
    told = (
        f"{folder}: {counted(table.num_live, 'embedding')}; {counted(num_seen, 'image')} looked at, {num_gone:,} gone"
    )
    log.stage("Index", f"{told} ({duration(time.perf_counter() - begun)})")
    return index


def choose_place(photos: Path, origin: Origin) -> Path:
    """The folder of an index that was given none: in `.beholder/` of the working directory, one for each pair of photos
    and model."""
    asked = f"{os.path.realpath(photos)}\n{origin.identity}"
    digest = hashlib.blake2b(asked.encode(errors="surrogateescape"), digest_size=6).hexdigest()
    return Path(".beholder") / f"index-{digest}"


def _open_checked(
    folder: Path, origin: Origin, source: Source, stamps: Mapping[str, str], log: Log
) -> VectorTable | None:
    """None where there is no index yet. Raises UserError when it is not of this model and these photos."""
    table = VectorTable.find(folder)
    if table is None:
        return None
    owner, now = table.header.owner, _owner(origin, source)
    if owner.get("identity") != now["identity"] or table.header.width != origin.width:
        same = " (with other weights)" if owner.get("model") == now["model"] else ""
        raise UserError(
            f"{folder} was made by the model {owner.get('model')}, this is {now['model']}{same}; choose another "
            "--index, or delete that folder to embed everything again."
        )
    _check_way(folder, origin.way, _way(table))
    if owner.get("photos") != now["photos"] and table.entries:
        if not any(key in stamps and entry.stamp.split()[0] == stamps[key] for key, entry in table.entries.items()):
            raise UserError(
                f"{folder} is the index of {owner.get('photos')} and has none of the images of {source.folder}; choose "
                "another --index."
            )
        log.warn(f"{folder} was made when the photos lay in {owner.get('photos')}; what is equal is not embedded again")
    return table


def _check_way(folder: Path, asked: Way | None, own: Way) -> None:
    """Raises UserError where another way is asked for than that of the index: points of two ways are not mixed."""
    if asked is None:
        return
    is_same_backend = asked.backend in ("auto", own.backend)
    if not is_same_backend or asked.precision not in (None, own.precision):
        raise UserError(
            f"{folder} was embedded by {own}, this is {asked}, and points of two ways are not mixed; leave --backend "
            "and --precision out to go on as it was begun, or choose another --index, or delete that folder, to embed "
            "everything again."
        )


def _way(table: VectorTable) -> Way:
    owner = table.header.owner
    return Way(cast(Any, owner.get("backend", PLAIN.backend)), cast(Any, owner.get("precision")))


def _told(way: Way) -> dict[str, str]:
    """What an index remembers of its way; nothing of the plain one."""
    if way.precision is None:
        return {} if way == PLAIN else {"backend": way.backend}
    return {"backend": way.backend, "precision": way.precision}


def _owner(origin: Origin, source: Source) -> dict[str, str]:
    photos = os.fsencode(os.path.realpath(source.folder)).decode("utf-8", "backslashreplace")
    return {"model": origin.model, "identity": origin.identity, "photos": photos}


def _stamp(sample: Sample) -> str:
    """Size and time of a file, a digest of bytes: without a space."""
    if sample.data is not None:
        return hashlib.blake2b(sample.data, digest_size=16).hexdigest()
    try:
        status = os.stat(sample.path or "")  # noqa: PTH116 (a million of them)
    except OSError:
        return "absent"
    return f"{status.st_size}-{status.st_mtime_ns}"


def _changes(table: VectorTable, stamps: Mapping[str, str], limits: Limits) -> set[str]:
    """Keys that are new, changed, or gone."""
    entries = table.entries
    wanted = {key for key, stamp in stamps.items() if not _is_known(entries.get(key), stamp, limits)}
    return wanted | {key for key in entries if key not in stamps}


def _is_known(entry: Entry | None, stamp: str, limits: Limits) -> bool:
    if entry is None:
        return False
    if entry.refused is None:
        return entry.stamp == stamp
    return entry.stamp == _refusal_stamp(stamp, limits) and not may_pass(entry.refused)


def _refusal_stamp(stamp: str, limits: Limits) -> str:
    """A picture that was too large is looked at again when the limit is another."""
    return f"{stamp} {limits.max_pixels}"


def _bring_up_to_date(
    table: VectorTable, source: Source, stamps: Mapping[str, str], limits: Limits, embed: Embed, log: Log
) -> tuple[int, int]:
    """How many images were looked at, and how many are gone."""
    changed = _changes(table, stamps, limits)
    gone = [key for key in changed if key not in stamps]
    wanted = [sample for sample in source.samples if sample.key in changed]
    with log.progress("Embed", len(stamps), len(stamps) - len(wanted)) as advance:
        for group in _groups(embed(wanted) if wanted else ()):
            _write(table, group, stamps, limits)
            advance(len(group))
    if gone:
        table.drop(gone)
    if table.is_wasteful or table.num_damaged:
        table.compact()
    return len(wanted), len(gone)


def _groups(placed: Iterable[Placed]) -> Iterator[list[Placed]]:
    group, begun = [], time.monotonic()
    for one in placed:
        group.append(one)
        if len(group) >= _ROWS_A_WRITE or time.monotonic() - begun > _SECONDS_A_WRITE:
            yield group
            group, begun = [], time.monotonic()
    if group:
        yield group


def _write(table: VectorTable, group: Sequence[Placed], stamps: Mapping[str, str], limits: Limits) -> None:
    seen = {one.key: one.point for one in group if one.point is not None}
    if seen:
        table.add({key: stamps[key] for key in seen}, torch.stack(list(seen.values())))
    refused = {
        one.key: (_refusal_stamp(stamps[one.key], limits), one.refused) for one in group if one.refused is not None
    }
    if refused:
        table.refuse(refused)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = lock_folder(folder, "wait for it, or choose another --index")
    try:
        yield
    finally:
        os.close(handle)
