"""Pictures of what a text says: the model's own are drawn, the best come first, and the file says what it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import CPU
from sentences import save_codec, save_drawer

import beholder
from beholder.cli.main import main
from beholder.inference.sampling import SamplingConfig
from beholder.models.lvm import TRUNKS
from beholder.models.maskgit import MaskGIT, MaskGITConfig
from beholder.pretrained.part_folder import MASKED, Part, load_part, save_part
from beholder.recipes.text_to_image.reranker import build_reranker, pixels_of, save_reranker
from beholder.tasks.captioned_pictures import CaptionedPictures, open_captioned
from beholder.tasks.generate import DrawingConfig, generate
from beholder.tasks.provenance import read_origin
from beholder.tasks.shared_space import SharedSpace
from beholder.tokenizers.captions import as_words
from beholder.types import UserError


@pytest.fixture(scope="module", params=["causal", "encoder-decoder"])
def part(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Part:
    """With a reranker of its own."""
    place = tmp_path_factory.mktemp("parts")
    saved = save_drawer(place / "draw" / "model", save_codec(place / "tok"), request.param)
    words = as_words(saved.need_captions())
    torch.manual_seed(0)
    space = SharedSpace(build_reranker("debug", 16, words, 0), pixels_of(16), words, CPU)
    save_reranker(space, saved.source / "reranker")
    return saved


@pytest.fixture(scope="module")
def drawer(part: Part) -> CaptionedPictures:
    return open_captioned(part, CPU)


class TestDrawing:
    def test_what_is_drawn_is_what_the_model_says_comes_next(self, drawer: CaptionedPictures) -> None:
        found = drawer.draw(["a red block"], SamplingConfig(temperature=0.0))[0]
        grammar = drawer.grammar
        tokens = [*(drawer.captions.encode(["a red block"])[0] + grammar.num_codes + 1).tolist(), grammar.begin]
        for _ in range(16):  # without a cache; only codes
            with torch.no_grad():
                tokens.append(int(drawer.model(torch.tensor([tokens]))[0, -1, :16].argmax()))
        assert found.tolist() == tokens[-16:]

    def test_a_row_is_drawn_beside_others_as_alone_however_many_at_once(self, drawer: CaptionedPictures) -> None:
        texts = ["a red block", "two green blocks", "red", ""]
        together = drawer.draw(texts, guidance=2.0, seed=4)
        assert np.array_equal(together, drawer.draw(texts, guidance=2.0, seed=4, num_at_once=3))
        assert np.array_equal(together[2:3], drawer.draw(texts[2:3], guidance=2.0, seed=6))
        assert not np.array_equal(together, drawer.draw(texts, guidance=2.0, seed=5))

    def test_what_was_drawn_greedily_costs_least(self, drawer: CaptionedPictures) -> None:
        codes = drawer.draw(["a red block"], SamplingConfig(temperature=0.0))
        assert drawer.nats(["a red block"], codes)[0] < drawer.nats(["a red block"], (codes + 1) % 16)[0]


class TestGenerate:
    def test_the_best_of_four_times_as_many_come_first(self, part: Part) -> None:
        found = generate(part, "a red block", count=2, device=CPU)
        every = generate(part, "a red block", count=8, keep=8, device=CPU)
        scores = [one.score for one in every.pictures]
        assert scores == sorted(scores, reverse=True) and len(every.pictures) == 8
        assert [one.score for one in found.pictures] == scores[:2]
        assert "8 drawn, reranked by the model's own reranker" in found.notes

    def test_a_reranker_that_was_found_to_do_harm_is_not_asked_unless_it_is_named(self, part: Part) -> None:
        harmed = replace(part, facts={**part.facts, "judged": {"reranking": {"harms": True}}})
        found = generate(harmed, "a red block", count=2, device=CPU)
        plain = generate(part, "a red block", count=2, reranker="none", device=CPU)
        for one, other in zip(found.pictures, plain.pictures, strict=True):
            assert one.score is None and np.array_equal(one.picture, other.picture)
        (note,) = (note for note in found.notes if "drawn" in note)
        assert note.startswith("2 drawn, not reranked, since its own reranker chose worse than the first")
        named = generate(harmed, "a red block", count=2, reranker=str(part.source / "reranker"), device=CPU)
        assert all(one.score is not None for one in named.pictures)

    def test_a_seed_in_the_file_draws_the_picture_again(self, part: Part) -> None:
        (one,) = generate(part, "a red block", count=5, keep=1, seed=3, device=CPU).pictures
        (again,) = generate(part, "a red block", count=1, reranker="none", seed=one.origin["seed"], device=CPU).pictures
        assert np.array_equal(one.picture, again.picture) and again.score is None

    def test_strange_words_are_told_and_only_strange_ones_refused(self, part: Part) -> None:
        assert "'zebra'" in generate(part, "a red zebra", count=1, device=CPU).notes[0]
        with pytest.raises(UserError, match="near are: block, blocks"):
            generate(part, "blockz", count=1, device=CPU)

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ({"count": 0}, "--count 0: at least 1"),
            ({"count": -3}, "--count -3"),
            ({"keep": 0}, "--keep 0"),
            ({"count": 2, "keep": 3}, "more than the 2"),
            ({"batch_size": 0}, "--batch-size 0"),
            ({"count": 3, "keep": 1, "reranker": "none"}, "nothing chooses among them"),
            ({"config": DrawingConfig(guidance=-1.0)}, "--guidance -1: give a number from 0 on"),
            ({"config": DrawingConfig(guidance=float("inf"))}, "--guidance inf: give a number from 0 on"),
            ({"seed": -1}, "--seed -1: give a whole number from 0"),
            ({"seed": 1 << 62}, "--seed 4611686018427387904"),
            ({"config": DrawingConfig(num_steps=3)}, "--steps goes with masked models"),
            ({"label": "red"}, "no --label"),
        ],
    )
    def test_what_cannot_be_is_refused(self, part: Part, asked: dict, told: str) -> None:
        with pytest.raises(UserError, match=told):
            generate(part, "a red block", device=CPU, **asked)

    def test_a_part_that_lost_its_words_or_has_others_is_refused(self, part: Part, tmp_path: Path) -> None:
        for name, told in (("tokenizer.json", "holds no tokenizer.json"), ("words.json", "cannot be used")):
            copy = tmp_path / name
            shutil.copytree(part.source, copy)
            (copy / name).unlink()
            with pytest.raises(UserError, match=told):
                generate(load_part(copy), "a red block", count=1, device=CPU)
        copy = tmp_path / "other"
        shutil.copytree(part.source, copy)
        (copy / "words.json").write_text(json.dumps({"longest": 99, "words": {"red": 1}}))
        with pytest.raises(UserError, match="not the one that the model learned by"):
            generate(load_part(copy), "red", count=1, device=CPU)

    def test_what_does_not_fit_into_memory_is_told_with_what_does(
        self, part: Part, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beholder.tasks import captioned_pictures

        def crowded(model: torch.nn.Module, prompts: list, *_: object) -> list[list[int]]:
            if len(prompts) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [[0] * 16 for _ in prompts]

        monkeypatch.setattr(captioned_pictures, "generate", crowded)
        with pytest.raises(UserError, match="16 pictures at once do not fit into memory, 2 do; give --batch-size 2"):
            generate(part, "a red block", count=16, reranker="none", device=CPU)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Part:
    place = tmp_path_factory.mktemp("masked")
    torch.manual_seed(0)
    config = MaskGITConfig(16, (4, 4), num_classes=2, trunk=TRUNKS["debug"])
    model = MaskGIT(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
    facts = {"labels": ["cat", "dog"]}
    save_part(place / "m", MASKED, model, config, facts=facts, card="# M\n", codec=save_codec(place / "tok"))
    return load_part(place / "m")


class TestMasked:
    def test_it_draws_by_class_or_without_any_wish(self, masked: Part) -> None:
        config = DrawingConfig(num_steps=4)
        cats, dogs = (
            generate(masked, label=name, count=3, reranker="none", config=config, device=CPU) for name in ("cat", "dog")
        )
        unasked = generate(masked, count=3, config=config, device=CPU)
        drawn = [np.stack([one.picture for one in found.pictures]) for found in (cats, dogs, unasked)]
        assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
        assert cats.pictures[0].origin["label"] == "cat" and "3 drawn, nothing to rerank by" in unasked.notes

    def test_what_it_has_no_use_for_is_refused(self, masked: Part) -> None:
        for asked, told in (
            ({"label": "bird"}, "not one of the 2 classes"),
            ({"prompt": "a cat"}, "reads no prompt"),
            ({"config": DrawingConfig(top_k=3)}, "one code after the other"),
            ({"config": DrawingConfig(num_steps=0)}, "--steps 0"),
        ):
            with pytest.raises(UserError, match=told):
                generate(masked, count=1, reranker="none", device=CPU, **asked)


class TestTheVerb:
    def test_pictures_and_sheet_say_where_they_come_from(
        self, part: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, run = tmp_path / "drawn", part.source.parent
        assert main(["generate", "a red block", "--model", str(run), "--out", str(out), "--count", "3", "--json"]) == 0
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"out"' in line]
        assert sorted(path.name for path in out.iterdir()) == ["01.png", "02.png", "03.png", "sheet.png"]
        for path in out.iterdir():
            origin = read_origin(path)
            assert origin is not None and origin["generated"] is True and origin["prompt"] == "a red block"
            assert origin["model"] == part.fingerprint and origin["guidance"] == 3.0
        assert [one["out"] for one in told] == [str(out / f"0{number}.png") for number in (1, 2, 3)]
        assert main(["generate", "a red block", "--model", str(run), "--out", str(out)]) == 2
        assert "nothing is overwritten" in capsys.readouterr().err

    def test_what_is_refused_leaves_no_folder(self, part: Part, tmp_path: Path) -> None:
        out = tmp_path / "deep" / "drawn"
        assert main(["generate", "zebra", "--model", str(part.source), "--out", str(out)]) == 2
        assert not out.parent.exists()
        assert main(["generate", "red", "--model", str(part.source), "--out", str(out), "--count", "1"]) == 0
        assert (out / "01.png").is_file()

    def test_the_function_takes_a_name_or_what_load_gives(self, part: Part, tmp_path: Path) -> None:
        found = beholder.generate(str(part.source), "red", "cpu", count=1, threads=1)
        loaded = beholder.generate(beholder.load(part.source.parent), "red", "cpu", count=1, threads=1)
        assert np.array_equal(found.pictures[0].picture, loaded.pictures[0].picture)
        assert found.save(tmp_path / "new") == [tmp_path / "new" / "01.png"]

    def test_a_tokenizer_draws_nothing(self, part: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["generate", "red", "--model", str(part.source / "codec"), "--out", str(tmp_path / "o")]) == 2
        assert "'codec'" in capsys.readouterr().err and not (tmp_path / "o").exists()
