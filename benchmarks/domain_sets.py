"""The sets of research/PROTOCOL.md, as `adapt` reads them, their folds, and their generic features."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.data.split import grouped_folds
from beholder.evaluate.label_curve import Fold
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.adapt.domain import Domain, read_domain
from beholder.recipes.adapt.features import Features, extract
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tokenizers.pixels import PixelConfig

SETS = ("elpv", "magnetic_tile", "sign_digits", "pneumoniamnist_mini", "bccd_crops", "digits")
NUM_FOLDS = 4
MOST_CELLS, RIM = 600, 0.1
EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class OpenSet:
    """A set that was read, and what the generic backbone says of it."""

    session: Session
    domain: Domain
    generic: nn.Module
    features: Features


def parser_of(doc: str | None, folds: Sequence[int], seeds: Sequence[int]) -> argparse.ArgumentParser:
    """What the scripts that run or tell pieces of the protocol are asked; `folds` and `seeds` are their defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--set", choices=SETS, nargs="+", default=SETS)
    parser.add_argument("--folds", type=int, nargs="+", default=list(folds), help="whose test part judges")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds), help="of pretraining")
    parser.add_argument("--data", type=Path, help="the folder of the sets that no package brings")
    parser.add_argument("--out", type=Path, help="a folder for what is needed on the way")
    return parser


def run_sets(asked: argparse.Namespace, run_set: Callable[[str, argparse.Namespace], None]) -> None:
    """Every set that is asked for, where `run` is."""
    if asked.what == "run":
        if asked.out is None:
            sys.exit("run needs --out")
        for name in asked.set:
            run_set(name, asked)


@contextmanager
def open_set(
    name: str, data: Path | None, folder: Path, run: str, resolutions: tuple[int, ...] | None = None
) -> Iterator[tuple[Session, Domain]]:
    """A set as `adapt` reads it, on one thread, in the run folder of that name below `folder`; `adapt`'s resolutions if
    none are given."""
    folder.mkdir(parents=True, exist_ok=True)
    config = describe_set(name, data, folder, resolutions)
    with RunFolder.open(folder / run, to_json(config)) as opened_run:
        session = Session(config, opened_run, pick_device("cpu", 1), Limits(), PixelConfig(), Log())
        yield session, read_domain(config, opened_run, session.limits, 1, session.log)


@contextmanager
def opened(
    name: str, data: Path | None, folder: Path, run: str, resolutions: tuple[int, ...] | None = None
) -> Iterator[OpenSet]:
    """The same with generic features; those that are there are not made again."""
    with open_set(name, data, folder, run, resolutions) as (session, domain):
        generic = efficientnet_lite0()
        yield OpenSet(session, domain, generic, extract(session, generic, domain.samples, "features"))


def describe_set(name: str, data: Path | None, folder: Path, resolutions: tuple[int, ...] | None) -> AdaptConfig:
    """`data` holds the sets that no package brings; what has to be made is written into `folder`."""
    how = {"labels": "auto", "threads": 1, **({} if resolutions is None else {"resolutions": resolutions})}
    if name == "elpv":
        table = folder / "solar_cells.csv"
        subprocess.run([sys.executable, EXAMPLES / "solar_cells.py", table], check=True)
        return AdaptConfig(photos=str(table), group="module", **how)
    if name == "digits":
        return AdaptConfig(photos=str(write_digits(folder / "digits")), **how)
    if data is None:
        sys.exit("--data is needed for this set")
    if name == "bccd_crops":
        return AdaptConfig(photos=str(write_cells(data / "bccd", folder / "cells")), group="smear", **how)
    return AdaptConfig(photos=str(data / name), **how)


def write_digits(folder: Path) -> Path:
    """scikit-learn's, as files, a folder a class."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(path)
    return folder


def write_cells(data: Path, folder: Path) -> Path:
    """A table of cells cut from their smears, with a tenth of rim, at most `MOST_CELLS` a class, drawn by seed 0."""
    rows = [json.loads(line) for line in (data / "metadata.jsonl").read_text().splitlines()]
    cells = [
        (row["file_name"], box, name)
        for row in rows
        for box, name in zip(row["objects"]["bbox"], row["objects"]["category"], strict=True)
    ]
    taken: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "cells.csv"
    with table.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["file_name", "label", "smear"])
        for place in np.random.default_rng(0).permutation(len(cells)):
            file_name, (left, top, width, height), name = cells[place]
            if taken[str(name)] == MOST_CELLS or min(width, height) < 4:
                continue
            taken[str(name)] += 1
            path = folder / f"{place:05d}.png"
            if not path.exists():
                box = (left - RIM * width, top - RIM * height, left + (1 + RIM) * width, top + (1 + RIM) * height)
                with Image.open(data / file_name) as image:
                    inside = (max(0, box[0]), max(0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
                    image.convert("RGB").crop(tuple(map(round, inside))).save(path)
            lines.writerow([path.name, name, Path(file_name).stem])
    return table


def outer_folds(domain: Domain) -> list[Fold]:
    """The protocol's four: of each the part that is learned from, and the test part."""
    labelled = np.flatnonzero(domain.is_labelled)
    names = [domain.classes[label] for label in domain.labels[labelled]]
    fold_of = grouped_folds(names, domain.groups[labelled], NUM_FOLDS, seed=0)
    return [Fold(labelled[fold_of != number], labelled[fold_of == number]) for number in range(NUM_FOLDS)]


def validation_fold(domain: Domain, fold: Fold) -> Fold:
    """Of a fold's learning images two thirds, and the third that validates, by groups."""
    names = [domain.classes[label] for label in domain.labels[fold.train]]
    third_of = grouped_folds(names, domain.groups[fold.train], NUM_FOLDS - 1, seed=1)
    return Fold(fold.train[third_of != 0], fold.train[third_of == 0])
