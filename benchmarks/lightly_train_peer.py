"""Run by `domain_peer.py` in lightly-train's environment; reads what is asked as JSON from standard input."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import lightly_train  # pyright: ignore[reportMissingImports]
import torch
from torch import Tensor, nn

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.config import from_json
from beholder.models.conv import EfficientNetLite, EfficientNetLiteConfig

NUM_TIMED = 5
TIMES: list[float] = []
"""CPU seconds at the beginning of each pass of a student, of whichever copy of it."""


class Wrapped(nn.Module):
    """The network as the peer wants one."""

    def __init__(self, network: EfficientNetLite) -> None:
        super().__init__()
        self.network = network

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        if torch.is_grad_enabled():
            TIMES.append(time.process_time())
        x = self.network.stem(x.contiguous(memory_format=torch.channels_last))
        for stage in self.network.stages:
            x = stage(x)
        return {"features": self.network.head(x)}

    def forward_pool(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"pooled_features": x["features"].mean((2, 3), keepdim=True)}

    def feature_dim(self) -> int:
        return self.network.summary_width

    def get_model(self) -> nn.Module:
        return self.network


def learn(asked: dict[str, Any], steps: int, out: Path) -> float:
    """CPU seconds of so many steps, from the first of them on. Its export lies in `out` afterwards."""
    TIMES.clear()
    network = EfficientNetLite(from_json(EfficientNetLiteConfig, asked["config"]))
    network.load_state_dict(load_tensors(Path(asked["start"])))
    num_images, batch = len(list(Path(asked["photos"]).iterdir())), asked["batch"]
    lightly_train.pretrain(
        out=str(out), data=asked["photos"], model=Wrapped(network.train()), method=asked["method"], batch_size=batch,
        epochs=steps // (num_images // batch) + 1, num_workers=0, accelerator="cpu", precision="32-true",
        seed=asked["seed"], transform_args=asked["transform"], trainer_args={"max_steps": steps}, overwrite=True,
        **asked["optimizer"],
    )  # fmt: skip
    return time.process_time() - TIMES[0]


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    out = Path(asked["out"])
    learn(asked, NUM_TIMED, out / "timing")
    passes = len(TIMES) // NUM_TIMED
    per_step = (TIMES[-passes] - TIMES[passes]) / (NUM_TIMED - 2)
    steps = max(1, int(asked["seconds"] / per_step))
    seconds = learn(asked, steps, out / "run")
    save_tensors(Path(asked["end"]), torch.load(out / "run/exported_models/exported_last.pt", weights_only=True))
    told = {"objective": f"lightly-train {asked['method']}", "steps": steps, "batch_size": asked["batch"],
            **asked["optimizer"], "cpu_seconds": seconds, "peer": lightly_train.__version__}  # fmt: skip
    Path(asked["story"]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
