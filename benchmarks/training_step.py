"""One training step on a CPU: ViT-S/16, GPT-2's shape and a model of visual sentences (LLaMA's shape), ours beside
transformers, in seconds and memory.

    python benchmarks/training_step.py --rounds 7 > training_step.json

The same batch, loss, random weights and optimizer (torch's fused AdamW) on both sides; ours are read from theirs, or
theirs from ours, so that the losses of the first step must be equal, and are told. Of tokens the loss is each side's
own: `NextToken`, and `labels=` of transformers. No dropout. Steps take turns in one process, and CPU seconds of one
thread are compared as the median ratio over rounds. `peak_megabytes` is what a step needs on top of what is held
between steps (weights, moments and gradients are the same on both sides), in a process of its own; the median of
`--processes`, because an allocator's pages differ from process to process. `cpu_seconds_alone` are those of a step in
that process, where ours keeps freed memory, as every verb does, and theirs does as the C library does: what users of
each see. `share_of_peak`, of models that read tokens, is how fast the step multiplies, beside a large square matrix
product of the same precision in the same rounds; counted are the products with weights, and those of attention below
its diagonal, once forward and twice back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rounds
import torch
import visual_sentences
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.gpt import GPT
from beholder.models.vit import ViT
from beholder.objectives.next_token import NextToken
from beholder.pretrained.huggingface.checkpoint import read_checkpoint
from beholder.runtime.device import keep_freed_memory

SIDE, NUM_CLASSES = 224, 100
SHAPES = ("ViT-S/16", "GPT-2", "LVM base")
PRECISIONS = ("fp32", "bf16 autocast")
Step = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--processes", type=int, default=5, help="in which each side's step is measured alone")
    parser.add_argument("--sentences", type=int, default=2, help="of 521 tokens")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=SHAPES)
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=PRECISIONS)
    options = parser.parse_args()
    known = {"ViT-S/16": (options.images,), "GPT-2": (options.texts, options.tokens),
             "LVM base": (options.sentences, visual_sentences.LENGTH)}  # fmt: skip
    sizes = {shape: known[shape] for shape in options.shapes}
    rounds.use_threads(1)
    result: dict[str, Any] = {}
    for shape, size in sizes.items():
        for precision in options.precisions:
            steps = {whose: build(shape, whose, precision, size) for whose in ("transformers", "beholder")}
            losses = {whose: step() for whose, step in steps.items()}
            dtype = torch.float32 if precision == "fp32" else torch.bfloat16
            contenders = {**steps, "peak": rounds.matrix_product(dtype)}
            seconds = rounds.take_turns(contenders, options.rounds, num_warm_ups=0)
            del steps, contenders
            work = num_operations(shape, size)
            alone = [
                {whose: _measured_alone(shape, whose, precision, size) for whose in losses}
                for _ in range(options.processes)
            ]
            memory = {whose: rounds.median([one[whose][0] for one in alone]) for whose in losses}
            seconds_alone = {whose: [one[whose][1] for one in alone] for whose in losses}
            result[f"{shape}, {precision}, batch {'x'.join(map(str, size))}"] = {
                **{
                    whose: {
                        "cpu_seconds": round(rounds.median(seconds[whose]), 3),
                        "cpu_seconds_alone": round(rounds.median(seconds_alone[whose]), 3),
                        "peak_megabytes": round(memory[whose]),
                        "first_loss": round(losses[whose], 5),
                        **(
                            {}
                            if work is None
                            else {
                                "share_of_peak": round(
                                    rounds.ratio(seconds[whose], seconds["peak"]) * work / rounds.PEAK_OPERATIONS, 3
                                )
                            }
                        ),
                    }
                    for whose in losses
                },
                "times_as_fast": round(rounds.ratio(seconds["beholder"], seconds["transformers"]), 3),
                "times_as_fast_alone": round(rounds.ratio(seconds_alone["beholder"], seconds_alone["transformers"]), 3),
                "share_of_memory": round(memory["beholder"] / memory["transformers"], 3),
            }
            print(f"{shape} {precision}: done", file=sys.stderr)
    told = {"versions": rounds.versions("torch", "transformers"), "rounds": options.rounds}
    print(json.dumps({**rounds.processor(), **told, "results": result}, indent=2))


def build(shape: str, whose: str, precision: str, size: tuple[int, ...]) -> Step:
    """One step of training, which gives its loss."""
    torch.manual_seed(0)
    if shape == "LVM base":
        theirs, ours = visual_sentences.build_models("base")
    else:
        theirs = _vit() if shape == "ViT-S/16" else _gpt()
        ours = None if whose == "transformers" else _read(theirs)
    model = theirs if ours is None or whose == "transformers" else ours
    model.train().requires_grad_(True)
    if shape == "ViT-S/16":
        given, labels = torch.randn(*size, 3, SIDE, SIDE), torch.randint(NUM_CLASSES, size)
    else:
        given = labels = torch.randint(_vocabulary(shape), size)
    return rounds.training_step(model, lambda: _loss(model, given, labels), precision)


def num_operations(shape: str, size: tuple[int, ...]) -> float | None:
    """Additions and multiplications in matrix products of one step; None for a model of images."""
    if shape == "ViT-S/16":
        return None
    num_texts, num_tokens = size
    ours = visual_sentences.build_models("base")[1] if shape == "LVM base" else _read(_gpt())
    assert isinstance(ours, GPT)
    trunk = ours.config.trunk
    weights = sum(value.numel() for value in ours.trunk.parameters() if value.ndim == 2)
    weights += ours.config.vocabulary_size * trunk.width  # the head, tied or not
    attention = 2 * num_tokens * trunk.width * trunk.depth  # two products over the half of the tokens that came before
    return 3 * num_texts * num_tokens * (2.0 * weights + attention)


def _vocabulary(shape: str) -> int:
    return 50257 if shape == "GPT-2" else visual_sentences.GRAMMAR.vocabulary_size


def _loss(model: nn.Module, given: Tensor, labels: Tensor) -> Tensor:
    """Of the next tokens as each side's users train on them, or of classes."""
    if isinstance(model, GPT):
        return NextToken()(model, {"tokens": given}).total
    if isinstance(model, ViT):
        return F.cross_entropy(model.classify(model(given)), labels)
    if given.ndim == 2:
        return model(given, labels=given).loss
    return F.cross_entropy(model(given).logits, labels)


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, image_size=SIDE,
        patch_size=16, num_labels=NUM_CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return ViTForImageClassification(config)


def _gpt() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False))


def _read(theirs: Any) -> nn.Module:
    from transformers.utils import logging

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return read_checkpoint(Path(folder)).model


def _measured_alone(shape: str, whose: str, precision: str, size: tuple[int, ...]) -> tuple[float, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (shape, whose, precision, size))


def measure(shape: str, whose: str, precision: str, size: tuple[int, ...]) -> tuple[float, float]:
    """`rounds.peak_megabytes`; and CPU seconds of the steps after it, their median."""
    torch.set_num_threads(1)
    step = build(shape, whose, precision, size)
    megabytes = rounds.peak_megabytes(step)
    if whose == "beholder":
        keep_freed_memory()
    return megabytes, rounds.median(rounds.take_turns({whose: step}, 5, num_warm_ups=3)[whose])


if __name__ == "__main__":
    main()
