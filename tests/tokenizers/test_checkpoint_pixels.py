"""A checkpoint's own preprocessing: the same bytes and numbers as the Pillow image processors of `transformers`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from beholder.config import from_json, to_json
from beholder.pretrained.huggingface.absent import Absent
from beholder.pretrained.huggingface.preprocess import FILE, read_pixels, write_pixels
from beholder.runtime.files import read_json, write_json
from beholder.tokenizers.pixels import PixelConfig, fit, normalise, prepare, resize, to_batch
from beholder.types import UserError

SIZES = (
    (1, 1),
    (1, 50),
    (50, 1),
    (17, 301),
    (301, 17),
    (500, 333),
    (64, 64),
    (63, 65),
    (224, 224),
    (225, 224),
    (40, 7),
)
"""Height and width."""


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def processor(name: str, **values: Any) -> Any:
    from transformers.models import bit, clip, convnext, deit, siglip, vit

    homes = {"Bit": bit, "CLIP": clip, "ConvNext": convnext, "DeiT": deit, "Siglip": siglip, "ViT": vit}
    return getattr(homes[name], f"{name}ImageProcessorPil")(**values)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIP", {}),
    "clip, odd crop": ("CLIP", {"size": {"shortest_edge": 33}, "crop_size": {"height": 31, "width": 29}}),
    "clip, crop larger than the picture": ("CLIP", {"size": {"shortest_edge": 20}, "crop_size": 33}),
    "clip, no crop": ("CLIP", {"size": {"shortest_edge": 48}, "do_center_crop": False}),
    "clip, crop only": ("CLIP", {"do_resize": False, "crop_size": {"height": 60, "width": 80}}),
    "clip, stretched": ("CLIP", {"size": {"height": 40, "width": 56}, "do_center_crop": False}),
    "siglip": ("Siglip", {"size": {"height": 96, "width": 96}}),
    "vit": ("ViT", {}),
    "vit, lanczos": ("ViT", {"size": {"height": 50, "width": 70}, "resample": 1}),
    "vit, nearest": ("ViT", {"size": {"height": 50, "width": 50}, "resample": 0}),
    "mae": ("ViT", {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}),
    "other scale": ("ViT", {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]}),
    "bytes": ("ViT", {"do_rescale": False, "do_normalize": False, "size": {"height": 32, "width": 32}}),
    "one mean": ("ViT", {"image_mean": 0.4, "image_std": 0.3}),
    "dinov2": ("Bit", {"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406]}),
    "deit": ("DeiT", {}),
    "convnext": ("ConvNext", {"size": {"shortest_edge": 224}}),
    "convnext, little cut off": ("ConvNext", {"size": {"shortest_edge": 64}, "crop_pct": 0.95}),
    "convnext, large": ("ConvNext", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_bytes_are_equal_and_numbers_within_a_millionth(case: str, tmp_path: Path) -> None:
    name, values = CASES[case]
    reference = processor(name, **values)
    reference.save_pretrained(tmp_path)
    config = read_pixels(tmp_path)
    for height, width in SIZES:
        image = picture(height, width)
        plain = {"do_rescale": False, "do_normalize": False}
        theirs = np.asarray(reference(image, input_data_format="channels_last", **plain)["pixel_values"][0])
        np.testing.assert_array_equal(fit(image, config), theirs.transpose(1, 2, 0).astype(np.uint8))
        numbers = reference(image, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        assert float((prepare([image], config) - numbers).abs().max()) <= 1e-6, (height, width)


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_read_again_and_opens_in_transformers(case: str, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor

    name, values = CASES[case]
    processor(name, **values).save_pretrained(tmp_path)
    config = read_pixels(tmp_path)
    (tmp_path / "again").mkdir()
    write_pixels(tmp_path / "again", config)
    assert read_pixels(tmp_path / "again") == config
    opened = AutoImageProcessor.from_pretrained(tmp_path / "again", backend="pil")
    image = picture(57, 83)
    theirs = opened(image, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(prepare([image], config), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"feature_extractor_type": "CLIPFeatureExtractor", "size": 96, "crop_size": 90},
            {"fit": "shortest", "size": 96, "crop": 90, "resampling": "bicubic"},
        ),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 96}, {"fit": "stretch", "size": 96, "crop": None}),
        ({"image_processor_type": "ViTImageProcessorFast", "size": None}, {"size": 224, "resampling": "bilinear"}),
        ({"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 64, "width": 64}}, {"size": 64}),
    ],
)
def test_older_files_are_understood(values: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / FILE, values)
    config = read_pixels(tmp_path)
    assert {key: getattr(config, key) for key in expected} == expected


def test_the_oldest_files_name_no_processor_and_go_by_the_model(tmp_path: Path) -> None:
    write_json(tmp_path / FILE, {"size": 64, "image_mean": [0.4, 0.5, 0.6]})
    assert read_pixels(tmp_path, "vit") == PixelConfig(
        64, (0.4, 0.5, 0.6), (0.5,) * 3, "stretch", None, "bilinear", None
    )
    assert read_pixels(tmp_path, "clip").fit == "shortest"
    with pytest.raises(Absent, match="unnamed"):
        read_pixels(tmp_path, "idefics")


def test_a_processor_of_several_parts_tells_of_its_pictures(tmp_path: Path) -> None:
    nested = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}}
    write_json(tmp_path / "processor_config.json", {"processor_class": "SiglipProcessor", "image_processor": nested})
    assert read_pixels(tmp_path).size == 32
    write_json(tmp_path / "processor_config.json", {"processor_class": "SiglipProcessor"})
    write_json(tmp_path / FILE, {**nested, "size": 48})
    assert read_pixels(tmp_path).fit == "shortest"


@pytest.mark.parametrize("size", SIZES)
def test_dinov3_keeps_fractions_of_a_grey_level(size: tuple[int, int], tmp_path: Path) -> None:
    """Its processor runs in torchvision only, which scales to [0, 1], calls this function, then normalises."""
    write_json(
        tmp_path / FILE, {"image_processor_type": "DINOv3ViTImageProcessor", "size": {"height": 64, "width": 48}}
    )
    config, image = read_pixels(tmp_path), picture(*size)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.mean, config.std))
    for precision, most in ((torch.float64, 1e-6), (torch.float32, 1e-5)):  # its weights of neighbours are rounded too
        scaled = to_batch([image]).to(precision) / 255
        wide = torch.nn.functional.interpolate(scaled, (64, 48), mode="bilinear", antialias=True)
        assert float((prepare([image], config) - (wide - mean) / std).abs().max()) <= most


def test_grey_pictures_become_three_equal_colours() -> None:
    config = PixelConfig(32, fit="shortest", crop=32, reducing_gap=None)
    grey = picture(40, 33)[..., 0]
    theirs = np.asarray(Image.fromarray(grey).convert("RGB"))
    for image in (grey, grey[..., None]):
        np.testing.assert_array_equal(fit(image, config), fit(theirs, config))


def test_the_default_is_what_it_was_bit_for_bit() -> None:
    for size in SIZES:
        image = picture(*size)
        square = fit(image, PixelConfig())
        np.testing.assert_array_equal(square, resize(image, 224))
        mean, std = torch.tensor([127.0 / 255] * 3).view(1, 3, 1, 1), torch.tensor([128.0 / 255] * 3).view(1, 3, 1, 1)
        before = (to_batch([square]).float() / 255.0 - mean) / std
        assert torch.equal(normalise(to_batch([square]), PixelConfig()), before)


def test_what_older_model_folders_say_is_the_default() -> None:
    older = {"size": 224, "mean": [127.0 / 255] * 3, "std": [128.0 / 255] * 3}
    assert from_json(PixelConfig, older) == PixelConfig()
    config = PixelConfig((40, 50), fit="stretch", crop=(3, 4), reducing_gap=None, is_rounded=False)
    assert from_json(PixelConfig, to_json(config)) == config


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_processor_type": "ViTImageProcesor"}, "known image processors are .*ViT"),
        ({"feature_extractor_type": "WhisperFeatureExtractor"}, "WhisperFeatureExtractor"),
        ({"do_pad": True}, "do_pad"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"crop_pct": 0.9}, "crop_pct=0.9"),
        ({"size": {"longest_edge": 512}}, "longest_edge"),
        ({"size": {"shortest_edge": 5, "longest_edge": 9}}, "shortest_edge"),
    ],
)
def test_a_step_that_is_not_done_is_refused_aloud(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    write_json(tmp_path / FILE, {"image_processor_type": "ViTImageProcessor", **values})
    if "feature_extractor_type" in values:
        write_json(tmp_path / FILE, values)
    with pytest.raises(Absent, match=said):
        read_pixels(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(image_mean=[0.5, 0.5]),
        lambda values: values.update(image_std=[0.5, 0.0, 0.5]),
        lambda values: values.update(image_mean="grey"),
        lambda values: values.update(resample=99),
        lambda values: values.update(rescale_factor=0),
        lambda values: values.update(size={"height": 0, "width": 4}),
        lambda values: values.update(size={"height": "tall", "width": 4}),
        lambda values: values.update(do_center_crop=True, crop_size={"width": 4}),
    ],
)
def test_values_that_make_no_sense_are_told(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    processor("ViT").save_pretrained(tmp_path)
    values = read_json(tmp_path / FILE)
    change(values)
    write_json(tmp_path / FILE, values)
    with pytest.raises(UserError, match=FILE):
        read_pixels(tmp_path)


def test_a_broken_or_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="holds no preprocessor_config"):
        read_pixels(tmp_path)
    for content in ("{", "[]", "7"):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(UserError, match=FILE):
            read_pixels(tmp_path)


def test_pictures_of_several_shapes_make_no_batch_where_the_shape_is_kept() -> None:
    config = PixelConfig(16, fit="shortest", reducing_gap=None)
    assert prepare([picture(20, 30), picture(40, 60)], config).shape == (2, 3, 16, 24)
    with pytest.raises(UserError, match="24 x 16"):
        prepare([picture(20, 30), picture(30, 20)], config)
    with pytest.raises(UserError, match="no images"):
        prepare([], config)


def test_a_line_of_pixels_does_not_fill_the_memory() -> None:
    with pytest.raises(UserError, match="the limit is"):
        fit(np.zeros((1, 100_000, 3), np.uint8), PixelConfig(224, fit="shortest", crop=224))


def test_two_steps_of_reduction_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reducing_gap"):
        write_pixels(tmp_path, PixelConfig())
