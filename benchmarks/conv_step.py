"""A training step of a convolutional network that came with weights, and a look: how near do they come to the roofline?

    python benchmarks/conv_step.py --rounds 9 --memory > conv_step.json

EfficientNet-Lite0 (random weights), norms with the statistics that they came with: forward, mean squares of all maps as
a loss, backward, AdamW; and a look in inference mode, ours with its norms folded as every verb looks. fp32, CPU seconds
of one thread, in turns with timm's network of the same shape (where benchmarks/requirements-peers.txt is installed), a
large product and a pass over memory. `times_as_fast` is the median of the rounds' ratios.

`share_of_roofline` is the least time that the processor allows over the time taken: of every convolution the greater of
its operations at the product's speed and its maps at the memory's. That is once for a look; in learning the gradient is
twice the operations more, and both maps and their gradients pass by again. `peak_megabytes` of `--memory` is what a
step needs on top of what is held between steps, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

import rounds
import torch
from torch import Tensor, nn
from vit_step import has_timm

from beholder.models.conv import PRESETS, ConvNorm, EfficientNetLite
from beholder.train.calibrate import keep_statistics

WORK = {  # side, which halves evenly five times so that both pad alike, and batch
    "learning at 128": (128, 32),
    "learning at 224": (224, 16),
    "looking at 224": (224, 8),
    "looking at 320": (320, 8),
}
PEER = "tf_efficientnet_lite0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", nargs="*", choices=WORK, default=list(WORK))
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    rounds.use_threads(1)
    whose = ("beholder", *(["timm"] if has_timm() else []))
    results: dict[str, Any] = {}
    for work in asked.work:
        jobs = {one: build(work, one) for one in whose}
        assert len({shapes(job()) for job in jobs.values()}) == 1, "the networks do not make the same maps"
        contenders = {**jobs, "product": rounds.matrix_product(torch.float32), "read": rounds.memory_read()}
        seconds = rounds.take_turns(contenders, asked.rounds, num_warm_ups=2)
        speeds = (
            rounds.PEAK_OPERATIONS / rounds.median(seconds["product"]),
            rounds.READ_BYTES / rounds.median(seconds["read"]),
        )
        row: dict[str, Any] = {
            one: {
                "cpu_seconds": round(rounds.median(seconds[one]), 3),
                "share_of_roofline": round(least_seconds(work, *speeds) / rounds.median(seconds[one]), 3),
                **({"peak_megabytes": round(measured_alone(work, one))} if asked.memory else {}),
            }
            for one in whose
        }
        if "timm" in whose:
            row["times_as_fast"] = round(rounds.ratio(seconds["beholder"], seconds["timm"]), 3)
        results[work] = {**row, "gflops": round(speeds[0] / 1e9), "gigabytes_per_second": round(speeds[1] / 1e9, 1)}
        print(f"{work}: {results[work]}", file=sys.stderr, flush=True)
    told = {"versions": rounds.versions("torch", "timm"), "rounds": asked.rounds}
    print(json.dumps({**rounds.processor(), **told, "results": results}, indent=2))


def shapes(maps: list[Tensor]) -> tuple[torch.Size, ...]:
    return tuple(one.shape for one in maps)


def build(work: str, whose: str) -> Callable[[], list[Tensor]]:
    """Runs once, and gives the maps and the summary."""
    torch.manual_seed(0)
    side, batch = WORK[work]
    pictures = torch.randn(batch, 3, side, side)
    if whose == "beholder":
        model: Any = EfficientNetLite(PRESETS["efficientnet-lite0"])

        def see(pictures: Tensor) -> list[Tensor]:
            outputs = model(pictures)
            return [*outputs.maps, outputs.summary]
    else:
        import timm  # type: ignore[import-not-found]

        model = timm.create_model(PEER, num_classes=0).to(memory_format=torch.channels_last)
        pictures = pictures.contiguous(memory_format=torch.channels_last)

        def see(pictures: Tensor) -> list[Tensor]:
            last, maps = model.forward_intermediates(pictures, indices=[2, 3, 4])
            return [*maps, model.forward_head(last)]

    if not learns(work):
        model.eval()
        if whose == "beholder":
            model = model.folded()
        return torch.inference_mode()(lambda: see(pictures))
    model.train()
    keep_statistics(model)
    made: list[Tensor] = []

    def loss() -> Tensor:
        made[:] = see(pictures)
        return torch.stack([one.square().mean() for one in made]).sum()

    step = rounds.training_step(model, loss, "fp32")

    def learn() -> list[Tensor]:
        step()
        maps = [one.detach() for one in made]
        made.clear()
        return maps

    return learn


def learns(work: str) -> bool:
    return work.startswith("learning")


def least_seconds(work: str, operations_per_second: float, bytes_per_second: float) -> float:
    """Of all convolutions one after the other."""
    side, batch = WORK[work]
    passes, least = 3 if learns(work) else 1, []

    def count(part: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        assert isinstance(part, ConvNorm)
        (x,) = given
        operations = 2.0 * made.numel() * part.conv.weight[0].numel()
        times = passes - (learns(work) and x.shape[1] == 3)  # no gradient of the pictures
        maps = 4.0 * passes * (x.numel() + made.numel())
        least.append(batch * max(times * operations / operations_per_second, maps / bytes_per_second))

    model = EfficientNetLite(PRESETS["efficientnet-lite0"]).eval()
    for part in model.modules():
        if isinstance(part, ConvNorm):
            part.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return sum(least)


def measured_alone(work: str, whose: str) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (work, whose))


def measure(work: str, whose: str) -> float:
    torch.set_num_threads(1)
    if whose == "timm":
        has_timm()
    return rounds.peak_megabytes(build(work, whose))


if __name__ == "__main__":
    main()
