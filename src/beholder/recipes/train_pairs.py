"""`train_pairs`: two frozen towers and your own pairs of images and texts to one space (locked towers: Zhai et al.
2021, arXiv 2111.07991).

    beholder train pairs --data photos/ --out runs/pairs

Hardware: any CPU; images are looked at once, some tens a second and core, and training itself takes seconds. It ends
with recall on pairs held out, beside ridge regression and canonical correlation between the same towers, which had the
same choice of settings on the same validation pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.data.parallel import decoded
from beholder.data.sources import check_folder
from beholder.models.joined_maps import JoinedMaps
from beholder.models.pairs import PairMaps
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.pair_folder import save_pair_folder
from beholder.pretrained.towers import Towers, place_texts
from beholder.recipes.pair_maps import (
    RECALLS,
    Candidate,
    Pairs,
    PairsConfig,
    best,
    closed_form_candidates,
    joined_candidates,
    learned_candidates,
    recalls,
    take_apart,
)
from beholder.recipes.pair_source import read_pairs, text_of
from beholder.recipes.towers import open_towers
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import refuse_inside, told_kindly, write_whole
from beholder.runtime.log import Log, counted
from beholder.runtime.run_folder import RunFolder
from beholder.tokenizers.pixels import prepare
from beholder.types import Sample
from beholder.version import VERSION

_IMAGES_AT_ONCE = 16


def train_pairs(
    data: str | Path,
    *,
    out: str | Path,
    image: str = DEFAULT_PAIRS,
    text: str = DEFAULT_PAIRS,
    loss: Literal["softmax", "sigmoid"] | None = None,
    config: PairsConfig | None = None,
    group: str | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train on the folder's pairs, tell the recall on those held out, and write the run folder `out` with its `model/`:
    the trained maps, alone or joined with canonical correlation's, or those of a baseline where they were better on the
    validation part.

    `data`: images with a text each (`x.png` + `x.txt`, or a table with a column text, caption or captions), or with a
    class, whose name is then the text. `image` and `text` name the towers: "embedded", or what `load` opens. Splits
    that the data name are kept; otherwise, and with a `group` (a column of the table, or "folder"), a fifth is held out
    and a fifth validates, duplicates and groups together.
    Raises UserError for fewer than 20 pairs in a part, and for what the towers cannot be.
    """
    log, out, config = log or Log(quiet=True), Path(out), config or PairsConfig()
    config = config if loss is None else replace(config, loss=loss)
    config.check()
    check_folder(Path(data))  # before towers are looked for
    refuse_inside(out, Path(data))
    asked = {"recipe": "train_pairs", "data": str(data), "image": image, "text": text, "group": group, "seed": seed}
    picked = pick_device(device, threads)
    with RunFolder.open(out, {**asked, "config": to_json(config)}, log) as run:
        towers = open_towers(image, text)
        found = read_pairs(run, Path(data), Limits(max_pixels=max_pixels), picked, seed, log, group=group)
        samples, parts = found.samples, found.parts
        log.stage("Look", f"{counted(len(samples), 'image')} and their texts, each once: most of the time goes here")
        pairs = look_at_pairs(samples, towers, run.scratch("features"), Limits(max_pixels=max_pixels), picked, log)
        learned, asked_of, held_out = (
            pairs.part(np.flatnonzero(parts == name)) for name in ("train", "validation", "test")
        )

        def judge(maps: PairMaps | JoinedMaps) -> float:
            return recalls(maps, asked_of)["mean_recall"]

        results: dict[str, Any] = {"num_pairs": {n: int((parts == n).sum()) for n in ("train", "validation", "test")}}
        log.stage("Train", f"{len(learned.images):,} pairs, {config.num_steps:,} steps")
        made = {"locked": best(learned_candidates(learned, config, run.path / "checkpoints", picked, seed), judge)}
        apart = take_apart(learned)
        for kind in ("ridge", "cca"):
            made[kind] = best(closed_form_candidates(kind, *apart, config), judge)
        made["joined"] = best(joined_candidates(_plain(made["locked"]), _plain(made["cca"]), config), judge)
        for kind, (chosen, maps) in made.items():
            results[kind] = {**recalls(maps, held_out), "validation": judge(maps), "chosen": chosen}
        results["shipped"] = shipped = max(made, key=lambda kind: results[kind]["validation"])
        results["chance"] = {f"text_recall_at_{k}": min(1.0, k / len(held_out.texts)) for k in RECALLS}
        facts = {"made_by": f"beholder {VERSION} train_pairs", **asked, "held_out": results}
        with told_kindly(out):
            save_pair_folder(out / "model", towers, made[shipped][1], facts=facts, card=_card(results, asked))
        chance = "/".join(f"{results['chance'][f'text_recall_at_{k}']:.1%}" for k in RECALLS)
        log.stage(
            "Chance", f"recall at 1/5/10 of {results['num_pairs']['test']:,} held-out pairs by guessing: {chance}"
        )
        for kind in made:
            log.stage(kind.capitalize(), _sentence(results[kind]))
        log.stage("Model", f"{shipped}, the best on the validation part: {out / 'model'}")
        run.finish(results)
    return results


def _plain(candidate: Candidate) -> PairMaps:
    assert isinstance(candidate[1], PairMaps), candidate[0]
    return candidate[1]


def look_at_pairs(
    samples: Sequence[Sample], towers: Towers, folder: Path, limits: Limits, device: Device, log: Log
) -> Pairs:
    """Features of all pairs, each distinct text once; images' are kept in `folder`, so that they are seen once."""
    listed = list(dict.fromkeys(text_of(sample) for sample in samples))
    rows = {text: row for row, text in enumerate(listed)}
    towers.images.to(device.torch_device)
    towers.texts.to(device.torch_device)
    path = folder / "images.npy"
    if not path.exists():
        seen = []
        with log.progress("Look", len(samples)) as advance, torch.inference_mode():
            images = decoded(samples, limits, device.num_threads)
            for batch in iter(lambda: list(itertools.islice(images, _IMAGES_AT_ONCE)), []):
                seen.append(towers.images(prepare(batch, towers.pixels).to(device.torch_device)).cpu().numpy())
                advance(len(batch))
        with told_kindly(folder):
            write_whole(path, lambda temporary: _save(temporary, np.concatenate(seen)))
    texts = place_texts(towers.texts, towers.words, listed).cpu()
    texts_of = [np.array([rows[text_of(sample)]]) for sample in samples]
    return Pairs(torch.from_numpy(np.load(path)), texts, texts_of, towers.images.names is not None)


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as handle:
        np.save(handle, array)


def _sentence(told: Mapping[str, Any]) -> str:
    shown = []
    for name in ("text", "image"):
        shares = "/".join(f"{told[f'{name}_recall_at_{k}']:.1%}" for k in RECALLS)
        shown.append(f"{name} {shares}")
    return f"recall at 1/5/10: {', '.join(shown)}"


def _card(results: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    lines = [f"- {kind}: {_sentence(results[kind])}" for kind in ("joined", "locked", "ridge", "cca")]
    return (
        "# Images and texts in one space\n\n"
        f"Maps ({results['shipped']}) on top of two frozen towers (images: {asked['image']}; texts: {asked['text']}), "
        f"trained on {asked['data']} by beholder {VERSION}, `train_pairs`.\n\n"
        f"On {results['num_pairs']['test']:,} pairs held out:\n\n" + "\n".join(lines) + "\n"
    )
