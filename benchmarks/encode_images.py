"""CLIP's ViT-B/32 image encoder on one CPU thread: ours beside transformers, timm, open_clip, ONNX Runtime, OpenVINO.

    python benchmarks/encode_images.py --rounds 9 > encode_images.json

Random weights, the same in all but timm and open_clip; a batch of 32 random pictures. Contenders take turns with a
large matrix product in the same process, and CPU seconds are compared, because machines are shared. `share_of_peak` is
of that product in the same number format. `cosine` is the lowest of the batch, to the same library's model in fp32.
`vs_transformers` is the median over rounds of how many times as fast as transformers in fp32 a contender is.

Libraries that are not installed are left out; requirements-peers.txt has the versions that were compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rounds
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.backends.choose import Backend, Precision, prepare
from beholder.pretrained.huggingface.checkpoint import read_checkpoint
from beholder.types import UserError

SIDE, PATCH, WIDTH, DEPTH, SPACE = 224, 32, 768, 12, 512
Run = Callable[[], Any]


class Projected(nn.Module):
    """transformers' model as one that gives a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).image_embeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too, which takes minutes")
    parser.add_argument("--skip", nargs="*", default=[], help="contenders to leave out, by the start of their names")
    options = parser.parse_args()
    rounds.use_threads(1)
    torch.manual_seed(0)
    pixels = torch.randn(options.batch, 3, SIDE, SIDE)
    theirs, ours = build_models()
    contenders: dict[str, Run] = {}
    cosines: dict[str, float] = {}

    def enter(name: str, run: Run, exact: Tensor) -> None:
        if any(name.startswith(skipped) for skipped in options.skip):
            return
        contenders[name] = run
        cosines[name] = float(F.cosine_similarity(run().float(), exact, dim=1).min())

    with torch.inference_mode():
        exact = theirs(pixels)
    for name, run in eager(theirs, pixels).items():
        enter(f"transformers {name}", run, exact)
    for name, model in peers().items():
        with torch.inference_mode():
            own = model(pixels)
        for kind, run in eager(model, pixels).items():
            enter(f"{name} {kind}", run, own)
    backends: list[tuple[Backend, Precision]] = [
        ("plain", "fp32"), ("plain", "bf16"), ("packed", "fp32"), ("packed", "bf16"), ("onnxruntime", "fp32"),
        ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"),
    ]  # fmt: skip
    if options.compiled:
        backends += [("compiled", "fp32"), ("compiled", "bf16")]
    for whose, model in (("beholder", ours), ("transformers", theirs)):
        for backend, precision in backends:
            name = f"{whose} {backend} {precision}"
            if whose == "transformers" and backend in ("plain", "packed"):
                continue
            if any(name.startswith(skipped) for skipped in options.skip):
                continue
            try:
                prepared = prepare(model, pixels, backend, precision)
            except UserError as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            enter(name, lambda prepared=prepared: prepared(pixels), exact)
            print(f"{name} is ready", file=sys.stderr)
    print(json.dumps(compare(contenders, cosines, options.batch, options.rounds), indent=2))


def build_models() -> tuple[nn.Module, nn.Module]:
    """transformers' encoder with random weights, and ours with the same, read as a user would read them."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=DEPTH, num_attention_heads=12,
        patch_size=PATCH, image_size=SIDE, projection_dim=SPACE, hidden_act="quick_gelu",
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return Projected(model).requires_grad_(False), read_checkpoint(Path(folder)).model


def eager(model: nn.Module, pixels: Tensor) -> dict[str, Run]:
    """As libraries are used by default: in fp32, converted to bf16, and under autocast."""
    import copy

    narrow = copy.deepcopy(model).to(torch.bfloat16)

    @torch.inference_mode()
    def autocast() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(pixels)

    return {
        "fp32": torch.inference_mode()(lambda: model(pixels)),
        "bf16": torch.inference_mode()(lambda: narrow(pixels.to(torch.bfloat16))),
        "bf16 autocast": autocast,
    }


def peers() -> dict[str, nn.Module]:
    """The same shape in libraries that may be here."""
    found: dict[str, nn.Module] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import timm  # type: ignore[import-not-found]

            name = "vit_base_patch32_clip_quickgelu_224"
            found["timm"] = timm.create_model(name, pretrained=False, num_classes=SPACE).eval()
        except (ImportError, RuntimeError) as error:
            print(f"timm is left out: {error}", file=sys.stderr)
        try:
            import open_clip  # type: ignore[import-not-found]

            found["open_clip"] = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).visual.eval()
        except (ImportError, RuntimeError) as error:
            print(f"open_clip is left out: {error}", file=sys.stderr)
    return found


def compare(contenders: dict[str, Run], cosines: dict[str, float], batch: int, num_rounds: int) -> dict[str, Any]:
    peaks = {"peak fp32": torch.float32, "peak bf16": torch.bfloat16}
    runs = {**contenders, **{name: rounds.matrix_product(dtype) for name, dtype in peaks.items()}}
    seconds = rounds.take_turns(runs, num_rounds)
    table = {}
    for name in contenders:
        share = None
        if "int8" not in name:
            peak = seconds["peak bf16" if "bf16" in name else "peak fp32"]
            share = rounds.ratio(seconds[name], peak) * num_operations(batch) / rounds.PEAK_OPERATIONS
        table[name] = {
            "images_per_cpu_second": round(batch / rounds.median(seconds[name]), 2),
            "vs_transformers": round(rounds.ratio(seconds[name], seconds["transformers fp32"]), 3),
            "share_of_peak": None if share is None else round(share, 3),
            "cosine": round(cosines[name], 6),
        }
    return {
        **rounds.processor(),
        "versions": rounds.versions(
            "torch", "transformers", "timm", "open_clip_torch", "onnxruntime", "onnx", "onnxscript", "openvino", "nncf"
        ),
        "batch": batch,
        "rounds": num_rounds,
        "peak_gflops": {name: round(rounds.PEAK_OPERATIONS / rounds.median(seconds[name]) / 1e9, 1) for name in peaks},
        "contenders": dict(sorted(table.items(), key=lambda row: row[1]["images_per_cpu_second"])),
    }


def num_operations(batch: int) -> int:
    """Of products of matrices, a multiplication and an addition each."""
    num_patches = (SIDE // PATCH) ** 2
    num_tokens = num_patches + 1
    block = 12 * WIDTH * WIDTH * num_tokens + 2 * num_tokens * num_tokens * WIDTH
    return 2 * batch * (DEPTH * block + num_patches * 3 * PATCH * PATCH * WIDTH + WIDTH * SPACE)


if __name__ == "__main__":
    main()
