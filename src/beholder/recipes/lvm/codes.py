"""Stage: every picture and all that is made of it as codes, written once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from beholder.data.annotate import ANNOTATIONS
from beholder.data.decode import Limits, Unreadable, read_picture
from beholder.data.parallel import map_in_order
from beholder.data.series import read_mask
from beholder.recipes.adapt.arrays import create_array
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.sitting import Sitting
from beholder.runtime.files import read_json, write_json
from beholder.runtime.seed import numpy_generator
from beholder.tasks.picture_codes import PictureCodes
from beholder.types import UserError

PLAIN = "plain"
_AT_ONCE = 32


@dataclass(frozen=True)
class CodeTables:
    """Codes of all pictures, mapped from files."""

    tables: Mapping[str, np.ndarray]
    """By what was made of the pictures ("plain", "edges", "masks", ...): uint16 n views codes."""
    squares: Mapping[str, np.ndarray]
    """The same as pictures, of the first view: uint8 n S S 3. What a completion is compared with."""

    def pair(self, task: str, place: int, view: int) -> Int[np.ndarray, "2 codes"]:
        """Question and answer."""
        return np.stack([self.tables[name][place, view] for name in sides(task)]).astype(np.int64)

    def plain(self, place: int, view: int) -> Int[np.ndarray, " codes"]:
        return self.tables[PLAIN][place, view].astype(np.int64)


def sides(task: str) -> tuple[str, str]:
    """Which tables hold a task's questions and its answers."""
    is_answer = task == "masks" or ANNOTATIONS[task].is_answer
    return (PLAIN, task) if is_answer else (task, PLAIN)


def encode_all(sitting: Sitting, material: Material, pictures: PictureCodes) -> CodeTables:
    """Look at each picture once. The second view is the picture mirrored, with whatever is made of that."""
    folder, num_views = sitting.run.scratch("codes"), sitting.settings.num_views
    asked = {*material.tasks, *material.left_out}
    names = [PLAIN, *(name for name in (*ANNOTATIONS, "masks") if name in asked)]
    count, mark = len(material.samples), folder / "done.json"
    if not mark.exists():
        dtype = np.uint16 if pictures.num_codes <= 1 << 16 else np.uint32
        per_picture = pictures.grid[0] * pictures.grid[1]
        codes = {
            name: create_array(folder / f"codes-{name}.npy", dtype, (count, num_views, per_picture)) for name in names
        }
        shape = (count, pictures.side, pictures.side, 3)
        squares = {name: create_array(folder / f"squares-{name}.npy", np.uint8, shape) for name in names}
        _fill(sitting, material, pictures, codes, squares)
        for array in (*codes.values(), *squares.values()):
            array.flush()
        write_json(mark, {"names": names, "count": count})
    assert read_json(mark) == {"names": names, "count": count}
    tables = {name: np.load(folder / f"codes-{name}.npy", mmap_mode="r") for name in names}
    return CodeTables(tables, {name: np.load(folder / f"squares-{name}.npy", mmap_mode="r") for name in names})


def _fill(
    sitting: Sitting,
    material: Material,
    pictures: PictureCodes,
    codes: Mapping[str, np.ndarray],
    squares: Mapping[str, np.ndarray],
) -> None:
    num_views, num_workers = sitting.settings.num_views, sitting.device.num_threads

    def look(place: int) -> tuple[int, dict[str, np.ndarray]]:
        """Squares of every view, by what they are: views S S 3."""
        square, mask = _read(material, place, pictures, sitting.limits)
        views = [square, np.ascontiguousarray(square[:, ::-1])][:num_views]
        made = {PLAIN: np.stack(views)}
        for name in codes.keys() - {PLAIN, "masks"}:
            draws = [numpy_generator(sitting.seed, "annotate", name, place, view) for view in range(num_views)]
            change = ANNOTATIONS[name].change
            made[name] = np.stack([change(view, draw) for view, draw in zip(views, draws, strict=True)])
        if mask is not None:
            made["masks"] = np.stack([mask, mask[:, ::-1]][:num_views])
        return place, made

    waiting: list[tuple[int, dict[str, np.ndarray]]] = []
    with sitting.log.progress("Encode", len(material.samples)) as advance, ThreadPoolExecutor(num_workers) as pool:
        for item in map_in_order(pool, look, range(len(material.samples)), 2 * num_workers + 2):
            waiting.append(item)
            if len(waiting) == _AT_ONCE or item[0] == len(material.samples) - 1:
                _encode(waiting, pictures, codes, squares)
                advance(len(waiting))
                waiting = []


def _encode(
    waiting: list[tuple[int, dict[str, np.ndarray]]],
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


def _read(
    material: Material, place: int, pictures: PictureCodes, limits: Limits
) -> tuple[np.ndarray, np.ndarray | None]:
    """The square of a picture, and that of its mask."""
    sample = material.samples[place]
    try:
        picture = read_picture(sample, limits, at_least=pictures.side)
        if "masks" not in {*material.tasks, *material.left_out} or place not in material.masks:
            return pictures.square(picture.pixels), None
        mask = read_mask(material.masks[place], limits)
    except Unreadable as error:
        raise UserError(
            f"{sample.key}, or its mask, cannot be read ({error.reason}); mend or remove it and run the command again."
        ) from error
    if mask.shape[:2] != (picture.height, picture.width):
        raise UserError(
            f"The mask {material.masks[place]} is {mask.shape[1]} x {mask.shape[0]} pixels and its picture "
            f"{picture.width} x {picture.height}; a mask has its picture's size."
        )
    small = pictures.square(mask)
    return pictures.square(picture.pixels), np.where(small > 127, 255, 0).astype(np.uint8)
