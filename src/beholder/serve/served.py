"""One model behind an address: what it can do, as functions over what may be run together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beholder.models.describer import Describer
from beholder.models.gpt import GPT
from beholder.models.pairs import is_pair_model
from beholder.models.vit import ViT
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import MASKED, TEXT_TO_IMAGE, Part
from beholder.runtime.device import Device
from beholder.tasks.embed import embed_arrays
from beholder.tasks.explain import heat_maps
from beholder.tasks.image_encoder import PLAIN, FastEncoder, Way, open_fast
from beholder.tasks.naming import Namer, by_captions, by_classes
from beholder.tasks.regions import Finder, find_regions
from beholder.tasks.search import open_finder
from beholder.tasks.shared_space import open_space
from beholder.tasks.similarity import PROMPTS, place_names
from beholder.tasks.talk import Talker, open_talker
from beholder.tasks.write import Writer, open_writer
from beholder.types import Answer, UserError

Images = Sequence[np.ndarray]
"""Decoded, H W 3 bytes."""
Found = dict[str, Any]
"""JSON values about one image."""


@dataclass(frozen=True)
class Served:
    """What is None it cannot do."""

    name: str
    about: str
    """What it is, for people."""
    place_images: Callable[[Images], Float[Tensor, "B C"]] | None = None
    place_texts: Callable[[Sequence[str]], Float[Tensor, "Q C"]] | None = None
    classify: Callable[[Images], list[Found]] | None = None
    classify_by_name: Callable[[Images, Sequence[str]], list[Found]] | None = None
    explain: Callable[[Images, Sequence[str]], Float[np.ndarray, "B side side"]] | None = None
    """Where the evidence for a class of its own lies in each image."""
    anomaly: Callable[[Images], list[Found]] | None = None
    detect: Callable[[Images], list[Found]] | None = None
    talker: Talker | None = None
    writer: Writer | None = None
    draws: Part | None = None
    mends: Part | None = None
    search: Callable[[Mapping[str, Tensor], int], list[Answer]] | None = None
    """Points by "text" and "like", and how many pictures are wanted."""
    thumbnail: Callable[[str], bytes | None] | None = None
    """A small PNG of a searched picture, by its key."""

    @property
    def abilities(self) -> tuple[str, ...]:
        """Names of what it answers, as in addresses below /v1."""
        can = {
            "embeddings": self.place_images is not None or self.place_texts is not None,
            "classify": self.classify is not None or self.classify_by_name is not None,
            "anomaly": self.anomaly is not None,
            "detect": self.detect is not None,
            "chat/completions": self.talker is not None or self.writer is not None,
            "images/generations": self.draws is not None,
            "images/edits": self.mends is not None,
            "search": self.search is not None,
        }
        return tuple(name for name, is_there in can.items() if is_there)


def open_served(
    name: str, model: Bundle | Foreign | Part, device: Device, way: Way = PLAIN, examples: Images = ()
) -> Served:
    """The model, ready on its device; what it does to images in that `way` (of a model that speaks of them, what sees,
    in fp32), for which `examples` are some of the kind that will come.

    Raises UserError for one that answers nothing, and as `open_fast` does.
    """
    if isinstance(model, Bundle):
        return _adapted(name, model, device, None if way == PLAIN else open_fast(model, device, way, examples))
    if isinstance(model, Part):
        return _part(name, model)
    inner = model.model
    if isinstance(inner, Describer):
        return _describer(name, model, inner, device, way)
    if isinstance(inner, GPT):
        writer = open_writer(model, device)
        return Served(name, "writes text" if not writer.is_asked else "answers in conversations", writer=writer)
    fast = None if way == PLAIN else open_fast(model, device, way, examples)
    if is_pair_model(inner):
        return _pair(name, model, device, fast)
    if isinstance(inner, ViT):
        place = open_finder(model, name, device).place_arrays if fast is None else fast.place
        return Served(name, f"places images ({model.kind}{_told(fast)})", place)
    raise UserError(f"{model.source} ({model.kind}) answers nothing that is served; name a model of another kind.")


def _told(fast: FastEncoder | None) -> str:
    return "" if fast is None else f", by {fast.way}"


def _adapted(name: str, bundle: Bundle, device: Device, fast: FastEncoder | None) -> Served:
    bundle.model.to(device.torch_device)
    model = bundle.model

    @torch.inference_mode()
    def embed(images: Images) -> Tensor:
        if fast is None:
            return embed_arrays(bundle, images, device)
        return model.embedder.projection(fast.features(images))

    def place(images: Images) -> Tensor:
        return F.normalize(embed(images).float(), dim=1).cpu()

    @torch.inference_mode()
    def classify(images: Images) -> list[Found]:
        shares = model.classify(embed(images)).tolist()
        return [_labelled(dict(zip(bundle.labels, row, strict=True))) for row in shares]

    @torch.inference_mode()
    def anomaly(images: Images) -> list[Found]:
        assert model.usual is not None
        rate = float(bundle.facts["false_alarm_rate"])
        threshold = model.usual.threshold(rate)
        distances = model.usual(embed(images))
        p_values = model.usual.p_value(distances).tolist()
        return [
            {"label": "unusual" if distance > threshold else "usual", "score": distance, "p_value": p_value,
             "threshold": threshold, "false_alarm_rate": rate}
            for distance, p_value in zip(distances.tolist(), p_values, strict=True)
        ]  # fmt: skip

    def explain(images: Images, labels: Sequence[str]) -> Float[np.ndarray, "B side side"]:
        return heat_maps(bundle, images, [bundle.labels.index(label) for label in labels], device)

    has_classes = model.head is not None
    return Served(
        name, f"adapted to its own images{_told(fast)}", place, classify=classify if has_classes else None,
        explain=explain if has_classes else None, anomaly=anomaly if model.usual is not None else None,
    )  # fmt: skip


def _pair(name: str, model: Foreign, device: Device, fast: FastEncoder | None) -> Served:
    space = open_space(model, device)
    place = space.place_arrays if fast is None else fast.place

    def by_name(images: Images, names: Sequence[str]) -> list[Found]:
        points = place_names(space, list(names), PROMPTS)
        shares = space.probabilities(place(images), points).tolist()
        return [_labelled(dict(zip(names, row, strict=True))) for row in shares]

    return Served(
        name, f"places images and texts in one space ({model.kind}{_told(fast)})", place, space.place_texts,
        classify_by_name=by_name,
    )  # fmt: skip


def _describer(name: str, model: Foreign, inner: Describer, device: Device, way: Way) -> Served:
    known = model.values.get("can", ("describe",))
    talker = open_talker(model, device, known[0], way.backend)
    detect = None
    if "regions" in known:
        namer: Namer = (
            by_classes(device) if inner.names is None else by_captions(inner.names, inner.vision, talker.pixels, device)
        )
        finder = Finder(inner.vision, talker.pixels, device, namer)

        def find(images: Images) -> list[Found]:
            return [{"objects": one.told()["regions"]} for one in find_regions(finder, list(images))]

        detect = find

    about = " and ".join({"describe": "captions", "answer": "answers", "regions": "finds"}[one] for one in known)
    return Served(name, f"{about} images", detect=detect, talker=talker)


def _part(name: str, part: Part) -> Served:
    if part.kind == TEXT_TO_IMAGE:
        return Served(name, "draws what a text says", draws=part)
    if part.kind == MASKED:
        return Served(name, "mends, changes and draws pictures", draws=part, mends=part)
    raise UserError(f"{part.source} is a {part.kind}, which answers nothing by itself; name a model that does.")


def _labelled(shares: dict[str, float]) -> Found:
    label = max(shares, key=shares.__getitem__)
    return {"label": label, "score": shares[label], "probabilities": shares}


def name_of(path: str) -> str:
    """How a model is called at the address: of a run's model/ the run, of a folder its name, of the hub's all."""
    folder = Path(path)
    if not folder.exists():
        return path
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "model" else resolved.name
