"""Truths of the stages of `tune`: scores, blends, verdicts, what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from bundles import CPU
from safetensors.torch import load_file
from spellings import BEGIN, END, save_pairs
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel
from tuning import SIDE, write_general, write_own

from beholder.data.pairs import TextRows
from beholder.metrics.classification import balanced_accuracy
from beholder.metrics.retrieval import match_ranks, recall_at
from beholder.models.conv import PRESETS, EfficientNetLite, EfficientNetLiteConfig
from beholder.models.pairs import (
    ConvexNames,
    FrozenImages,
    FrozenTexts,
    LockedPair,
    NamedClasses,
    NamedClassesConfig,
    PairMaps,
    PairMapsConfig,
)
from beholder.pretrained.huggingface.foreign import Foreign, load_foreign
from beholder.pretrained.load import load
from beholder.pretrained.pair_folder import save_pair_folder
from beholder.pretrained.towers import Towers
from beholder.recipes.tune import tune
from beholder.recipes.tune.blend import Blends
from beholder.recipes.tune.judge import verdict
from beholder.recipes.tune.learn import make_objective, steps_for
from beholder.recipes.tune.score import Outcome, ask, compare, tell
from beholder.recipes.tune.sets import Asked, side_of
from beholder.recipes.tune.ship import as_locked_pair, open_model, save_model
from beholder.recipes.tune.tunable import make_tunable
from beholder.runtime.files import read_json, write_json
from beholder.tasks.shared_space import open_space
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import UserError

PLAIN = PixelConfig(size=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Points(nn.Module):
    """A model whose points are its pixels' first values, and its texts' numbers."""

    def __init__(self, texts: Tensor) -> None:
        super().__init__()
        self.texts = texts
        self.logit_scale, self.logit_bias = torch.tensor(1.0), None

    def encode_images(self, pixels: Tensor) -> Tensor:
        return F.normalize(pixels.flatten(1)[:, : self.texts.shape[1]] - 0.5, dim=1)

    def encode_texts(self, tokens: Tensor, is_real: Tensor | None = None) -> Tensor:
        return F.normalize(self.texts[tokens[:, 0]], dim=1)


def question(*, has_classes: bool, num_texts: int = 7, count: int = 40) -> tuple[Points, Asked]:
    generator = np.random.default_rng(0)
    model = Points(torch.from_numpy(generator.normal(size=(num_texts, 5))).float())
    pixels = generator.integers(0, 256, (count, 3, 4, 4)).astype(np.uint8)
    text_of = np.arange(count) % num_texts
    wordings = [TextRows(torch.arange(num_texts)[:, None])]
    return model, Asked(pixels, wordings, text_of, np.arange(count) // 2, has_classes)


class TestScores:
    def test_classes_are_scored_by_balanced_accuracy_under_any_weights(self) -> None:
        model, asked = question(has_classes=True)
        asked = Asked(asked.pixels[:31], asked.wordings, asked.text_of[:31], asked.groups[:31], True)
        outcome = ask(model, asked, PLAIN, CPU)
        points = model.encode_images(torch.from_numpy(asked.pixels).float() / 255)
        scores = (points @ model.encode_texts(torch.arange(7)[:, None]).T).numpy()
        weights = np.random.default_rng(1).integers(0, 3, (5, 16)).astype(float)
        expected = balanced_accuracy(scores.astype(float), asked.text_of, weights[:, asked.groups])
        assert outcome.scores(weights) == pytest.approx(expected)

    def test_pairs_are_scored_by_the_mean_of_six_recalls(self) -> None:
        model, asked = question(has_classes=False, num_texts=20)
        outcome = ask(model, asked, PLAIN, CPU)
        images = model.encode_images(torch.from_numpy(asked.pixels).float() / 255)
        scores = (images @ model.encode_texts(torch.arange(20)[:, None]).T).numpy()
        is_match = asked.text_of[:, None] == np.arange(20)
        ranks = match_ranks(scores, is_match), match_ranks(scores.T, is_match.T)
        assert outcome.score == pytest.approx(np.mean([recall_at(one, k) for one in ranks for k in (1, 5, 10)]))

    def test_a_change_is_paired(self) -> None:
        """Two models that err alike differ surely, whatever the images; their own scores are not sure."""
        generator = np.random.default_rng(2)
        right = generator.random(200) < 0.5
        better = right.copy()
        better[np.flatnonzero(~right)[:20]] = True
        nothing = np.zeros(200, np.int64)
        before, after = (Outcome(one.astype(float), nothing, np.arange(200)) for one in (right, better))
        told: Any = compare(before, after, 0)
        assert told["difference"] == pytest.approx(0.1) and told["interval"][0] > 0.05
        own: Any = tell(before, 0)
        assert own["interval"][1] - own["interval"][0] > told["interval"][1] - told["interval"][0]
        assert compare(before, before, 0) == {"difference": 0.0, "interval": [0.0, 0.0]}

    def test_groups_make_it_less_sure(self) -> None:
        right = (np.random.default_rng(3).random(200) < 0.5).repeat(2).astype(float)
        nothing = np.zeros(400, np.int64)
        alone: Any = tell(Outcome(right, nothing, np.arange(400)), 0)
        together: Any = tell(Outcome(right, nothing, np.arange(400) // 2), 0)
        assert np.ptp(together["interval"]) > 1.2 * np.ptp(alone["interval"])


class TestBlends:
    shares = (0.0, 0.5, 1.0)

    def test_the_sum_decides_and_of_equals_the_smaller_share(self) -> None:
        assert Blends(self.shares, (0.2, 0.5, 0.6), (0.8, 0.8, 0.4)).choose(None) == 0.5
        assert Blends(self.shares, (0.2, 0.3, 0.4), (0.8, 0.7, 0.6)).choose(None) == 0.0
        assert Blends(self.shares, (0.2, 0.3, 0.4), None).choose(None) == 1.0
        assert Blends((0.0,), (0.2,), (0.4,)).choose(None) == 0.0

    @pytest.mark.parametrize(("may_lose", "share"), [(0.0, 0.0), (5.0, 0.5), (19.0, 0.5), (20.0, 1.0)])
    def test_a_bounded_loss_bounds_it(self, may_lose: float, share: float) -> None:
        assert Blends(self.shares, (0.2, 0.5, 0.6), (0.8, 0.75, 0.6)).choose(may_lose) == share


def scored(before: float, after: float, low: float, high: float) -> dict[str, Any]:
    ends = {"value": after, "interval": [0.0, 1.0]}
    change = {"difference": after - before, "interval": [low, high]}
    return {
        "metric": "mean recall", "before": {"value": before, "interval": [0.0, 1.0]}, "tuned": ends, "shipped": ends,
        "change": change, "change_tuned": change,
    }  # fmt: skip


class TestVerdicts:
    def test_both_are_told_side_by_side(self) -> None:
        general = scored(0.5, 0.48, -0.05, -0.01)
        told = verdict({"own": scored(0.2, 0.5, 0.2, 0.4), "general": general, "share": 0.6, "vetoed": None}, None)
        assert told["outcome"] == "helped"
        assert told["sentence"] == "Your own score rose by 30.0 points; the general one fell by 2.0 points."
        assert "60% of what was learned is shipped" in told["aside"] and "-5.0 to -1.0" in told["aside"]

    def test_a_gain_that_may_be_chance_is_called_so(self) -> None:
        told = verdict({"own": scored(0.2, 0.25, -0.1, 0.2), "general": None, "share": 1.0, "vetoed": None}, None)
        assert told["outcome"] == "no difference" and "may be chance" in told["sentence"]
        assert "not known what is forgotten" in told["aside"]

    def test_why_nothing_changed_is_told(self) -> None:
        same = scored(0.2, 0.2, 0.0, 0.0)
        for share, vetoed, stopped, said in (
            (0.0, None, None, "nothing that was learned was worth"),
            (0.0, 0.7, None, "70%"),
            (0.0, None, "Training diverged at step 3.", "diverged at step 3"),
        ):
            told = verdict({"own": same, "general": same, "share": share, "vetoed": vetoed}, stopped)
            assert told["sentence"] == "The model is returned as it was." and said in told["aside"]


def test_more_images_take_more_steps_within_bounds() -> None:
    steps = [steps_for(count) for count in (20, 240, 800, 10**6)]
    assert steps == sorted(steps) and steps[0] >= 40 and steps[-1] <= 400


def test_a_model_that_sees_pictures_of_many_shapes_is_refused() -> None:
    assert side_of(PixelConfig(size=256, fit="shortest", crop=224)) == 224 == side_of(PixelConfig(size=224))
    for pixels in (PixelConfig(fit="none"), PixelConfig(size=224, fit="shortest"), PixelConfig(size=(32, 48))):
        with pytest.raises(UserError, match="as one square"):
            side_of(pixels)


def reader(folder: Path) -> Foreign:
    """A tiny reader of sentences with random weights."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "left", "right", "red", "green", "blue"]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=32,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    return load_foreign(folder)


