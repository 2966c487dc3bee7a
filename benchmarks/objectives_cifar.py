"""Do the objectives teach anything in minutes on a CPU? k-NN accuracy of features before and after, side by side.

    python benchmarks/objectives_cifar.py --data cifar10_mini --seeds 3 > objectives.json

Data: a folder images/{train,test}/<class>/*.jpg of CIFAR-10 (Krizhevsky 2009, "Learning Multiple Layers of Features
from Tiny Images"); pretraining sees the training images without labels, accuracy is of the test images by their 20
nearest training images (cosine). The descriptor, chosen because it is also the best one of random networks, is mean,
maximum and spread of every map beside the summary, each number standardised on the training images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream
from beholder.models.conv import EfficientNetLite
from beholder.models.heads import describe
from beholder.models.vit import PRESETS, ViT
from beholder.objectives.masked import MaskedPrediction
from beholder.objectives.teacher import SelfDistillation
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.runtime.device import Device, pick_device
from beholder.train.loop import Plan, train
from beholder.types import Outputs

NUM_NEIGHBOURS = 20


class SmallConv(nn.Module):
    """Six plain convolutions: the least backbone that has three maps."""

    map_strides = (2, 4, 8)
    map_widths = (64, 128, 256)
    summary_width = 256

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *self.map_widths)
        self.stages = nn.ModuleList(_stage(*pair) for pair in itertools.pairwise(widths))

    def forward(self, pixels: torch.Tensor) -> Outputs:
        x = pixels.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Outputs(maps=tuple(maps), summary=x.mean((2, 3)))


def _stage(num_inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, stride in ((num_inputs, 2), (width, 1)):
        layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


BACKBONES = {
    "vit": lambda: ViT(PRESETS["thumbnail"]),
    "conv": SmallConv,
    "lite0": EfficientNetLite,
    "lite0-imagenet": efficientnet_lite0,
}
OBJECTIVES = {"teacher": SelfDistillation, "masked": MaskedPrediction}


@dataclass(frozen=True)
class Diet:
    """What a pair of objective and backbone is given."""

    num_steps: int
    batch_size: int
    lr: float
    keeps_statistics: bool = False


DIETS = {
    ("teacher", "vit"): Diet(260, 32, 5e-4),
    ("masked", "vit"): Diet(260, 32, 5e-4),
    ("teacher", "conv"): Diet(300, 64, 1e-3),
    ("masked", "conv"): Diet(300, 64, 1e-3),
    ("teacher", "lite0"): Diet(150, 32, 1e-3),
    ("masked", "lite0"): Diet(150, 32, 1e-3),
    ("teacher", "lite0-imagenet"): Diet(150, 32, 2e-4, keeps_statistics=True),
    ("masked", "lite0-imagenet"): Diet(150, 32, 2e-4, keeps_statistics=True),
}


@dataclass(frozen=True)
class Labelled:
    """One split: bytes N 3 32 32 and class numbers N."""

    images: np.ndarray
    labels: np.ndarray


def read_split(folder: Path) -> Labelled:
    """The images of a folder per class, in the order of their paths."""
    paths = sorted(folder.glob("*/*.jpg"))
    classes = sorted({path.parent.name for path in paths})
    images = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])
    return Labelled(images, np.array([classes.index(path.parent.name) for path in paths]))


def knn_accuracy(model: nn.Module, train_split: Labelled, test_split: Labelled, device: Device) -> float:
    """Share of test images whose nearest training images vote for their class, in [0, 1]."""
    known, asked = (describe_all(model, split.images, device) for split in (train_split, test_split))
    mean, spread = known.mean(0), known.std(0) + 1e-6
    known, asked = (nn.functional.normalize((rows - mean) / spread, dim=1) for rows in (known, asked))
    nearest = (asked @ known.T).topk(NUM_NEIGHBOURS, dim=1).indices
    votes = nn.functional.one_hot(torch.from_numpy(train_split.labels)[nearest]).sum(1)
    return float((votes.argmax(1).numpy() == test_split.labels).mean())


@torch.no_grad()
def describe_all(model: nn.Module, images: np.ndarray, device: Device) -> torch.Tensor:
    """N F, in evaluation mode."""
    model.eval()
    rows = []
    for part in torch.from_numpy(images).split(250):
        with device.autocast():
            outputs = model((part.float() / 255 - 0.5) / 0.5)
        rows.append(torch.cat([describe(outputs), outputs.summary.float()], dim=1))
    return torch.cat(rows)


def measure(
    objective_name: str, backbone_name: str, seed: int, splits: tuple[Labelled, Labelled], device: Device, diet: Diet
) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(seed)
    model = BACKBONES[backbone_name]()
    objective = OBJECTIVES[objective_name](model)
    before = knn_accuracy(model, *splits, device)
    stream = ImageStream(
        splits[0].images,
        batch_size=diet.batch_size,
        num_views=2,
        augmentation=AugmentConfig(size=32),
        seed=seed,
    )
    plan = Plan(
        num_steps=diet.num_steps,
        lr=diet.lr,
        num_warmup=diet.num_steps // 10,
        keeps_statistics=diet.keeps_statistics,
        seed=seed,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = train(model, objective, stream, plan=plan, device=device, folder=Path(folder))
    cpu_seconds = time.process_time() - began
    after = knn_accuracy(model, *splits, device)
    return {
        "objective": objective_name,
        "backbone": backbone_name,
        "seed": seed,
        "first_knn": before,
        "trained_knn": after,
        "gain": after - before,
        "cpu_seconds": round(cpu_seconds, 1),
        "losses": dict(result.losses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    device = pick_device("cpu", options.threads)
    splits = (read_split(options.data / "images" / "train"), read_split(options.data / "images" / "test"))
    for backbone_name in options.backbones:
        for objective_name in options.objectives:
            diet = DIETS[objective_name, backbone_name]
            for seed in range(options.seeds):
                row = measure(objective_name, backbone_name, seed, splits, device, diet)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
