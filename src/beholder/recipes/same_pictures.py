"""A run that goes on reads the pictures that it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beholder.data.fingerprint import content_hashes
from beholder.runtime.files import read_json, write_json
from beholder.runtime.run_folder import RunFolder
from beholder.types import Sample, UserError


def identify(samples: Sequence[Sample], masks: Mapping[str, Path] = {}) -> dict[str, Any]:
    """How many, and a digest of their names, labels, groups, parts, texts and masks; for `RunFolder` to keep."""
    digest = hashlib.blake2b(digest_size=16)
    for one in samples:
        mask = masks.get(one.key)
        owned = hashlib.blake2b(mask.read_bytes()).hexdigest() if mask is not None and mask.is_file() else None
        known = (one.key, one.label, one.group, one.split, one.text, owned)
        digest.update(repr(known).encode("utf-8", "surrogatepass"))
    return {"count": len(samples), "digest": digest.hexdigest()}


def hash_once(run: RunFolder, samples: Sequence[Sample], found: Mapping[str, Any], num_workers: int) -> list[str]:
    """What the files hold (`content_hash`), as the first sitting with the pictures that `identify` found saw it: which
    of them are held out is then the same whatever happens to the files between sittings."""
    file = run.scratch("hashes") / f"{found['digest']}.json"
    if not file.exists():
        write_json(file, content_hashes(samples, num_workers))
    return read_json(file)


def refuse_changed(run: RunFolder, data: str | Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises UserError where what `identify` gave when the run was begun is not what it gives now."""
    if begun != now:
        raise UserError(
            f"{data} has changed since {run.path} was begun ({begun['count']:,} pictures then, {now['count']:,} now); "
            "choose another --out, or put it back as it was."
        )
