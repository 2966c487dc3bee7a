"""`serve`: models behind an address that OpenAI's clients speak.

beholder serve runs/solar/model embedded --search photos/
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from torch import Tensor

from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.lines import read_lines
from beholder.data.sources import Source, read_source
from beholder.index.vectors import VectorIndex
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import need_whole
from beholder.recipes.photo_index import Origin, choose_place, update_index
from beholder.recipes.rows_of_pictures import as_png
from beholder.recipes.serve_on_ray import run_on_ray
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import refuse_inside
from beholder.runtime.log import Log
from beholder.serve.app import build_app
from beholder.serve.run import listen, run
from beholder.serve.served import Served, name_of, open_served
from beholder.serve.settings import ServeConfig
from beholder.tasks.search import open_finder
from beholder.tasks.search import search as search_index
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.types import Answer, Sample, UserError

_SIDE = 128
_SMALL = np.zeros((32, 32, 3), np.uint8)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    models: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    search: str | Path | None = None,
    config: ServeConfig | None = None,
    key_file: str | Path | None = None,
    replicas: int = 0,
    device: str = "auto",
    threads: int | None = None,
    log: Log | None = None,
) -> None:
    """Serve these models, by name or folder, until the process is asked to stop. `search` is a folder of pictures that
    are searched by the first model that places images and texts, or images alone; `key_file` has the keys that clients
    may send, one a line. With `replicas` above 0 so many processes of a Ray cluster answer, with `threads` each, or
    one.

    Raises UserError for a model that answers nothing, two of one name, and a port that is taken.
    """
    log = log or Log(quiet=True)
    keys = read_keys(None if key_file is None else Path(key_file))
    picked, config = pick_device(device, threads), config or ServeConfig()
    photos = None if search is None else Path(search)
    if photos is not None and not photos.exists():
        raise UserError(f"--search {photos}: no such folder; name a folder of pictures.")
    with listen(
        host, port
    ) as listener:  # bound, not answered yet: a port that is taken is told before models are opened
        served = open_all(models, picked, photos, log)
        if host not in _LOOPBACK and not keys:
            log.warn(
                f"--host {host} lets others ask, and no keys are asked for; give --key-file, or serve on 127.0.0.1"
            )
        number = listener.getsockname()[1]
        if not replicas:
            shown = f"[{host}]" if ":" in host else host
            log.stage("Address", f"http://{shown}:{number}")
            run(build_app(served, picked, config, keys), listener)
            return
    del served  # which has made the index of searched pictures, and told what is wrong
    searched = None if photos is None else photos.absolute()
    open_app = functools.partial(open_application, photos=searched, config=config, keys=keys, device=device)
    run_on_ray(
        open_app, models, replicas, host=host, port=number, config=config, threads=threads,
        is_gpu=picked.torch_device.type == "cuda", log=log,
    )  # fmt: skip


def open_application(
    models: Sequence[str | Path], *, photos: Path | None, config: ServeConfig, keys: Sequence[str], device: str,
    threads: int | None,
) -> FastAPI:  # fmt: skip
    """The application with its models, in a process that has nothing yet."""
    picked = pick_device(device, threads)
    return build_app(open_all(models, picked, photos, Log(quiet=True)), picked, config, keys)


def open_all(models: Sequence[str | Path], device: Device, photos: Path | None, log: Log) -> list[Served]:
    """Models in order. Raises UserError for none, two of one name, and where photos are to be searched and none places
    images."""
    if not models:
        raise UserError("Name at least one model: beholder serve runs/first/model")
    served: list[Served] = []
    loaded = [load(path) for path in models]
    for path, model in zip(models, loaded, strict=True):
        one = open_served(name_of(str(path)), model, device)
        if any(other.name == one.name for other in served):
            raise UserError(f"Two models are called {one.name}; rename one of the folders.")
        served.append(one)
    if photos is not None:
        able = [at for at, one in enumerate(served) if one.place_images is not None]
        if not able:
            raise UserError(f"--search {photos}: none of the models places images; add one, such as embedded.")
        chosen = next((at for at in able if served[at].place_texts is not None), able[0])  # words find pictures, too
        served[chosen] = _with_search(served[chosen], need_whole(loaded[chosen]), photos, device, log)
    for one in served:
        log.stage("Model", f"{one.name} {one.about}: {', '.join(one.abilities)}")
    return served


def _with_search(served: Served, loaded: Bundle | Foreign, photos: Path, device: Device, log: Log) -> Served:
    source = read_source(photos)
    return replace(
        served, search=_searcher(loaded, served.name, photos, source, device, log),
        thumbnail=functools.partial(_small, {sample.key: sample for sample in source.samples}),
    )  # fmt: skip


def read_keys(path: Path | None) -> tuple[str, ...]:
    """One a line. Raises UserError for short ones, and a file without any."""
    if path is None:
        return ()
    keys = tuple(dict.fromkeys(read_lines(path, "--key-file")))
    if any(len(key) < 16 or not key.isascii() or " " in key for key in keys):
        raise UserError(f"--key-file {path}: a key has at least 16 letters or digits, without spaces.")
    return keys


def _searcher(
    loaded: Bundle | Foreign, name: str, photos: Path, source: Source, device: Device, log: Log
) -> functools.partial[list[Answer]]:
    """Finds pictures of the folder, which are embedded first where they are not yet."""
    limits, finder = Limits(), open_finder(loaded, name, device)
    width = len(finder.place_arrays([_SMALL])[0])
    origin = Origin(name, finder.identity, width)
    folder = choose_place(photos, origin)
    refuse_inside(folder, photos, "--search")
    embed = functools.partial(finder.place_samples, limits=limits, num_workers=device.num_threads)
    index = update_index(folder, origin, source, limits, lambda way: (way, embed), log)
    return functools.partial(_find, index)


def _small(samples: Mapping[str, Sample], key: str) -> bytes | None:
    try:
        return as_png(np.asarray(fit(decode(samples[key]), PixelConfig(size=_SIDE)), np.uint8))
    except (KeyError, Unreadable):
        return None


def _find(index: VectorIndex, points: Mapping[str, Tensor], count: int) -> list[Answer]:
    return search_index(index, count, **points)
