"""Models by the name that the Hugging Face hub gives them: from the local cache, else from the hub.

A cache holds models--OWNER--NAME/refs/REVISION, a file with a commit, and models--OWNER--NAME/snapshots/COMMIT/, the
files. Neither the network nor the library `huggingface_hub` (the extra `hub`) is needed for what lies there.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from beholder.pretrained.huggingface.checkpoint import INDEX, WEIGHTS, shards_of
from beholder.pretrained.huggingface.preprocess import FILE as PIXELS
from beholder.pretrained.huggingface.words import FILES as WORDS
from beholder.types import UserError

WANTED = ("config.json", WEIGHTS, INDEX, "model-*-of-*.safetensors", PIXELS, "processor_config.json", *WORDS)
"""What is fetched: no pickles, no weights for other programs."""

KNOWN = (
    "embedded", "openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14",
    "google/siglip-base-patch16-224", "google/vit-base-patch16-224", "facebook/dinov2-base", "facebook/dinov2-small",
    "facebook/dinov2-with-registers-base", "facebook/dinov3-vits16-pretrain-lvd1689m", "facebook/vit-mae-base",
    "google-bert/bert-base-uncased", "openai-community/gpt2", "facebook/opt-125m", "bigscience/bloom-560m",
    "EleutherAI/gpt-neox-20b", "google-t5/t5-small", "google/t5-v1_1-small", "openai/whisper-tiny.en",
    "HuggingFaceTB/SmolLM2-135M", "Qwen/Qwen2-0.5B", "Qwen/Qwen3-0.6B", "mistralai/Mixtral-8x7B-v0.1",
)  # fmt: skip
"""Names to offer when one is misspelt, also the one that is no name of the hub; any other of a known family is read as
well."""

_NAME = re.compile(r"(?:[\w][\w.-]*/)?[\w][\w.-]*")
_PAGE = re.compile(r"^https://(?:huggingface\.co|hf\.co)/(.+?)/?$")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubName:
    """A model's name on the hub."""

    model: str
    """`owner/name`, or `name` alone for the oldest ones."""
    revision: str = "main"
    """A branch, a tag or a commit."""
    is_told: bool = False
    """Whether the user named the revision, so that no path can be meant."""

    def __str__(self) -> str:
        return self.model if self.revision == "main" else f"{self.model}@{self.revision}"


def parse_name(name: str) -> HubName | None:
    """`owner/name` or `owner/name@revision`, or the address of a model's page; None for what can be no such name,
    such as a path of three parts."""
    name = _PAGE.sub(r"\1", name)
    model, separator, revision = name.partition("@")
    is_one = _NAME.fullmatch(model) and "--" not in model and ".." not in model and len(model) <= 96
    parts = revision.split("/")
    if not is_one or (separator and not all(_NAME.fullmatch(part) and ".." not in part for part in parts)):
        return None
    return HubName(model, revision or "main", bool(separator))


def cache_folder() -> Path:
    """Where the programs of the hub keep what they fetched, by the variables that they read."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def find_snapshot(name: HubName) -> Path:
    """The folder with a model's files, whole: as it lies in the cache, else fetched.

    A cached branch is not looked up again; a commit pins a model for good. Raises UserError when there is no such
    model, it has no safetensors, or the network is needed and not there.
    """
    cached = cached_snapshot(name)
    if cached is not None and not missing_files(cached):
        return cached
    fetched = _fetch(name, cached)
    missing = missing_files(fetched)
    if missing:
        raise UserError(
            f"{name} has no {missing[0]} on the hub, and pickled weights are never read; choose a revision that has it "
            f"({name.model}@REVISION), or load it with transformers and save it with save_pretrained."
        )
    return fetched


def cached_snapshot(name: HubName) -> Path | None:
    """The folder in the cache, which may lack files; None when there is none."""
    place = cache_folder() / f"models--{name.model.replace('/', '--')}"
    reference = place / "refs" / name.revision
    commit = name.revision
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8").strip()
    elif not _COMMIT.fullmatch(commit):
        return None
    folder = place / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def missing_files(folder: Path) -> list[str]:
    """Names of the files that a model cannot do without and that are not here; a broken link counts as none."""
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if (folder / WEIGHTS).is_file():
        return missing
    if not (folder / INDEX).is_file():
        return [*missing, WEIGHTS]
    return missing + [shard for shard in shards_of(folder / INDEX) if not (folder / shard).is_file()]


def cached_names() -> list[str]:
    """The models that lie in the cache."""
    folder = cache_folder()
    places = folder.glob("models--*") if folder.is_dir() else ()
    return sorted(place.name.removeprefix("models--").replace("--", "/") for place in places)


def nearest_names(name: str) -> list[str]:
    """Up to three names, cached ones before others, that are spelt like this one, with or without its owner."""
    offered = list(dict.fromkeys([*cached_names(), *KNOWN]))
    short = {one.rpartition("/")[2].lower(): one for one in reversed(offered)}
    whole = {one.lower(): one for one in reversed(offered)}
    near = [whole[one] for one in difflib.get_close_matches(name.lower(), whole, n=3, cutoff=0.7)]
    near += [short[one] for one in difflib.get_close_matches(name.lower().rpartition("/")[2], short, n=3, cutoff=0.7)]
    return list(dict.fromkeys(near))[:3]


def _fetch(name: HubName, cached: Path | None) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(
            f"{name} is no folder and {_state(cached)}; to fetch it, pip install 'beholder[hub]'{_offer(name)}."
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            name.model, revision=name.revision, allow_patterns=list(WANTED), cache_dir=cache_folder()
        )
    except errors.GatedRepoError as error:
        raise UserError(
            f"{name} is given only to who accepted its terms; accept them on its page at huggingface.co, then run "
            "hf auth login."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{name.model} has no revision {name.revision!r} on the hub; leave it out for main.") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{name} is neither a folder nor a model that the hub shows; for a private one run hf auth login"
            f"{_offer(name)}."
        ) from error
    except Exception as error:  # of the library, of whatever carries its bytes, or of the disk
        raise UserError(_unreached(name, cached, error)) from error
    return Path(folder)


def _unreached(name: HubName, cached: Path | None, error: Exception) -> str:
    lines = str(error.__cause__ or error).strip().splitlines()
    reason = lines[0].removesuffix(".") if lines else type(error).__name__
    return (
        f"{name} is no folder, {_state(cached)}, and cannot be fetched from the hub ({reason}); check the "
        f"name, connect to the network, or copy the model's folder here and give its path{_offer(name)}. What needs no "
        "network is named embedded: images and texts in one space."
    )


def _state(cached: Path | None) -> str:
    if cached is None:
        return f"not in the cache ({cache_folder()})"
    return f"in the cache without {', '.join(missing_files(cached)[:3])} ({cached})"


def _offer(name: HubName) -> str:
    near = nearest_names(name.model)
    if name.model in near:
        return ""
    return f"; names like it are {', '.join(near)}" if near else ""
