"""Stage: a small model of images and texts, from scratch on the same pairs, which chooses among what is drawn (CLIP:
Radford et al. 2021, arXiv 2103.00020). Neither the tokenizer's loss nor the scorer uses it."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from beholder.models.clip import CLIP, CLIPConfig, ImageTowerConfig, TextTowerConfig
from beholder.models.vit import ViTConfig
from beholder.objectives.contrastive import Contrastive
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.recipes.budget import parse_budget
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image.material import Material
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.recipes.text_to_image.stream import SeenPairs
from beholder.recipes.trained_once import trained_once
from beholder.runtime.ledger import Ledger
from beholder.runtime.seed import derive, seed_everything
from beholder.tasks.shared_space import SharedSpace
from beholder.tokenizers.captions import as_words
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.train.loop import Plan, train
from beholder.train.pace import seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import StepReport
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig

_WIDTHS = {"debug": 32, "tiny": 128, "small": 192, "base": 256}
_DEPTHS = {"debug": 2, "tiny": 4, "small": 6, "base": 8}
_PATCHES_A_SIDE = 8
_BATCH_SIZE = 64
_LR = 1e-3
_FEWEST_STEPS = 20
_COLOURS = (0.5, 0.5, 0.5)


def build_reranker(size: str, side: int, words: Words, seed: int) -> CLIP:
    """Fresh towers for squares of that side and for these words."""
    width, depth = _WIDTHS[size], _DEPTHS[size]
    trunk = TransformerConfig(
        width, depth, AttentionConfig(4), MLPConfig(activation="quick_gelu"), NormConfig(eps=1e-5)
    )
    vit = ViTConfig(
        max(1, side // _PATCHES_A_SIDE), side, positions="learned", has_class_position=True, resampling="plain",
        has_patch_bias=False, embedding_norm=NormConfig(eps=1e-5), trunk=trunk,
    )  # fmt: skip
    assert words.config.longest is not None
    text = TextTowerConfig(
        words.size, words.config.longest, end_token=words.special.end, projection_width=width,
        trunk=TransformerConfig(
            width, depth, AttentionConfig(4), MLPConfig(activation="quick_gelu"), NormConfig(eps=1e-5),
            mask=MaskConfig(is_causal=True),
        ),
    )  # fmt: skip
    seed_everything(seed, "reranker")
    return CLIP(CLIPConfig(ImageTowerConfig(vit, width), text, math.log(1 / 0.07)))


def train_reranker(
    sitting: Sitting[TextToImageTraining],
    material: Material,
    squares: UInt8[np.ndarray, "n S S 3"],
    painted: UInt8[np.ndarray, "n S S 3"],
    seconds: float,
) -> tuple[SharedSpace, dict[str, Any]] | None:
    """The trained model as a space, once, and its story; None where none was asked for. `seconds` are what the other
    model's training takes."""
    settings, run, device = sitting.settings, sitting.run, sitting.device
    if not settings.reranker_share:
        return None
    words = as_words(material.captions)
    model = build_reranker(settings.size, squares.shape[1], words, sitting.seed)
    distinct = list(dict.fromkeys(material.texts))
    rows = {text: row for row, text in enumerate(distinct)}
    stream = SeenPairs(
        material, squares, painted, words.encode(distinct, is_cut=True).numbers,
        np.array([rows[text] for text in material.texts]), _BATCH_SIZE, settings.num_views,
        derive(sitting.seed, "seen"),
    )  # fmt: skip

    def pace() -> int:
        steps = parse_budget(settings.budget).steps
        if steps:
            return max(_FEWEST_STEPS, round(settings.reranker_share * steps))
        each = seconds_per_step(copy.deepcopy(model), Contrastive(), stream, device, 2)
        return max(_FEWEST_STEPS, int(settings.reranker_share * seconds / each))

    num_steps = run.resolve("reranker_steps", pace)
    story = trained_once(run, "reranker", model, lambda: _train(sitting, model, stream, num_steps))
    model.to(device.torch_device).eval()
    return SharedSpace(model, pixels_of(squares.shape[1]), words, device), story


def _train(sitting: Sitting[TextToImageTraining], model: CLIP, stream: SeenPairs, num_steps: int) -> dict[str, Any]:
    ledger, folder = Ledger(sitting.run, "reranker"), sitting.run.scratch("reranker")
    with sitting.log.progress("Reranker", num_steps, steps_taken(folder)) as advance:

        def on_step(report: StepReport) -> None:
            ledger.on_step()
            advance(1, f"{report.losses['accuracy']:.0%} find their text")

        plan = Plan(
            num_steps=num_steps, lr=_LR, num_warmup=max(1, num_steps // 20), weight_decay=0.1,
            seed=derive(sitting.seed, "reranker"), checkpoint_every_seconds=20.0,
        )  # fmt: skip
        result = train(
            model, Contrastive(), stream, plan=plan, device=sitting.device, folder=folder, on_step=on_step,
        )  # fmt: skip
    ledger.close()
    return {"steps": result.num_steps, "parameters": sum(one.numel() for one in model.parameters())}


def pixels_of(side: int) -> PixelConfig:
    """How squares, and other pictures, enter the reranker."""
    return PixelConfig(side, _COLOURS, _COLOURS, fit="shortest", crop=side, reducing_gap=None)


def save_reranker(space: SharedSpace, folder: Path) -> None:
    """As the Hugging Face hub has CLIP, so that `beholder.load` opens it, and `transformers`."""
    shutil.rmtree(folder, ignore_errors=True)
    assert isinstance(space.model, CLIP)
    export_to_huggingface(space.model.cpu(), folder, kind="clip", pixels=space.pixels, words=space.words)


def choose_best(
    space: SharedSpace | None, texts: Sequence[str], pictures: UInt8[np.ndarray, "q k S S 3"]
) -> np.ndarray:
    """Which of its k pictures each text's reranker prefers (int q); the first without one."""
    if space is None:
        return np.zeros(len(texts), np.int64)
    points = space.place_arrays(list(pictures.reshape(-1, *pictures.shape[2:]))).unflatten(0, pictures.shape[:2])
    words = torch.cat([space.place_texts([text]) for text in texts])
    return torch.einsum("qkc,qc->qk", points, words).argmax(1).numpy()
