"""How well held-out texts are foretold: bits a byte, beside what needs no model of language."""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional as F

from beholder.evaluate.resample import mean_interval
from beholder.models.gpt import GPT
from beholder.recipes.language.material import Written
from beholder.runtime.device import Device
from beholder.runtime.seed import numpy_generator

MODEL, BEFORE, FREQUENCIES, ARCHIVER = "model", "before this training", "frequency of tokens", "xz"
_LN2 = math.log(2)


@dataclass(frozen=True)
class _Window:
    """A row of a text, and from which of its tokens on it counts."""

    text: int
    first: int
    counted_from: int


@torch.inference_mode()
def nats_of(
    model: GPT,
    texts: Sequence[Written],
    length: int,
    batch_size: int,
    device: Device,
    on_read: Callable[[int], None] = lambda count: None,
) -> Float[np.ndarray, " n"]:
    """What each text costs. A text longer than a row is read in rows that overlap by half, so that every token is
    foretold from at least half a row of its past, or from all of it."""
    windows = [window for place, one in enumerate(texts) for window in _windows(place, len(one.tokens), length)]
    found = np.zeros(len(texts))
    for first in range(0, len(windows), batch_size):
        some = windows[first : first + batch_size]
        parts = [texts[one.text].tokens[one.first : one.first + length] for one in some]
        longest = max(map(len, parts))
        tokens = torch.from_numpy(np.stack([np.pad(part, (0, longest - len(part))) for part in parts]))
        tokens = tokens.to(device.torch_device)
        with device.autocast():
            logits = model(tokens[:, :-1]).float()
        costs = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").cpu().numpy()
        for row, (one, part) in enumerate(zip(some, parts, strict=True)):
            counts = texts[one.text].counts[one.first : one.first + length].copy()
            counts[: max(1, one.counted_from)] = False
            found[one.text] += costs[row, : len(part) - 1][counts[1:]].sum()
        on_read(len(some))
    return found


def num_windows(texts: Sequence[Written], length: int) -> int:
    """Rows that `nats_of` reads."""
    return sum(len(_windows(0, len(one.tokens), length)) for one in texts)


def _windows(place: int, size: int, length: int) -> list[_Window]:
    step = max(1, length // 2)
    found = [_Window(place, 0, 0)]
    while found[-1].first + length < size:
        first = found[-1].first + step
        found.append(_Window(place, first, found[-1].first + length - first))
    return found


def frequency_nats(train: Sequence[Written], texts: Sequence[Written], num_tokens: int) -> Float[np.ndarray, " n"]:
    """What each text costs one who knows only how often tokens come, each counted once more than it came."""
    counts = np.ones(num_tokens)
    for one in train:
        counts += np.bincount(one.tokens[one.counts], minlength=num_tokens)
    costs = -np.log(counts / counts.sum())
    return np.array([costs[one.tokens[one.counts]].sum() for one in texts])


def archiver_bits(train: Sequence[Written], texts: Sequence[Written]) -> float:
    """Bits a byte that xz needs for these texts after it has read those that were learned from."""
    known, asked = (
        "\n".join(one.text.text for one in listed).encode() for listed in (train, texts)
    )  # fmt: skip
    packed = [len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) for data in (known, known + b"\n" + asked)]
    return 8 * (packed[1] - packed[0]) / max(1, len(asked))


def judge(
    texts: Sequence[Written], nats: Mapping[str, Float[np.ndarray, " n"]], archiver: float | None, seed: int
) -> dict[str, Any]:
    """Bits a byte over all texts by who foretells them, with intervals over texts; nats a token and perplexity. JSON
    values."""
    generator = numpy_generator(seed, "bootstrap")
    sizes = np.array([one.num_bytes for one in texts], float)
    num_tokens = float(sum(one.counts.sum() for one in texts))
    rows: dict[str, dict[str, Any]] = {}
    for name, costs in nats.items():
        each = costs.sum() / num_tokens
        rows[name] = {
            "bits_per_byte": costs.sum() / sizes.sum() / _LN2,
            "nats_per_token": each,
            "perplexity": float(np.exp(min(each, 700.0))),
        }
        # of a ratio of sums: what each text costs beyond its share, over the mean size
        ahead = (costs - nats[MODEL]) / _LN2 / sizes.mean()
        if name == MODEL:
            spread = (costs / _LN2 - rows[name]["bits_per_byte"] * sizes) / sizes.mean()
            low, high = mean_interval(spread, generator)
            rows[name]["interval"] = [rows[name]["bits_per_byte"] + low, rows[name]["bits_per_byte"] + high]
        else:
            rows[name]["behind"] = {"value": float(ahead.mean()), "interval": mean_interval(ahead, generator)}
    if archiver is not None:
        rows[ARCHIVER] = {"bits_per_byte": archiver}
    return {"num_judged": len(texts), "num_bytes": int(sizes.sum()), "num_tokens": int(num_tokens), "rows": rows}
