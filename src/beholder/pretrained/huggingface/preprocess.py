"""How a foreign checkpoint wants its pictures: `preprocessor_config.json` as ours, and back."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from PIL import Image

from beholder.pretrained.huggingface.absent import Absent
from beholder.runtime.files import read_json, write_json
from beholder.tokenizers.pixels import Fit, PixelConfig, Resampling
from beholder.types import UserError

FILE = "preprocessor_config.json"
_NESTED = "processor_config.json"

_CLIP_MEAN, _CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_CLIP = {
    "size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": 224, "resample": 3,
    "image_mean": _CLIP_MEAN, "image_std": _CLIP_STD,
}  # fmt: skip
_USUAL: Mapping[str, Mapping[str, Any]] = {
    "Bit": _CLIP,
    "CLIP": _CLIP,
    "ConvNext": {"size": {"shortest_edge": 384}, "resample": 3, "crop_pct": 224 / 256, **_HALF},
    "DINOv3ViT": {
        "size": {"height": 224, "width": 224}, "resample": 2,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    },
    "DeiT": {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": 224, "resample": 3, **_HALF},
    "Siglip": {"size": {"height": 224, "width": 224}, "resample": 3, **_HALF},
    "ViT": {"size": {"height": 224, "width": 224}, "resample": 2, **_HALF},
}  # fmt: skip
"""What each kind of processor does where its file is silent."""
_USUAL_OF_MODELS = {
    "clip": "CLIP", "clip_vision_model": "CLIP", "dinov2": "Bit", "dinov2_with_registers": "Bit",
    "dinov3_vit": "DINOv3ViT", "siglip": "Siglip", "siglip_vision_model": "Siglip", "vit": "ViT", "vit_mae": "ViT",
}  # fmt: skip
"""The processor of each kind of model, for the oldest files, which name none."""
_KEEPS_SHAPE = ("Bit", "CLIP", "ConvNext", "Siglip")
"""Kinds for which a size of one number is that of the shorter side."""
_KNOWN_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
_WARPED_FROM = 384
"""ConvNeXt's pictures of this side and more are stretched and not cropped (Liu et al. 2022, arXiv 2201.03545)."""


def read_pixels(folder: Path, model_kind: str = "") -> PixelConfig:
    """What the folder says of its pictures; `model_kind` is the model_type of its config.json.

    Raises Absent when it says nothing, or asks for a step that is not done here; UserError for a broken file.
    """
    path, values = _find(folder)
    told = values.get("image_processor_type") or values.get("feature_extractor_type")
    name = str(told or _USUAL_OF_MODELS.get(model_kind, "an unnamed processor"))
    kind = name.removesuffix("Pil").removesuffix("Fast")
    kind = kind.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if kind not in _USUAL:
        near = difflib.get_close_matches(kind, _USUAL, n=3) or sorted(_USUAL)
        raise Absent(f"{path} is for {name!r}, which is not known here; known image processors are {', '.join(near)}.")
    told = {**_USUAL[kind], **{key: value for key, value in values.items() if value is not None}}
    for key, value in told.items():
        if key.startswith("do_") and key not in _KNOWN_STEPS and value:
            raise Absent(f"{path} asks for {key}, which is not done here; known are {', '.join(_KNOWN_STEPS)}.")
    for key, kinds in (("crop_pct", ("ConvNext",)), ("rescale_offset", ()), ("offset", ())):
        if told.get(key) and kind not in kinds:
            raise Absent(f"{path} asks for {key}={told[key]!r}, which is not done for {name}.")
    try:
        return _understood(kind, told)
    except Absent as error:
        raise Absent(f"{path} {error}") from error
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        reason = str(error).removesuffix(".")
        raise UserError(f"{path} cannot be used ({reason}); download the folder again.") from error


