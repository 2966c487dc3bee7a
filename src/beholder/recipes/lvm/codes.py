"""Stage: every picture and all that is made of it as codes, written once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, UInt8

from beholder.data.annotate import ANNOTATIONS
from beholder.recipes.coded_pictures import PLAIN, CodeTables, encode_once, read_square, views_of
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.settings import LVMTraining
from beholder.recipes.masks import square_mask
from beholder.recipes.sitting import Sitting
from beholder.runtime.seed import numpy_generator
from beholder.tasks.picture_codes import PictureCodes


def sides(task: str) -> tuple[str, str]:
    """Which tables hold a task's questions and its answers."""
    is_answer = task == "masks" or ANNOTATIONS[task].is_answer
    return (PLAIN, task) if is_answer else (task, PLAIN)


def code_pair(tables: CodeTables, task: str, place: int, view: int) -> Int[np.ndarray, "2 codes"]:
    """Question and answer."""
    return np.stack([tables.tables[name][place, view] for name in sides(task)]).astype(np.int64)


def encode_all(sitting: Sitting[LVMTraining], material: Material, pictures: PictureCodes) -> CodeTables:
    """Look at each picture once. The second view is the picture mirrored, with whatever is made of that."""
    num_views, asked = sitting.settings.num_views, {*material.tasks, *material.left_out}
    names = [PLAIN, *(name for name in (*ANNOTATIONS, "masks") if name in asked)]

    def mask_of(place: int, size: tuple[int, int]) -> UInt8[np.ndarray, "S S 3"]:
        key = material.samples[place].key
        return square_mask(material.masks[place], key, size, pictures.square, sitting.limits)

    def look(place: int) -> Mapping[str, np.ndarray]:
        square, size = read_square(material.samples[place], pictures, sitting.limits)
        made = {PLAIN: views_of(square, num_views)}
        for name in (name for name in names if name in ANNOTATIONS):
            draws = [numpy_generator(sitting.seed, "annotate", name, place, view) for view in range(num_views)]
            change = ANNOTATIONS[name].change
            made[name] = np.stack([change(view, draw) for view, draw in zip(made[PLAIN], draws, strict=True)])
        if "masks" in names and place in material.masks:
            made["masks"] = views_of(mask_of(place, size), num_views)
        return made

    return encode_once(sitting, pictures, look, names, len(material.samples), num_views)
