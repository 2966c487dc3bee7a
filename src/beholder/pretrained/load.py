"""`load(name)`: a ready model from a folder, or by the name that the Hugging Face hub gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beholder.pretrained.bundle import Bundle, load_bundle
from beholder.pretrained.ctranslate2 import MODEL, load_ctranslate2
from beholder.pretrained.describer_folder import KIND as DESCRIBER
from beholder.pretrained.describer_folder import load_describer
from beholder.pretrained.embedded import DEFAULT_PAIRS, load_embedded
from beholder.pretrained.hub import find_snapshot, parse_name
from beholder.pretrained.huggingface.foreign import Foreign, load_foreign
from beholder.pretrained.pair_folder import load_pair_folder
from beholder.pretrained.part_folder import Part, load_part, need_whole
from beholder.runtime.files import read_json
from beholder.types import UserError


def load(name: str | Path) -> Bundle | Foreign | Part:
    """A ready model: from a model folder, from the run folder that holds one, from a folder as the Hugging Face hub has
    it, or CTranslate2, or by a name of the hub, `owner/name` or `owner/name@revision`, which is looked for in the local
    cache first. "embedded" is the model of images and texts that needs no hub. What was trained by itself, such as an
    image tokenizer, comes as a `Part`.

    Raises UserError when there is none, or it is broken or of an unknown kind.
    """
    folder = Path(name)
    if str(name) == DEFAULT_PAIRS and not folder.exists():
        return load_embedded()
    if not folder.exists() and isinstance(name, str):
        hub_name = parse_name(name)
        if hub_name is not None and (hub_name.is_told or not _is_below_a_folder(folder)):
            return load_foreign(find_snapshot(hub_name))
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    keys = _values(folder / "config.json")
    if "format" not in keys and "model_type" in keys:
        return load_foreign(folder)
    if {"format", "kind"} <= keys.keys():
        if keys["kind"] == DESCRIBER:
            return load_describer(folder)
        return load_part(folder) if "config" in keys else load_pair_folder(folder)
    if "format" not in keys and (folder / MODEL).is_file():
        return load_ctranslate2(folder)
    if keys and "format" not in keys:
        raise UserError(
            f"{folder / 'config.json'} has neither the format of a model folder nor the model_type of one of the "
            "Hugging Face hub; name the folder of a model, such as the model/ of a finished run."
        )
    return load_bundle(folder)


def load_own(name: str | Path) -> Bundle:
    """The model of a folder that beholder made; the hub is not asked. Raises UserError for a foreign one."""
    loaded = need_whole(load(Path(name)))
    if isinstance(loaded, Foreign):
        raise UserError(
            f"{name} is another kind of model ({loaded.kind}), and this needs one that adapt made; name the model/ of "
            "a run of adapt."
        )
    return loaded


def _is_below_a_folder(path: Path) -> bool:
    """Whether a name with a slash begins with a folder that is here: then a path was meant, and misspelt."""
    return len(path.parts) > 1 and path.parent.is_dir()


def _values(path: Path) -> dict[str, Any]:
    """Of a configuration; none where there is no readable one, which the readers tell with its reason."""
    try:
        values = read_json(path)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