def write_pixels(folder: Path, pixels: PixelConfig) -> None:
    """Write `preprocessor_config.json`. Raises UserError for what that file cannot say."""
    if pixels.reducing_gap is not None:
        raise UserError(
            f"reducing_gap={pixels.reducing_gap}: {FILE} cannot say that pictures are reduced in two steps; "
            "export with PixelConfig(reducing_gap=None, ...), which gives the plain way."
        )
    is_plain = pixels.fit == "stretch" and pixels.crop is None
    name = "DINOv3ViT" if not pixels.is_rounded else "ViT" if is_plain else "CLIP"
    values: dict[str, Any] = {
        "image_processor_type": f"{name}ImageProcessor",
        "do_convert_rgb": True,
        "do_resize": pixels.fit != "none",
        "size": {"shortest_edge": pixels.size} if pixels.fit == "shortest" else _sides(pixels.size),
        "resample": int(Image.Resampling[pixels.resampling.upper()]),
        "do_center_crop": pixels.crop is not None,
        "do_rescale": pixels.divisor != 1.0,
        "rescale_factor": 1.0 / pixels.divisor,
        "do_normalize": True,
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
    }
    if pixels.crop is not None:
        values["crop_size"] = _sides(pixels.crop)
    write_json(folder / FILE, values)


def _find(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that describes pictures: its own, or a part of the one about the whole processor."""
    for path in (folder / _NESTED, folder / FILE):
        if not path.is_file():
            continue
        try:
            values = read_json(path)
        except (ValueError, OSError) as error:
            raise UserError(f"{path} is no JSON ({error}); download the folder again.") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} is no group of settings; download the folder again.")
        if path.name == FILE:
            return path, values
        if isinstance(values.get("image_processor"), dict):
            return path, values["image_processor"]
    raise Absent(f"{folder} holds no {FILE}, so nothing says how pictures enter; download the folder again.")


def _understood(kind: str, told: Mapping[str, Any]) -> PixelConfig:
    fit, size, crop = _geometry(kind, told)
    divides, normalises = told.get("do_rescale", True), told.get("do_normalize", True)
    return PixelConfig(
        size,
        _colours(told["image_mean"]) if normalises else (0.0, 0.0, 0.0),
        _colours(told["image_std"]) if normalises else (1.0, 1.0, 1.0),
        fit,
        crop,
        cast(Resampling, Image.Resampling(told["resample"]).name.lower()),
        reducing_gap=None,
        is_rounded=kind != "DINOv3ViT",
        divisor=1.0 / float(told.get("rescale_factor", 1 / 255)) if divides else 1.0,
    )


def _geometry(kind: str, told: Mapping[str, Any]) -> tuple[Fit, int | tuple[int, int], int | tuple[int, int] | None]:
    size, crop = told["size"], None
    if told.get("do_center_crop", False):
        crop = _square(told["crop_size"])
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind in _KEEPS_SHAPE else {"height": size, "width": size}
    if not told.get("do_resize", True):
        return "none", 224, crop
    if isinstance(size, Mapping) and size.keys() == {"height", "width"}:
        return "stretch", _square(size), crop
    if not isinstance(size, Mapping) or size.keys() != {"shortest_edge"}:
        raise Absent(f"asks for size={size!r}; known are height and width, or shortest_edge.")
    side = int(size["shortest_edge"])
    if kind != "ConvNext":
        return "shortest", side, crop
    if crop is not None:
        raise Absent("asks for do_center_crop beside crop_pct, which is not done here.")
    return ("stretch", side, None) if side >= _WARPED_FROM else ("shortest", int(side / told["crop_pct"]), side)


def _square(size: Any) -> int | tuple[int, int]:
    """One number for a square, else height and width."""
    if isinstance(size, int):
        return size
    height, width = int(size["height"]), int(size["width"])
    return height if height == width else (height, width)


def _sides(size: int | tuple[int, int]) -> dict[str, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return {"height": height, "width": width}


def _colours(values: Any) -> tuple[float, float, float]:
    red, green, blue = (values,) * 3 if isinstance(values, int | float) else values
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise ValueError(f"{values!r} has values that are no numbers")
    return float(red), float(green), float(blue)
