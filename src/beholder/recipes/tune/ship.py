"""The model of a run: opened, and written in the form that it came in, with what was learned in its weights."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from beholder.models.pairs import (
    ConvexNames,
    FrozenImages,
    FrozenTexts,
    LockedPair,
    PairMaps,
    PairMapsConfig,
)
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.pretrained.pair_folder import PairFolder, save_pair_folder
from beholder.pretrained.towers import Towers
from beholder.recipes.tune.judge import change
from beholder.runtime.device import Device
from beholder.runtime.files import write_text
from beholder.tasks.shared_space import SharedSpace, open_space
from beholder.types import UserError
from beholder.version import VERSION


def open_model(model: Foreign | str | Path, device: Device) -> tuple[Foreign, SharedSpace]:
    """The model in single precision, and its space; one that was handed over ready is copied, so that it stays as it
    is. Raises UserError when it is none of images and texts."""
    loaded = load(model) if isinstance(model, str | Path) else model
    open_space(loaded, device)  # refuses what has no two towers
    assert isinstance(loaded, Foreign)
    own = copy.deepcopy(loaded.model) if loaded is model else loaded.model
    if isinstance(own, ConvexNames):
        own = as_locked_pair(own)
    elif not isinstance(own, LockedPair) and not loaded.values.get("model_type"):
        raise UserError(f"{loaded.source} ({loaded.kind}) cannot be written again, so it is not tuned; name another.")
    loaded = replace(loaded, model=own.float())
    return loaded, open_space(loaded, device)


def as_locked_pair(model: ConvexNames) -> LockedPair:
    """The same model as towers with maps between them that move nothing yet."""
    images, texts = FrozenImages(model.backbone, model.names), FrozenTexts(model.reader)
    shape = PairMapsConfig(
        images.width, texts.width, texts.width, is_anchored=True, logit_scale=float(model.logit_scale)
    )  # fmt: skip
    return LockedPair(images, texts, PairMaps(shape)).eval().requires_grad_(False)


def save_model(folder: Path, first: Foreign, tuned: nn.Module, facts: dict[str, Any], card: str) -> None:
    """Write `tuned`, which came of `first`, in its form; what an interrupted run left there is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    tuned = tuned.cpu()
    if not isinstance(tuned, LockedPair):
        export_to_huggingface(replace(first, model=tuned), folder)
        write_text(folder / "README.md", card)
        return
    described = first.config if isinstance(first.config, PairFolder) else PairFolder(tuned.maps.config)
    is_changed = facts["share"] > 0
    towers = Towers(
        tuned.images, tuned.texts, first.need_pixels(), first.need_words(),
        described.image is None and not is_changed, described.text is None and not is_changed,
    )  # fmt: skip
    save_pair_folder(folder, towers, tuned.maps, facts=facts, card=card)


def model_card(results: Mapping[str, Any], folder: Path) -> str:
    """The README.md of the model, from the run's results."""
    own, general, tuning = results["own"], results["general"], results["tuning"]
    lines = [
        f"# {results['name']}",
        "",
        f"{results['model']}, tuned by beholder {VERSION} on {results['created'][:10]}.",
        "",
        f"- **Verdict**: {results['verdict']['sentence']} {results['verdict']['aside']}",
        f"- **Own images**: {results['data']['description']}; {change(own)}, on a test part that was not learned from.",
        f"- **General images**: {results['guard']['description']}; {change(general)}; never learned from."
        if general
        else "- **General images**: not asked; what was forgotten is not known.",
        f"- **Tuning**: low-rank updates of rank {tuning['rank']} in both towers, {tuning['steps']:,} steps on "
        f"{tuning['num_images']:,} images; {results['shipped']['share']:.0%} of what was learned is in the weights.",
        "- **Licence**: that of the first model holds on, and that of the images it was tuned on; look at both before "
        "you pass this one on.",
        "",
        "```python",
        "import beholder",
        "",
        f'model = beholder.load("{folder}")',
        'for answer in beholder.similarity(model, ["photo.png"], ["a text", "another text"]):',
        "    print(answer.label, answer.score)",
        "```",
        "",
        f"Made with: `{results['command']}`, seed {results['seed']}.",
    ]
    return "\n".join(lines) + "\n"
