"""`serve`: models behind an address that OpenAI's clients speak.

beholder serve runs/solar/model embedded --search photos/
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from fastapi import FastAPI
from torch import Tensor

from beholder.backends.outputs import Backend, Precision, TooFar
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
from beholder.tasks.image_encoder import PLAIN, Way, first_samples, way_of
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
    backend: Backend | Literal["auto"] | None = None,
    precision: Precision | None = None,
    may_differ: float | None = None,
    examples: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    log: Log | None = None,
) -> None:
    """Serve these models, by name or folder, until the process is asked to stop. `search` is a folder of pictures that
    are searched by the first model that places images and texts, or images alone; `key_file` has the keys that clients
    may send, one a line. With `replicas` above 0 so many processes of a Ray cluster answer, with `threads` each, or
    one. `backend` and `precision` are ways to run what sees on a CPU (docs/backends.md), for which `examples` is a
    folder of pictures of the kind that will come; 8 bits need one. `may_differ` is how far what it says of them may lie
    from what the model says in fp32: the length of the difference over the length, if not given that of
    `backends.outputs.BOUNDS`.

    Raises UserError for a model that answers nothing, two of one name, and a port that is taken.
    """
    log = log or Log(quiet=True)
    keys = read_keys(None if key_file is None else Path(key_file))
    picked, config = pick_device(device, threads), config or ServeConfig()
    photos = None if search is None else Path(search)
    if replicas < 0:
        raise UserError(f"--replicas {replicas}: give a number from 0; 0 needs no Ray.")
    if photos is not None and not photos.exists():
        raise UserError(f"--search {photos}: no such folder; name a folder of pictures.")
    if may_differ is not None and not may_differ > 0:  # also where it is no number
        raise UserError(f"--may-differ {may_differ:g}: give a share above 0.")
    if may_differ is not None and backend is None and precision is None:
        raise UserError("--may-differ is for --backend and --precision; add one of them, or leave it out.")
    choice = Choice(_absolute(photos), way_of(backend, precision, may_differ), _absolute(examples))
    if examples is not None and choice.way == PLAIN:
        raise UserError(f"--examples {examples} is for --backend; add one, or leave it out.")
    with listen(host, port, f"--host {host} --port {port}") as listener:
        served = open_all(models, picked, choice, log)
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
    open_app = functools.partial(open_application, choice=choice, config=config, keys=keys, device=device)
    run_on_ray(
        open_app, models, replicas, host=host, port=number, config=config, threads=threads,
        is_gpu=picked.torch_device.type == "cuda", log=log,
    )  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What is asked of the models beside their names."""

    photos: Path | None = None
    """A folder that is searched."""
    way: Way = PLAIN
    examples: Path | None = None
    """Pictures of the kind that will come."""


def open_application(
    models: Sequence[str | Path], *, choice: Choice, config: ServeConfig, keys: Sequence[str], device: str,
    threads: int | None,
) -> FastAPI:  # fmt: skip
    """The application with its models, in a process that has nothing yet."""
    picked = pick_device(device, threads)
    return build_app(open_all(models, picked, choice, Log(quiet=True)), picked, config, keys)


def open_all(models: Sequence[str | Path], device: Device, choice: Choice, log: Log) -> list[Served]:
    """Models in order. Raises UserError for none, two of one name, where photos are to be searched and none places
    images, and for a way that a model cannot be run in."""
    if not models:
        raise UserError("Name at least one model: beholder serve runs/first/model")
    served, photos = list[Served](), choice.photos
    examples = _examples(choice)
    loaded = [load(path) for path in models]
    for path, model in zip(models, loaded, strict=True):
        name = name_of(str(path))
        if choice.way != PLAIN:
            log.stage("Prepare", f"{name} by {choice.way}, which takes up to some minutes")
        try:
            one = open_served(name, model, device, choice.way, examples)
        except TooFar as error:
            told = str(error).removesuffix(".")
            raise UserError(f"{name} by {choice.way}: {told}, or allow more by --may-differ.") from error
        except UserError as error:
            raise UserError(str(error) if choice.way == PLAIN else f"{name} by {choice.way}: {error}") from error
        if choice.way != PLAIN and (one.writer or one.draws):
            log.warn(f"{one.name} runs as ever: --backend and --precision are for what sees")
        if one.talker and choice.way.precision not in (None, "fp32"):
            log.warn(f"{one.name} sees in fp32: --precision is for models that place images")
        if any(other.name == one.name for other in served):
            raise UserError(
                f"Two models are called {one.name}; name each once, and folders of one name by other names."
            )
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


def _absolute(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).absolute()


def _examples(choice: Choice) -> list[np.ndarray]:
    """Pictures on which a way is tried: the user's, or noise where nothing is learned from them."""
    folder = choice.examples or choice.photos
    if choice.way == PLAIN:
        return []
    if folder is not None:
        found = [picture for _, picture in first_samples(read_source(folder).samples, Limits())]
        if not found:
            raise UserError(f"--examples {folder}: none of its pictures can be read; name another folder.")
        return found
    if choice.way.precision == "int8":
        raise UserError("--precision int8 takes its ranges from pictures of the kind that will come; name some by "
                        "--examples PHOTOS.")  # fmt: skip
    return list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))


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
