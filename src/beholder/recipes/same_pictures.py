"""A run that goes on reads the pictures that it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from beholder.runtime.run_folder import RunFolder
from beholder.types import Sample, UserError


def refuse_changed(run: RunFolder, data: Path, samples: Sequence[Sample], masks: Mapping[str, Path]) -> None:
    """Raises UserError where names, labels, groups, texts or masks are not those that the run was begun with."""
    digest = hashlib.blake2b(digest_size=16)
    for one in samples:
        mask = masks.get(one.key)
        owned = hashlib.blake2b(mask.read_bytes()).hexdigest() if mask is not None and mask.is_file() else None
        known = (one.key, one.label, one.group, one.split, one.text, owned)
        digest.update(repr(known).encode("utf-8", "surrogatepass"))
    now = {"count": len(samples), "digest": digest.hexdigest()}
    begun = run.expect("pictures", now)
    if begun != now:
        raise UserError(
            f"{data} has changed since {run.path} was begun ({begun['count']:,} pictures then, {len(samples):,} now); "
            "choose another --out, or put it back as it was."
        )
