"""A search tells what the towers say: its cosines are those of `similarity`, and both queries of a pair decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from pictures import draw, write_classes
from PIL import Image
from torch.nn import functional as F
from towers import save_clip

import beholder
from beholder.data.decode import Limits
from beholder.data.sources import read_source
from beholder.index.table import VectorTable
from beholder.index.vectors import VectorIndex
from beholder.models.vit import PRESETS, ViT
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.tasks.embed import embed
from beholder.tasks.search import Finder, identify, open_finder, search
from beholder.tasks.similarity import similarity
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import Sample, UserError


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    folder = tmp_path_factory.mktemp("clip")
    save_clip(folder)
    loaded = beholder.load(folder)
    assert isinstance(loaded, Foreign)
    return loaded


@pytest.fixture(scope="module")
def finder(clip: Foreign) -> Finder:
    return open_finder(clip, "clip", CPU)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", 20)


def fill(finder: Finder, photos: Path, path: Path) -> VectorIndex:
    placed = list(finder.place_samples(read_source(photos).samples, Limits(), 2))
    points = [one.point for one in placed if one.point is not None]
    table = VectorTable.create(path, len(points[0]), {})
    table.add({one.key: "" for one in placed}, torch.stack(points))
    return VectorIndex(table)


def test_scores_are_the_cosines_that_similarity_tells(finder: Finder, photos: Path, tmp_path: Path) -> None:
    assert finder.space is not None
    text = "a cracked solar cell"
    answers = search(fill(finder, photos, tmp_path / "index"), 20, text=finder.place_text(text))
    told = {one.key: one.score for one in similarity(finder.space, [photos / one.key for one in answers], [text])}
    assert [one.score for one in answers] == pytest.approx([told[str(photos / one.key)] for one in answers], abs=1e-3)
    assert [one.score for one in answers] == sorted((one.score for one in answers if one.score), reverse=True)
    assert all(one.details == {"text": one.score} for one in answers)


def test_a_picture_finds_itself_first_with_a_cosine_of_one(finder: Finder, photos: Path, tmp_path: Path) -> None:
    point = finder.place_picture(photos / "along" / "0007.png", Limits())
    first, second, *_ = search(fill(finder, photos, tmp_path / "index"), 3, like=point)
    assert first.key == "along/0007.png"
    assert first.score == pytest.approx(1, abs=1e-3) and first.score <= 1
    assert second.score is not None and second.score < first.score


def test_a_text_and_a_picture_together_both_decide(tmp_path: Path) -> None:
    """Cosines with texts differ a hundred times less than those with pictures; the order hangs on both all the same."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 16, generator=generator) * torch.tensor([3.0, 0.03] + [0.1] * 13 + [10.0])
    rows = F.normalize(rows, dim=1)
    picture, text = torch.eye(16)[0], F.normalize(torch.eye(16)[1] + torch.eye(16)[15], dim=0)
    picture = F.normalize(picture + 0.01 * torch.randn(16, generator=generator), dim=0)
    text = torch.eye(16)[1]
    table = VectorTable.create(tmp_path, 16, {})
    table.add({str(number): "" for number in range(400)}, rows)
    answers = search(VectorIndex(table), 400, text=text, like=picture)
    order = torch.tensor([int(one.key) for one in answers])
    for name, point in (("text", text), ("like", picture)):
        cosines = (rows @ point)[order]
        assert [one.details[name] for one in answers] == pytest.approx(cosines.tolist(), abs=1e-3)
        places = torch.corrcoef(torch.stack([-torch.arange(400.0), cosines.argsort().argsort().float()]))
        assert float(places[0, 1]) > 0.4, name


def test_samples_are_placed_as_the_space_places_images(finder: Finder, photos: Path) -> None:
    assert finder.space is not None
    (photos / "torn.png").write_bytes((photos / "along" / "0001.png").read_bytes()[:60])
    source = read_source(photos)
    placed = list(finder.place_samples(source.samples, Limits(), 3))
    paths = [sample.path for sample in source.samples if sample.path is not None]
    expected = list(finder.space.place_images(paths))
    assert [one.key for one in placed] == [sample.key for sample in source.samples]
    assert [one.refused for one in placed] == [one.refused for one in expected]
    assert sum(one.refused is not None for one in placed) == 1
    for ours, theirs in zip(placed, expected, strict=True):
        if theirs.point is not None:
            assert ours.point is not None
            assert torch.allclose(ours.point, theirs.point, atol=1e-5)


