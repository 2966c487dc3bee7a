"""A training step of two small ViTs on a CPU: which share of the speed of a matrix product does it reach?

    python benchmarks/vit_step.py --rounds 7 > vit_step.json

ViT-Ti/16 at 224 pixels and ViT-S/8 at 64, batches of 16 and 32: forward, cross-entropy of 100 classes, backward, AdamW
(torch's, fused), random weights and pictures. CPU seconds of one thread, in turns with a large square product of the
same precision and, where timm is installed (benchmarks/requirements-peers.txt), with its model of the same shape.
`share_of_peak` counts products with weights and those of attention, once forward and twice back; norms, gelu, softmax,
casts and the optimizer are what is missing to 1. `peak_megabytes` of `--memory` is what a step needs on top of what is
held between steps, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import rounds
import torch
from torch import nn
from torch.nn import functional as F

from beholder.models.vit import PRESETS, ViT

NUM_CLASSES = 100
SHAPES = {
    "ViT-Ti/16 at 224": (replace(PRESETS["tiny"], patch_size=16, image_size=224), "vit_tiny_patch16_224"),
    "ViT-S/8 at 64": (replace(PRESETS["small"], patch_size=8, image_size=64), "vit_small_patch8_224"),
}
PRECISIONS = {"fp32": torch.float32, "bf16 autocast": torch.bfloat16}
Step = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 32])
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    rounds.use_threads(1)
    whose = ("beholder", *(["timm"] if has_timm() else []))
    results: dict[str, Any] = {}
    for shape in asked.shapes:
        for batch in asked.batches:
            for precision in asked.precisions:
                steps = {one: build(shape, one, precision, batch) for one in whose}
                contenders = {**steps, "peak": rounds.matrix_product(PRECISIONS[precision])}
                seconds = rounds.take_turns(contenders, asked.rounds, num_warm_ups=1)
                del steps, contenders
                work = num_operations(shape, batch) / rounds.PEAK_OPERATIONS
                row: dict[str, Any] = {
                    one: {
                        "cpu_seconds": round(rounds.median(seconds[one]), 3),
                        "share_of_peak": round(rounds.ratio(seconds[one], seconds["peak"]) * work, 3),
                        **({"peak_megabytes": round(measured_alone(shape, one, precision, batch))}
                           if asked.memory else {}),
                    }
                    for one in whose
                }  # fmt: skip
                if "timm" in whose:
                    row["times_as_fast"] = round(rounds.ratio(seconds["beholder"], seconds["timm"]), 3)
                results[f"{shape}, batch {batch}, {precision}"] = row
                print(f"{shape}, batch {batch}, {precision}: {row}", file=sys.stderr, flush=True)
    told = {"versions": rounds.versions("torch", "timm"), "rounds": asked.rounds}
    print(json.dumps({**rounds.processor(), **told, "results": results}, indent=2))


def has_timm() -> bool:
    try:
        library = torch.library.Library("torchvision", "DEF")  # which torchvision looks for, and only CUDA's wheel has
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_library"] = library  # as long as the process
        import timm  # type: ignore[import-not-found]  # noqa: F401
    except (ImportError, RuntimeError) as error:
        print(f"timm is left out: {error}", file=sys.stderr)
        return False
    return True


def build(shape: str, whose: str, precision: str, batch: int) -> Step:
    """One step of training, which gives its loss."""
    torch.manual_seed(0)
    config, name = SHAPES[shape]
    if whose == "beholder":
        model: Any = nn.ModuleDict({"vit": ViT(config), "head": nn.Linear(config.trunk.width, NUM_CLASSES)})

        def classify(pictures: torch.Tensor) -> torch.Tensor:
            return model["head"](model["vit"](pictures).summary)
    else:
        import timm  # type: ignore[import-not-found]

        model = classify = timm.create_model(name, img_size=config.image_size, num_classes=NUM_CLASSES)
    model.train()
    pictures, labels = torch.randn(batch, 3, config.image_size, config.image_size), torch.arange(batch) % NUM_CLASSES
    return rounds.training_step(model, lambda: F.cross_entropy(classify(pictures), labels), precision)


def num_operations(shape: str, batch: int) -> float:
    """Additions and multiplications in matrix products of one step."""
    config, _ = SHAPES[shape]
    trunk, num_patches = config.trunk, (config.image_size // config.patch_size) ** 2
    weights = sum(value.numel() for value in ViT(config).trunk.parameters() if value.ndim == 2)
    attention = 2 * (num_patches + 1) * trunk.width * trunk.depth
    first = 2.0 * num_patches * 3 * config.patch_size**2 * trunk.width  # no gradient of the pictures
    return batch * (3 * (num_patches + 1) * 2.0 * (weights + attention) + 2 * first)


def measured_alone(shape: str, whose: str, precision: str, batch: int) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (shape, whose, precision, batch))


def measure(shape: str, whose: str, precision: str, batch: int) -> float:
    torch.set_num_threads(1)
    if whose == "timm":
        has_timm()
    return rounds.peak_megabytes(build(shape, whose, precision, batch))


if __name__ == "__main__":
    main()
