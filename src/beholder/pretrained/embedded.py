"""The model of images and texts that is there without a hub, and what the verbs use when none is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from beholder.models.conv import EfficientNetLite
from beholder.models.pairs import ConvexNames
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.pair_folder import load_pair_folder
from beholder.pretrained.towers import embedded_towers

DEFAULT_PAIRS = "embedded"
"""Its name."""
WEIGHTS = Path(__file__).parent / "weights" / DEFAULT_PAIRS


def load_embedded() -> Foreign:
    """The shipped maps between EfficientNet-Lite0 and MiniLM; its card, with data, licence and figures, lies beside the
    weights. Raises UserError when a package with a tower is missing."""
    return replace(load_pair_folder(WEIGHTS), kind=DEFAULT_PAIRS)


def load_convex_names() -> Foreign:
    """The same towers without any training on pairs: an image lies among the names that ImageNet's classifier gives it
    (ConSE: Norouzi et al. 2013, arXiv 1312.5650)."""
    towers = embedded_towers()
    names, backbone = towers.images.names, towers.images.backbone
    assert names is not None and isinstance(backbone, EfficientNetLite)
    model = ConvexNames(backbone, towers.texts.reader, names).eval().requires_grad_(False)
    return Foreign("convex_names", model, None, towers.pixels, towers.words, WEIGHTS)