def convex(words: Foreign) -> ConvexNames:
    debug = PRESETS["debug"]
    torch.manual_seed(1)
    shape = EfficientNetLiteConfig(debug.stem_width, debug.stages, debug.map_stages, debug.summary_width, num_classes=7)
    names = NamedClasses(NamedClassesConfig(7, 24, 3))
    names.points.copy_(F.normalize(torch.randn(7, 24), dim=1))
    model: Any = words.model
    return ConvexNames(EfficientNetLite(shape).eval(), model, names)


def test_names_without_maps_are_a_pair_with_maps_that_move_nothing(tmp_path: Path) -> None:
    words = reader(tmp_path)
    model, pixels = convex(words), torch.randn(3, 3, 32, 32)
    locked, tokens = as_locked_pair(model), words.need_words().encode(["a red photo", "left"])
    torch.testing.assert_close(locked.encode_images(pixels), model.encode_images(pixels), rtol=1e-4, atol=1e-5)
    ours, theirs = (one.encode_texts(tokens.numbers, tokens.is_real) for one in (locked, model))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert float(locked.logit_scale) == pytest.approx(float(model.logit_scale))


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder of maps between two towers that are in it, with the point of class names among the image's features."""
    words = reader(tmp_path / "reader")
    built = convex(words)
    images, texts = FrozenImages(built.backbone.folded(), built.names), FrozenTexts(built.reader)
    maps = PairMaps(PairMapsConfig(images.width, 24, 24, is_anchored=True))
    towers = Towers(images, texts, PixelConfig(size=SIDE), words.need_words())
    save_pair_folder(tmp_path / "pair", towers, maps, facts={}, card="# A card\n")
    return tmp_path / "pair"