class TestOtherModels:
    def test_a_model_that_adapt_made_searches_by_picture_alone(self, photos: Path) -> None:
        bundle = random_bundle()
        finder = open_finder(bundle, "mine", CPU)
        path = photos / "along" / "0001.png"
        (embedded,) = embed(bundle, [path], CPU)
        assert embedded.embedding is not None
        point = finder.place_picture(path, Limits())
        assert torch.allclose(point, F.normalize(embedded.embedding, dim=0), atol=1e-5)
        with pytest.raises(UserError, match=r"mine reads no texts; search by a picture \(--like IMAGE\)"):
            finder.place_text("a cell")

    def test_a_backbone_without_texts_searches_by_its_summary(self) -> None:
        torch.manual_seed(0)
        vit = ViT(PRESETS["debug"]).eval().requires_grad_(False)
        foreign = Foreign("vit", vit, vit.config, PixelConfig(16), None, Path("somewhere"))
        finder = open_finder(foreign, "vit", CPU)
        points = finder.place_arrays([draw(np.random.default_rng(0), kind) for kind in range(3)])
        assert points.shape == (3, 32)
        assert torch.allclose(points.norm(dim=1), torch.ones(3))

    def test_a_model_of_texts_alone_is_refused(self) -> None:
        foreign = Foreign("gpt2", torch.nn.Linear(2, 2), None, None, None, Path("somewhere"))
        with pytest.raises(UserError, match="has no towers for images and texts"):
            open_finder(foreign, "gpt2", CPU)

    def test_points_that_are_no_numbers_are_refused_and_the_others_go_on(self, photos: Path) -> None:
        def place(images: object) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0], [torch.nan, 0.0]])

        samples = [Sample("a", photos / "along" / "0001.png"), Sample("b", photos / "along" / "0003.png")]
        first, second = Finder("odd", "", place).place_samples(samples, Limits(), 1)
        assert first.refused is None
        assert second.point is None and second.refused == "the model makes no finite point of it"


class TestIdentity:
    def test_it_is_that_of_weights_and_preprocessing(self, clip: Foreign) -> None:
        first = open_finder(clip, "clip", CPU).identity
        assert open_finder(clip, "another name", CPU).identity == first
        assert clip.pixels is not None
        other = Foreign(**{**vars(clip), "pixels": PixelConfig(24, mean=(0.1, 0.2, 0.3))})
        assert open_finder(other, "clip", CPU).identity != first

    def test_one_changed_weight_is_another_model_and_a_head_is_not(self) -> None:
        first = open_finder(random_bundle(), "a", CPU).identity
        assert open_finder(random_bundle(labels=()), "a", CPU).identity == first
        bundle = random_bundle()
        bundle.model.embedder.projection.components[0, 0] += 1e-3
        assert open_finder(bundle, "a", CPU).identity != first

    def test_scalars_and_halves_count_too(self) -> None:
        module = torch.nn.Module()
        module.register_buffer("scale", torch.tensor(2.0))
        module.register_buffer("narrow", torch.ones(3, dtype=torch.bfloat16))
        first = identify(module, {})
        module.get_buffer("scale").fill_(2.5)
        assert identify(module, {}) != first


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("words.png", "no picture", "not an image"), ("empty.png", "", "empty file"), ("none.png", None, "no such file")],
)
def test_a_picture_to_search_by_that_cannot_be_read_is_told(
    finder: Finder, tmp_path: Path, name: str, content: str | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"--like .*{name} cannot be read .{reason}"):
        finder.place_picture(tmp_path / name, Limits())


def test_a_picture_may_be_given_as_it_is(finder: Finder, photos: Path) -> None:
    path = photos / "along" / "0001.png"
    expected = finder.place_picture(path, Limits())
    pixels = np.asarray(Image.open(path).convert("RGB"))
    for image in (str(path), Image.open(path), pixels):
        assert torch.allclose(finder.place_picture(image, Limits()), expected, atol=1e-6)
