"""`search`: the pictures of a folder that are like a text or a picture, by embeddings that are computed once."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from beholder.backends.outputs import Backend, Precision
from beholder.data.decode import Limits
from beholder.data.listing import Refused
from beholder.data.sources import read_source
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import Part
from beholder.recipes.photo_index import Embed, Origin, choose_place, update_index
from beholder.recipes.ray_embedding import embed_on_ray
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside, told_kindly, write_text
from beholder.runtime.log import Log, counted, duration
from beholder.tasks.embed import ImageInput
from beholder.tasks.image_encoder import PLAIN, Way, first_samples, hasten, way_of
from beholder.tasks.search import open_finder
from beholder.tasks.search import search as search_index
from beholder.types import Answer, UserError

_MOST_BROKEN_TOLD = 5


def search(
    photos: str | Path,
    text: str | None = None,
    *,
    like: ImageInput | None = None,
    model: Bundle | Foreign | Part | str | Path | None = None,
    count: int = 10,
    index: str | Path | None = None,
    backend: Backend | Literal["auto"] | None = None,
    precision: Precision | None = None,
    ray: bool = False,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> list[Answer]:
    """The `count` pictures most like a text, a picture or both, best first; then those that cannot be read, `refused`.

    `key` is the picture's name in `photos`, `score` its cosine (-1 to 1) with the query, `details` has the cosines with
    "text" and "like" and the "path" of the file. Embeddings are kept in the folder `index` (by default one in
    `.beholder/` of the working directory): only pictures that are new or changed are embedded. `backend`
    and `precision` do that in a faster way (docs/backends.md), which the index remembers; queries are always read
    plainly. `ray` lets the workers of a Ray cluster embed. Raises UserError when nothing is asked for, the folder, the
    picture, the model or the backend is unusable, or the index is another model's or was embedded in another way.
    """
    log, limits = log or Log(quiet=True), Limits(max_pixels=max_pixels)
    _check_query(text, like, count)
    picked, source = pick_device(device, threads), read_source(Path(photos))
    log.stage("Read", source.description)
    for note in source.notes:
        if "--labels" not in note:
            log.warn(note)
    named = DEFAULT_PAIRS if model is None else model
    loaded = load(named) if isinstance(named, str | Path) else named
    name = str(named) if isinstance(named, str | Path) else _name(named)
    finder = open_finder(loaded, name, picked)
    asked = {
        "text": None if text is None else finder.place_text(text),
        "like": None if like is None else finder.place_picture(like, limits),
    }
    way = None if backend is None and precision is None else way_of(backend, precision)  # none: as the index was begun
    origin = Origin(name, finder.identity, next(len(point) for point in asked.values() if point is not None), way)
    folder = choose_place(Path(photos), origin) if index is None else Path(index)
    refuse_inside(folder, Path(photos), "--index")

    def start(way: Way) -> tuple[Way, Embed]:
        ready, examples = finder, first_samples(source.samples, limits) if way != PLAIN else []
        if examples:
            begun = time.perf_counter()
            pictures = [pixels for _, pixels in examples]
            ready, way = hasten(finder, loaded, picked, way, pictures)
            log.stage("Backend", f"{way}, ready after {duration(time.perf_counter() - begun)}")
        elif way.backend == "auto":  # there is nothing to measure on, and nothing to embed
            way = replace(way, backend="plain")
        if ray:
            kept = [sample for sample, _ in examples]
            return way, lambda samples: embed_on_ray(named, samples, limits, picked, way, kept)
        return way, lambda samples: ready.place_samples(samples, limits, picked.num_threads)

    with told_kindly(folder, "--index"):
        vectors = update_index(folder, origin, source, limits, start, log)
        told = {key: entry.refused for key, entry in vectors.table.entries.items() if entry.refused is not None}
        refused = sorted([*source.refused, *(Refused(*pair) for pair in told.items())], key=lambda one: one.key)
        _tell_broken(refused, folder / "quarantine.jsonl", log)
    if not vectors.table.num_live:
        raise UserError(f"Not one image of {photos} can be read; {folder / 'quarantine.jsonl'} has the reasons.")
    begun = time.perf_counter()
    answers = search_index(vectors, count, **asked)
    way = "all of them compared" if vectors.is_exact else "approximate"
    milliseconds = 1000 * (time.perf_counter() - begun)
    log.stage("Search", f"{counted(vectors.table.num_live, 'embedding')} in {milliseconds:.0f} ms ({way})")
    places = {sample.key: sample.path for sample in source.samples}
    found = [replace(one, details={**one.details, "path": _text(places[one.key])}) for one in answers]
    return found + [Answer(one.key, refused=one.reason) for one in refused]


def _check_query(text: str | None, like: ImageInput | None, count: int) -> None:
    if text is None and like is None:
        raise UserError("There is nothing to search for; give a text, or a picture with --like IMAGE.")
    if text is not None and not text.strip():
        raise UserError("The text to search for is empty; give a few words, or a picture with --like IMAGE.")
    if count < 1:
        raise UserError(f"--count {count}: at least one image is told; give a larger number.")


def _name(model: Bundle | Foreign | Part) -> str:
    return str(model.source) if isinstance(model, Foreign | Part) else "the model given"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _tell_broken(refused: Sequence[Refused], file: Path, log: Log) -> None:
    """All of them in the file, the first few aloud."""
    write_text(file, "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in refused))
    for one in refused[:_MOST_BROKEN_TOLD]:
        log.stage("Broken", f"{one.key}: {one.reason}")
    more = len(refused) - _MOST_BROKEN_TOLD
    if more > 0:
        log.stage("Broken", f"and {more:,} more, see {file}")