def test_towers_with_names_come_back_from_their_folder(pair: Path, tmp_path: Path) -> None:
    loaded = load(pair)
    assert isinstance(loaded, Foreign) and isinstance(loaded.model, LockedPair)
    built, pixels = convex(reader(tmp_path / "again")), torch.randn(2, 3, SIDE, SIDE)
    torch.testing.assert_close(loaded.model.encode_images(pixels), built.encode_images(pixels), rtol=1e-3, atol=1e-4)


def test_both_towers_of_a_pair_are_tuned_and_kept(pair: Path, tmp_path: Path) -> None:
    first, space = open_model(pair, CPU)
    before, pixels = load_file(pair / "model.safetensors"), torch.randn(2, 3, SIDE, SIDE)
    tunable = make_tunable(space, 2, seed=0)
    for name, value in tunable.learning.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(value, std=0.1)
    for share, changed in ((1.0, {"image", "text", "maps"}), (0.0, set())):
        expected = tunable.at(share).place_texts(["left", "a photo of a red right"])
        seen = tunable.space.model.encode_images(pixels)
        save_model(tmp_path / "tuned", first, tunable.plain, {"share": share}, "# A card\n")
        after = load_file(tmp_path / "tuned" / "model.safetensors")
        assert before.keys() == after.keys()
        assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == changed
        loaded = load(tmp_path / "tuned")
        assert isinstance(loaded, Foreign) and loaded.values["facts"] == {"share": share}
        torch.testing.assert_close(open_space(loaded, CPU).place_texts(["left", "a photo of a red right"]), expected)
        torch.testing.assert_close(open_space(loaded, CPU).model.encode_images(pixels), seen)


def test_a_pair_goes_through_the_whole_run(pair: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"guard": write_general(tmp_path / "general"), "steps": 6, "lr": 5e-3, "threads": 1}
    results = tune(pair, data=write_own(tmp_path / "own"), out=tmp_path / "run", **options)
    loaded = load(tmp_path / "run")
    assert isinstance(loaded, Foreign) and loaded.kind == "pairs"
    assert loaded.values["facts"]["share"] == results["shipped"]["share"]


def test_single_pairs_are_learned_by_the_loss_of_single_pairs(pair: Path) -> None:
    _, space = open_model(pair, CPU)
    assert make_objective(space, CPU).config.kind == "softmax"
    maps: Any = cast(LockedPair, space.model).maps
    maps.logit_bias = nn.Parameter(torch.tensor(-10.0))
    assert make_objective(space, CPU).config.kind == "sigmoid"


def test_a_model_that_is_handed_over_stays_as_it_is(pair: Path, tmp_path: Path) -> None:
    mine = load(pair)
    assert isinstance(mine, Foreign)
    before = {name: value.clone() for name, value in mine.model.state_dict().items()}
    _, space = open_model(mine, CPU)
    tunable = make_tunable(space, 2, seed=0)
    for name, value in tunable.learning.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(value)
    tunable.at(1.0)
    assert all(torch.equal(value, before[name]) for name, value in mine.model.state_dict().items())
    assert all(not value.requires_grad for value in mine.model.parameters())


def test_siglip_is_tuned_by_its_own_loss(tmp_path: Path) -> None:
    """Texts filled up to the longest, no mask, a scale above a hundred that stays."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    folder = save_pairs(tmp_path / "siglip", (BEGIN, END), "</w>")
    shape = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 3}
    size = len(read_json(folder / "vocab.json"))
    text = {**shape, "vocab_size": size, "max_position_embeddings": 24, "projection_size": 24}
    image = {**shape, "image_size": SIDE, "patch_size": 8}
    torch.manual_seed(0)
    reference = SiglipModel(SiglipConfig(text_config=text, vision_config=image))
    reference.logit_scale.data.fill_(4.77)
    reference.save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "pad_token": END})
    results = tune(
        folder, data=write_own(tmp_path / "own"), out=tmp_path / "run", steps=15, lr=5e-3, threads=1, device="cpu"
    )  # fmt: skip
    losses = [loss for _, loss in results["tuning"]["losses"]]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert float(after["logit_scale"]) == pytest.approx(4.77)
    reopened = SiglipModel.from_pretrained(tmp_path / "run" / "model")
    assert reopened.config.vision_config.image_size == SIDE
