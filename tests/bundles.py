"""A model folder's content with random numbers in every tensor: small, seeded, complete."""

from __future__ import annotations

import torch

from beholder.models.conv import PRESETS, EfficientNetLite
from beholder.models.domain import DomainConfig, DomainModel, HeadConfig
from beholder.models.embedder import EmbedderConfig
from beholder.models.families import specify
from beholder.pretrained.bundle import Bundle
from beholder.runtime.device import Device
from beholder.tokenizers.pixels import PixelConfig

CPU = Device(torch.device("cpu"), torch.float32, 1, "CPU, 1 thread, float32")


def random_network(seed: int = 0) -> EfficientNetLite:
    """The smallest of the convolutional family, with running statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    network = EfficientNetLite(PRESETS["debug"])
    for name, value in network.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    return network.eval()


def random_bundle(
    seed: int = 0, labels: tuple[str, ...] = ("left", "right"), num_levels: int = 40, *, is_small: bool = False
) -> Bundle:
    """Two backbones side by side, two resolutions, a kernel head (without labels none) and levels (0 for none); a small
    one has one backbone and one resolution."""
    networks = [random_network(seed + number) for number in range(1 if is_small else 2)]
    resolutions = (32,) if is_small else (32, 48)
    embedder = EmbedderConfig(tuple(specify(network) for network in networks), resolutions, 6)
    head = HeadConfig("kernel", len(labels), 9) if labels else HeadConfig()
    model = DomainModel(DomainConfig(embedder, head, num_levels)).eval()
    for own, network in zip(model.embedder.backbones, networks, strict=True):
        own.load_state_dict(network.state_dict())
    projection = model.embedder.projection
    projection.mean.normal_()
    projection.scale.uniform_(0.5, 2.0)
    projection.components.normal_(0, 0.1)
    if model.head is not None:
        for tensor in model.head.buffers():
            tensor.normal_()
        model.head.get_buffer("gamma").fill_(0.05)
    if model.usual is not None:
        model.usual.mean.normal_()
        model.usual.whitener.normal_()
        model.usual.levels.copy_(torch.rand(num_levels).sort().values * 4)
    facts = {"made_by": "a test", "false_alarm_rate": 0.05}
    return Bundle(model, PixelConfig(mean=(0.4, 0.5, 0.6)), labels, facts, "# A card\n")
