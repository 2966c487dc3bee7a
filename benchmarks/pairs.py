"""Images and texts without a hub: what do maps trained on two small sets gain on sets that they have never seen?

    python benchmarks/pairs.py --data DATA --cache CACHE --out pairs.json [--ship FOLDER]

EfficientNet-Lite0 and MiniLM stay as they are. Compared: ConSE (Norouzi et al. 2013, arXiv 1312.5650) as published and
tempered, ridge regression, canonical correlation, and `LockedPair`. Learned from: openclipart_mini (drawings with
titles and keywords; public domain) and caltech101_mini (photos of 100 classes; CC BY 4.0). Settings are chosen on parts
of these two alone: photos after learning from drawings only, classes held out, drawings of authors held out. Then,
once, three sets that nothing was learned or chosen from: cifar10_mini (test part, 10 names), flickr8k_mini (900 photos,
4,500 captions), openmoji_mini (1,923 emoji and their names).
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from beholder.data.decode import Limits, decode
from beholder.models.heads import describe
from beholder.models.pairs import NamedClasses, PairMaps, PairMapsConfig
from beholder.pretrained.pair_folder import save_pair_folder
from beholder.pretrained.towers import Towers, embedded_towers, place_texts
from beholder.recipes.pair_maps import (
    Candidate,
    Pairs,
    PairsConfig,
    closed_form_candidates,
    learned_candidates,
    recalls,
    take_apart,
)
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import read_json, write_json
from beholder.tokenizers.pixels import prepare
from beholder.train.closed_form import Decomposed
from beholder.types import Sample
from beholder.version import VERSION

SEEDS = (0, 1, 2)
UNSEEN = ("cifar10_mini", "flickr8k_mini", "openmoji_mini")
FRESH = ("cifar10_train",)
"""Looked at after the kind that ships was chosen by the three: other pictures, the same names."""
BASES = ("ConSE, tempered and centred", "ConSE as published")
BASE = PairsConfig(num_steps=80, dropouts=(0.5, 0.8), strengths=(0.03, 0.3, 3.0), correlation_widths=(128, 384))
KINDS = ("locked image", "locked", "ridge", "cca")
SHIPPED = "locked"
Maker = Callable[[int], PairMaps]
"""From a seed to maps."""
_AT_ONCE = 16
_APART: dict[int, tuple[Decomposed, Decomposed]] = {}
"""Training sets taken apart, by their id: both baselines begin with it."""


@dataclass(frozen=True)
class Set:
    """One set as the towers see it."""

    pairs: Pairs
    logits: torch.Tensor
    groups: np.ndarray
    """What is held out together: a class, or an author."""


def read_set(name: str, data: Path, cache: Path, towers: Towers) -> Set:
    """Features from the cache, or made and put there."""
    data = data / name.replace("_train", "_mini")
    rows = [json.loads(line) for line in (data / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    if name.startswith("cifar10"):
        rows = [row for row in rows if row["split"] == ("train" if name == "cifar10_train" else "test")]
    texts_of, groups = zip(*(_texts(name, row) for row in rows), strict=True)
    listed = list(dict.fromkeys(text for texts in texts_of for text in texts))
    place = {text: index for index, text in enumerate(listed)}
    names = towers.images.names
    assert names is not None
    images, words = cache / f"{name}.npz", cache / f"{name}-texts.npy"
    if not images.exists():
        features, logits = _look([data / row["file_name"] for row in rows], towers)
        np.savez(images, feats=features, logits=logits)
    if not words.exists():
        np.save(words, place_texts(towers.texts, towers.words, listed).numpy())
    with np.load(images) as arrays:
        features, logits = torch.from_numpy(arrays["feats"]), torch.from_numpy(arrays["logits"])
    whole = torch.cat([features, names(logits)], dim=1)
    numbers = [np.array([place[text] for text in texts]) for texts in texts_of]
    hashes = np.array([zlib.crc32(group.encode()) for group in groups])
    return Set(Pairs(whole, torch.from_numpy(np.load(words)), numbers, True), logits, hashes)


def _texts(name: str, row: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """The texts of one image, and its group."""
    if name == "openclipart_mini":
        title, author = row["title"] or row["text"], row["author"].lower()
        keywords = ", ".join(word for word in row["keywords"] if author not in word.lower())
        return (title, f"{title}, {keywords}"), row["author"]
    if name == "flickr8k_mini":
        return tuple(row["captions"]), row["file_name"]
    text = row["text"] if name == "openmoji_mini" else row["label"].replace("_", " ").lower()
    return (text,), row.get("label", row["file_name"])


@torch.inference_mode()
def _look(paths: list[Path], towers: Towers) -> tuple[np.ndarray, np.ndarray]:
    features, logits, backbone = [], [], towers.images.backbone
    for first in range(0, len(paths), _AT_ONCE):
        batch = [decode(Sample(str(path), path), Limits(min_side=1)) for path in paths[first : first + _AT_ONCE]]
        outputs = backbone(prepare(batch, towers.pixels))
        features.append(torch.cat([describe(outputs), outputs.summary], dim=1).numpy())
        logits.append(backbone.classify(outputs).numpy())  # pyright: ignore[reportCallIssue]
    return np.concatenate(features), np.concatenate(logits)


def merge(*parts: Pairs) -> Pairs:
    """Several sets as one."""
    starts = np.cumsum([0, *(len(part.texts) for part in parts)])
    texts_of = [rows + start for part, start in zip(parts, starts[:-1], strict=True) for rows in part.texts_of]
    return Pairs(torch.cat([one.images for one in parts]), torch.cat([one.texts for one in parts]), texts_of, True)


def untrained(pairs: Pairs, *, is_centred: bool) -> PairMaps:
    """ConSE as maps that move nothing."""
    width = pairs.texts.shape[1]
    maps = PairMaps(PairMapsConfig(pairs.images.shape[1], width, width, has_text_map=False, is_anchored=True)).eval()
    if is_centred:
        maps.text_mean.copy_(pairs.texts.mean(0))
    return maps.requires_grad_(False)


def hits(maps: PairMaps, pairs: Pairs, k: int) -> np.ndarray:
    """For each image, whether one of its texts is among the k nearest of all."""
    with torch.inference_mode():
        scores = maps.encode_images(pairs.images) @ maps.encode_texts(pairs.texts).T
    nearest = scores.topk(k, dim=1).indices.numpy()
    return np.array([bool(np.isin(row, own).any()) for row, own in zip(nearest, pairs.texts_of, strict=True)])


def candidates(kind: str, pairs: Pairs, device: Device, seed: int, folder: Path) -> Iterator[Candidate]:
    """Maps of one kind, for every setting, always in the same order."""
    if kind == "ridge" or kind == "cca":
        plain: Literal["ridge", "cca"] = "ridge" if kind == "ridge" else "cca"
        if id(pairs) not in _APART:
            _APART[id(pairs)] = take_apart(pairs)
        yield from closed_form_candidates(plain, *_APART[id(pairs)], BASE)
        return
    config = replace(BASE, has_text_map=kind == "locked")
    yield from learned_candidates(pairs, config, folder / kind.replace(" ", "-"), device, seed)


def choose(clip: Set, photos: Set, device: Device) -> dict[str, dict[str, Any]]:
    """For each kind the number of its best setting, judged on parts of the training sets that its maps did not see."""
    is_clip, is_photo = clip.groups % 5 != 0, photos.groups % 5 != 0
    learned = merge(clip.pairs.part(np.flatnonzero(is_clip)), photos.pairs.part(np.flatnonzero(is_photo)))
    held_clip = clip.pairs.part(np.flatnonzero(~is_clip))
    held_photos = replace(photos.pairs, images=photos.pairs.images[~is_photo],
                          texts_of=[photos.pairs.texts_of[int(row)] for row in np.flatnonzero(~is_photo)])  # fmt: skip

    def judged(first: PairMaps, second: PairMaps) -> np.ndarray:
        """Photos after drawings; classes held out, among all names; drawings of authors held out."""
        accuracy, held = hits(first, photos.pairs, 1).mean(), hits(second, held_photos, 1).mean()
        return np.array([accuracy, held, recalls(second, held_clip)["mean_recall"]])

    base = untrained(learned, is_centred=True)
    floor, chosen = judged(base, base), {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            pairs = zip(
                candidates(kind, clip.pairs, device, 0, Path(folder) / "a"),
                candidates(kind, learned, device, 0, Path(folder) / "b"),
                strict=True,
            )
            tried = [(settings, judged(first, second)) for (settings, first), (_, second) in pairs]
        ratios = [float((told / floor).mean()) for _, told in tried]
        number = int(np.argmax(ratios))
        settings, told = tried[number]
        chosen[kind] = {"number": number, "settings": settings, "validation": told.tolist(), "ratio": ratios[number]}
        print(f"{kind}: {settings}, on validation parts {told.round(3)} against ConSE's {floor.round(3)}", flush=True)
    return chosen


def interval(values: np.ndarray, seed: int = 0) -> list[float]:
    """Mean, and its 95 % interval over redrawn images, in percent."""
    generator = np.random.default_rng(seed)
    draws = values[generator.integers(0, len(values), (2000, len(values)))].mean(1)
    return [round(100 * float(one), 2) for one in (values.mean(), *np.percentile(draws, [2.5, 97.5]))]


def judge_unseen(makers: dict[str, Maker], sets: dict[str, Set], sharp: NamedClasses) -> dict[str, Any]:
    """Every method on every set: hits of each image, mean over seeds; and the differences to `BASES`."""
    table: dict[str, Any] = {name: {} for name in makers}
    seen = {name: [make(seed) for seed in SEEDS] for name, make in makers.items()}
    for set_name, one in sets.items():
        k, pairs = 1 if set_name.startswith("cifar10") else 10, one.pairs
        published = torch.cat([pairs.images[:, : -pairs.texts.shape[1]], sharp(one.logits)], dim=1)
        asked = {name: replace(pairs, images=published) if name == BASES[1] else pairs for name in makers}
        rows = {name: np.mean([hits(maps, asked[name], k) for maps in made], axis=0) for name, made in seen.items()}
        for name, row in rows.items():
            told: dict[str, Any] = {"k": k, "hits": interval(row)}
            told |= {f"gain over {base}": interval(row - rows[base]) for base in BASES}
            if k > 1:
                found = recalls(seen[name][0], asked[name])
                told["recalls"] = {key: round(100 * value, 2) for key, value in found.items()}
            table[name][set_name] = told
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ship", type=Path)
    parser.add_argument("--fresh", action="store_true", help="ask the fresh set too")
    parser.add_argument("--chosen", type=Path, help="an earlier --out, whose settings are taken")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    device, towers = pick_device("cpu", options.threads), embedded_towers()
    options.cache.mkdir(parents=True, exist_ok=True)

    def read(name: str) -> Set:
        return read_set(name, options.data, options.cache, towers)

    clip, photos = read("openclipart_mini"), read("caltech101_mini")
    everything = merge(clip.pairs, photos.pairs)
    chosen = read_json(options.chosen)["chosen"] if options.chosen else choose(clip, photos, device)

    def maker(kind: str) -> Maker:
        def make(seed: int) -> PairMaps:
            with tempfile.TemporaryDirectory() as folder:
                made = candidates(kind, everything, device, seed, Path(folder))
                return next(itertools.islice(made, chosen[kind]["number"], None))[1]

        if kind in ("ridge", "cca"):
            made = make(0)
            return lambda seed: made
        return make

    sharp = NamedClasses(replace(towers.images.names.config, temperature=1.0))  # type: ignore[union-attr]
    sharp.points.copy_(towers.images.names.points)  # type: ignore[union-attr]
    unseen = {name: read(name) for name in (*UNSEEN, *(FRESH if options.fresh else ()))}
    plain, centred = untrained(everything, is_centred=False), untrained(everything, is_centred=True)
    makers: dict[str, Maker] = {BASES[1]: lambda seed: plain, BASES[0]: lambda seed: centred}
    makers |= {kind: maker(kind) for kind in KINDS}
    table = judge_unseen(makers, unseen, sharp)
    for name, row in table.items():
        print(name, *(f"{place}: {one['hits']} {one[f'gain over {BASES[0]}']}" for place, one in row.items()), sep="  ")
    versions = {
        "beholder": VERSION,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    results = {"chosen": chosen, "unseen": table, "seeds": SEEDS, "versions": versions}
    write_json(options.out, results)
    if options.ship is not None:
        facts = {"made_by": "benchmarks/pairs.py", "kind": SHIPPED, **results}
        maps = maker(SHIPPED)(SEEDS[0])
        card = options.ship / "README.md"  # written by hand: what the figures mean is not for a script to say
        told = card.read_text(encoding="utf-8") if card.is_file() else ""
        save_pair_folder(options.ship, towers, maps, facts=facts, card=told, is_small=True)


if __name__ == "__main__":
    main()
