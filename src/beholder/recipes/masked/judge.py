"""Stage: what is put into holes, and what is painted from nothing, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from beholder.data.holes import fill_bending, fill_smoothly, patch_in
from beholder.evaluate.resample import grouped_interval
from beholder.metrics.coverage import NUM_NEIGHBOURS, coverage
from beholder.metrics.filters import DISTANCE, NAME, filter_distance, filter_features
from beholder.models.heads import describe
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.coded_pictures import PLAIN, CodeTables
from beholder.recipes.masked.holes import HoledPictures
from beholder.recipes.masked.material import Material
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.masked.sheets import beside_sheet, mended_sheet, sample_sheet
from beholder.recipes.nearest import nearest_of
from beholder.recipes.sitting import Sitting
from beholder.runtime.seed import derive, numpy_generator
from beholder.tasks.masked_pictures import MaskedPictures, Wish
from beholder.train.readout import fit_readout

_AT_ONCE = 64
_MOST_KNOWN = 2000
_SAME = 0.9
"""Share of equal codes from which on a sample counts as a copy of a training picture."""
_NUM_SHOWN = 16

Squares = UInt8[np.ndarray, "_ S S 3"]


def judge(
    sitting: Sitting[MaskedTraining],
    holed: HoledPictures,
    material: Material,
    tables: CodeTables,
    painter: MaskedPictures,
) -> tuple[dict[str, Any], dict[str, UInt8[np.ndarray, "_ _ 3"]]]:
    """All figures, JSON values; and sheets of what they are about, of the first pictures and not of chosen ones."""
    with sitting.log.progress("Judge", 3) as advance:
        holes, mended = judge_holes(sitting, holed, material, tables, painter)
        few = holed.first(_NUM_SHOWN)
        again = painter.mend(few.squares, few.holes, [Wish()] * len(few.places), sitting.settings.decoding, 7)
        sheets = {"holes": mended_sheet(few, mended[:_NUM_SHOWN], again)}
        advance()
        samples, painted, nearest = judge_samples(sitting, material, tables, painter)
        sheets["samples"] = beside_sheet(painted[:_NUM_SHOWN], nearest[:_NUM_SHOWN])
        advance()
        classes, asked = judge_classes(sitting, material, tables, painter)
        if asked is not None:
            sheets["classes"] = sample_sheet(asked[:_NUM_SHOWN])
        advance()
    return {"holes": holes, "samples": samples, "classes": classes}, sheets


def judge_holes(
    sitting: Sitting[MaskedTraining],
    holed: HoledPictures,
    material: Material,
    tables: CodeTables,
    painter: MaskedPictures,
) -> tuple[dict[str, Any], Squares]:
    """By kind of hole: the distance of what was put in from the truth, of rivals too; and what was put in."""
    settings, squares, holes = sitting.settings, holed.squares, holed.holes
    wishes = [Wish()] * len(squares)  # a user who only names a hole tells no class
    mended = painter.mend(squares, holes, wishes, settings.decoding, derive(sitting.seed, "mend") % 2**31)
    known = np.stack([tables.squares[PLAIN][place] for place in _some(material.places(False))])
    again = painter.pictures.decode(painter.pictures.encode(squares))
    filled = {
        "mean colour": _each(squares, holes, _fill_mean),
        "smooth (harmonic)": _each(squares, holes, _rounded(fill_smoothly)),
        "bending (biharmonic)": _each(squares, holes, _rounded(fill_bending)),
        "nearest training picture": _from_nearest(squares, holes, known),
    }
    limit = np.stack([patch_in(*three) for three in zip(squares, again, holes, strict=True)])
    ours, ceiling = _distance(mended, squares, holes), _distance(limit, squares, holes)
    scored = {name: _distance(pictures, squares, holes) for name, pictures in filled.items()}
    kinds, generator = np.array(holed.kinds), numpy_generator(sitting.seed, "bootstrap")
    groups = material.collection.groups[holed.places]  # the two holes of a picture, and of its doubles, err together
    told: dict[str, Any] = {
        "features": DISTANCE, "num_pictures": len(np.unique(holed.places)), "num_known": len(known), "kinds": {},
    }  # fmt: skip
    for kind in ("all", *np.unique(kinds).tolist()):
        rows = np.ones(len(kinds), bool) if kind == "all" else kinds == kind
        told["kinds"][kind] = {
            "num_holes": int(rows.sum()),
            "share_hidden": float(holes[rows].mean()),
            "distance": float(ours[rows].mean()),
            "interval": grouped_interval(ours[rows], groups[rows], generator),
            "psnr": _psnr(mended[rows], squares[rows], holes[rows]),
            "tokenizer": float(ceiling[rows].mean()),
            "rivals": {
                name: {
                    "distance": float(values[rows].mean()),
                    "gain": float((values - ours)[rows].mean()),
                    "interval": grouped_interval((values - ours)[rows], groups[rows], generator),
                    "psnr": _psnr(filled[name][rows], squares[rows], holes[rows]),
                }
                for name, values in scored.items()
            },
        }
    return told, mended


def judge_samples(
    sitting: Sitting[MaskedTraining], material: Material, tables: CodeTables, painter: MaskedPictures
) -> tuple[dict[str, Any], Squares, Squares]:
    """Figures of pictures from nothing; those pictures, and the training picture that is nearest to each."""
    settings, count = sitting.settings, sitting.settings.num_samples
    codes = painter.paint([Wish()] * count, settings.decoding, derive(sitting.seed, "samples") % 2**31)
    painted = painter.pictures.decode(codes)
    places, held = _some(material.places(False)), material.places(True)
    real, other = (np.stack([tables.squares[PLAIN][place] for place in some]) for some in (places, held))
    features = {name: _features(one) for name, one in (("real", real), ("painted", painted), ("held_out", other))}
    mean, spread = features["real"].mean(0), features["real"].std(0).clip(0.01)
    rows = {name: (one - mean) / spread for name, one in features.items()}
    nearest, like = nearest_of(painted, real)
    _, usual = nearest_of(other, real)
    same = _most_equal(codes, tables.tables[PLAIN], material.places(False))
    told: dict[str, Any] = {
        "features": f"{NAME}, in units of their spread over the pictures to learn from",
        "num_samples": count,
        "nearest": {
            "median": float(np.median(like)),
            "median_held_out": float(np.median(usual)),
            "share_copied": float((same >= _SAME).mean()),
            "num_known": len(real),
        },
    }
    for name, ending in (("painted", ""), ("held_out", "_of_held_out")):
        size = min(len(rows["real"]), len(rows[name]))  # sets of one size, as published
        if size > NUM_NEIGHBOURS:
            some = np.linspace(0, len(rows["real"]) - 1, size).astype(int)
            found = coverage(rows["real"][some], rows[name][:size])
            told[f"precision{ending}"], told[f"recall{ending}"] = found.precision, found.recall
    told["num_held_out"] = len(other)
    return told, painted, real[nearest]


def judge_classes(
    sitting: Sitting[MaskedTraining], material: Material, tables: CodeTables, painter: MaskedPictures
) -> tuple[dict[str, Any] | None, Squares | None]:
    """How often a classifier that has seen real pictures alone finds the class asked for; None without classes.

    Its features are EfficientNet-Lite0's, of which the tokenizer's loss has seen some and the model's none.
    """
    if not material.labels:
        return None, None
    settings, num_classes = sitting.settings, len(material.labels)
    has_class = material.classes < num_classes
    learned, held = (places[has_class[places]] for places in (material.places(False), material.places(True)))
    asked = np.arange(settings.num_samples) % num_classes
    wishes = [Wish(label=material.labels[number]) for number in asked]
    codes = painter.paint(wishes, settings.asked, derive(sitting.seed, "classes") % 2**31)
    painted = painter.pictures.decode(codes)
    look = _eye(sitting)
    known = look(np.stack([tables.squares[PLAIN][place] for place in learned]))
    mean, spread = known.mean(0), known.std(0).clip(1e-3)
    readout = fit_readout((known - mean) / spread, material.classes[learned], np.arange(len(learned)), num_classes)

    def accuracy(squares: np.ndarray, right: np.ndarray) -> float | None:
        found = readout.probabilities((look(squares) - mean) / spread).argmax(1) if len(squares) else right
        return float((found == right).mean()) if len(squares) else None

    others = np.stack([tables.squares[PLAIN][place] for place in held]) if len(held) else painted[:0]
    again = painter.pictures.decode(painter.pictures.encode(others)) if len(held) else others
    return {
        "num_classes": num_classes,
        "guidance": settings.guidance,
        "asked": [wish.label for wish in wishes[:_NUM_SHOWN]],
        "accuracy": accuracy(painted, asked),
        "accuracy_of_held_out": accuracy(others, material.classes[held]),
        "accuracy_of_reconstructions": accuracy(again, material.classes[held]),
        "num_held_out": len(held),
        "chance": 1 / num_classes,
    }, painted


def _distance(pictures: Squares, truth: Squares, holes: np.ndarray) -> Float[np.ndarray, " n"]:
    """Over the places within the holes."""
    found = []
    for first in range(0, len(pictures), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        one, other = _unit(pictures[rows]), _unit(truth[rows])
        found.append(filter_distance(one, other, torch.from_numpy(holes[rows])).double().numpy())
    return np.concatenate(found)


def _psnr(pictures: Squares, truth: Squares, holes: np.ndarray) -> float:
    """Mean decibels, of the pixels within the holes."""
    errors = np.square(pictures.astype(np.float64) - truth).mean(3)
    each = (errors * holes).sum((1, 2)) / holes.sum((1, 2))
    return float((10 * np.log10(255.0**2 / each.clip(1e-2))).mean())


def _each(squares: Squares, holes: np.ndarray, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Squares:
    return np.stack([fill(square, hole) for square, hole in zip(squares, holes, strict=True)])


def _fill_mean(square: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return np.where(hole[..., None], square[~hole].mean(0).round().astype(np.uint8), square)


def _rounded(fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda square, hole: np.clip(np.rint(fill(square.astype(np.float64), hole)), 0, 255).astype(np.uint8)


def _from_nearest(squares: Squares, holes: np.ndarray, known: Squares) -> Squares:
    """What the training picture has there that differs least where the picture is known."""
    rows = []
    for square, hole in zip(squares, holes, strict=True):
        visible = known[:, ~hole].astype(np.float32)
        nearest = np.square(visible - square[~hole].astype(np.float32)).mean((1, 2)).argmin()
        rows.append(patch_in(square, known[nearest], hole))
    return np.stack(rows)


def _features(squares: Squares) -> Float[np.ndarray, "n D"]:
    parts = range(0, len(squares), _AT_ONCE)
    return np.concatenate([filter_features(_unit(squares[first : first + _AT_ONCE])).numpy() for first in parts])


def _eye(sitting: Sitting[MaskedTraining]) -> Callable[[Squares], Float[np.ndarray, "n D"]]:
    model = efficientnet_lite0().folded().to(sitting.device.torch_device)

    @torch.inference_mode()
    def look(squares: Squares) -> np.ndarray:
        rows = []
        for first in range(0, len(squares), _AT_ONCE):
            pixels = torch.nn.functional.interpolate(
                _unit(squares[first : first + _AT_ONCE]), (128, 128), mode="bicubic", antialias=True
            ).to(sitting.device.torch_device)
            rows.append(describe(model((pixels * 255 - 127) / 128)).float().cpu().numpy())
        return np.concatenate(rows)

    return look


def _unit(squares: Squares) -> Float[torch.Tensor, "n 3 S S"]:
    return torch.from_numpy(squares.transpose(0, 3, 1, 2).astype(np.float32)) / 255


def _most_equal(
    codes: Int[np.ndarray, "n T"], table: np.ndarray, places: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    """The largest share of codes that a row has in common with any of those pictures, or its mirror image."""
    most = np.zeros(len(codes))
    for first in range(0, len(places), _MOST_KNOWN):
        learned = table[places[first : first + _MOST_KNOWN]].reshape(-1, codes.shape[1])  # views are rows of their own
        most = np.maximum(most, [(learned == row).mean(1).max() for row in codes])
    return most


def _some(places: np.ndarray) -> np.ndarray:
    """At most so many of them, from all over."""
    return places[np.linspace(0, len(places) - 1, min(len(places), _MOST_KNOWN)).astype(int)]
