"""Stage: write the bundle: backbones, projection, head and levels in one model folder with its card."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from beholder.data.decode import Limits
from beholder.models.domain import DomainConfig, DomainModel, HeadConfig
from beholder.models.embedder import EmbedderConfig
from beholder.models.families import specify
from beholder.pretrained.bundle import Bundle
from beholder.recipes.adapt.spaces import Space, projection_tensors
from beholder.recipes.adapt.unusual import Unusual
from beholder.runtime.device import Device, release_freed_memory
from beholder.runtime.energy import Cost, measured, per_thousand
from beholder.tasks.embed import BATCH_SIZE, embed
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.readout import Readout
from beholder.types import Sample

_NUM_PREDICTED = 64
"""Images that tell what a prediction costs."""


def build_bundle(
    backbones: Sequence[nn.Module],
    space: Space,
    resolutions: Sequence[int],
    readout: Readout | None,
    unusual: Unusual | None,
    classes: Sequence[str],
    pixels: PixelConfig,
    facts: dict[str, Any],
    card: str,
) -> Bundle:
    """Assemble the model from what the stages fitted; weights are copied, not shared."""
    embedder = EmbedderConfig(
        tuple(specify(backbone) for backbone in backbones), tuple(resolutions), space.embedding.shape[1]
    )
    head = HeadConfig("kernel", len(classes), len(readout.supports)) if readout else HeadConfig()
    num_levels = unusual.usual.levels.numel() if unusual else 0
    model = DomainModel(DomainConfig(embedder, head, num_levels))
    for own, trained in zip(model.embedder.backbones, backbones, strict=True):
        own.load_state_dict(trained.state_dict())
    model.embedder.projection.load_state_dict(projection_tensors(space))
    if readout is not None:
        assert model.head is not None
        arrays = {name: torch.from_numpy(getattr(readout, name)) for name in ("supports", "coefficients", "bias")}
        model.head.load_state_dict({**arrays, "gamma": torch.tensor(readout.gamma, dtype=torch.float32)})
    if unusual is not None:
        assert model.usual is not None
        model.usual.load_state_dict(unusual.usual.state_dict())
    return Bundle(model.eval(), pixels, tuple(classes) if readout else (), facts, card)


def cost_of_thousand(bundle: Bundle, samples: Sequence[Sample], device: Device, limits: Limits) -> Cost:
    """What 1,000 predictions cost with this model, decoding included; measured on a few images, after a first batch."""
    ready = Bundle(copy.deepcopy(bundle.model), bundle.pixels, bundle.labels, bundle.facts, bundle.card)
    ready.model.embedder.ready()  # as loading does
    spread = samples[:: max(1, len(samples) // _NUM_PREDICTED)][:_NUM_PREDICTED]
    for _ in embed(ready, spread[:BATCH_SIZE], device, limits):
        pass
    release_freed_memory()  # of what came before, so that the peak is that of predicting
    with measured() as costs:
        count = sum(1 for _ in embed(ready, spread, device, limits))
    return per_thousand(costs[0], count)


def model_card(results: dict[str, Any], model: Path, verb: str) -> str:
    """The bundle's README.md, from the run's results; `verb` is what its example does."""
    data, verdict, cost = results["data"], results["verdict"], results["cost"]
    score = results.get("score")
    lines = [
        f"# {results['name']}",
        "",
        f"A vision model for one domain, made by beholder {results['version']} on {results['created'][:10]}.",
        "",
        f"- **Backbone**: {verdict['shipped']} features (EfficientNet-Lite0, ImageNet weights, Apache-2.0).",
        f"- **Data**: {data['num_kept']:,} images, {data['num_labelled']:,} labelled; {data['description']}",
        f"- **Verdict**: {verdict['sentence']}",
    ]
    if score:
        low, high = score["interval"]
        lines += [
            f"- **Test score**: AUC {score['value']:.3f} (95 % interval {low:.3f} to {high:.3f}), balanced accuracy "
            f"{score['balanced_accuracy']:.1%}, calibration error {score['calibration_error']:.3f}, on groups that "
            "training has not seen.",
            f"- **Classes**: {', '.join(map(in_markdown, score['confusion']['labels']))}",
        ]
    if results.get("unusual") and results["unusual"]["threshold"] is not None:
        unusual = results["unusual"]
        lines.append(
            f"- **Unusual images**: threshold {unusual['threshold']:.3f} from {unusual['num_reference']:,} normal "
            f"images, at most {unusual['false_alarm_rate']:.0%} of normal images above it."
        )
    if results.get("groups"):
        scored = [row for row in results["groups"]["rows"] if row["score"] is not None]
        worst = sorted(scored, key=lambda row: row["score"])[:3]
        if worst:
            named = ", ".join(f"{row['group']} ({row['score']:.2f}, n={row['num']})" for row in worst)
            lines.append(f"- **Weakest groups** (AUC): {named}")
    total = cost["total"]
    lines += [
        f"- **Cost**: {total['seconds']:.0f} s, {total['joules']:,.0f} J ({total['joules_source']}).",
        "- **Licence of the weights**: that of the images they were fitted on, and Apache-2.0 for the backbone.",
        "",
        "```python",
        "import beholder",
        "",
        f'model = beholder.load("{model}")',
        f'for answer in beholder.{verb}(model, ["photo.png"]):',
        "    print(answer.label, answer.score)",
        "```",
        "",
        f"Made with: `{results['command']}`, seed {results['seed']}.",
    ]
    return "\n".join(lines) + "\n"


def in_markdown(name: str) -> str:
    """A name that shows as it is written, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(name.split()))
