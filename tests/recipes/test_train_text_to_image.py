"""`train text-to-image` from captions and pictures to a model that draws: small, whole runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import COLOURS, SIDE, colour_of, draw_block, save_colour_codec, write_drawings
from PIL import Image

import beholder
from beholder.cli.main import main
from beholder.data.decode import Limits
from beholder.evaluate.report_drawing import headline
from beholder.pretrained.part_folder import Part, load_part
from beholder.recipes.coded_pictures import PLAIN, CodeTables, encode_once, look_plainly
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image import train_text_to_image
from beholder.recipes.text_to_image.judge import Asked, _gain_of_reranking, ask, exchanged, looked_at
from beholder.recipes.text_to_image.material import Material, gather
from beholder.recipes.text_to_image.reranker import build_reranker
from beholder.recipes.text_to_image.scorer import Scorer, fit_scorer, own_less_others, preferred
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.recipes.text_to_image.stream import CaptionedStream, SeenPairs
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.captioned_pictures import CaptionedPictures, open_captioned
from beholder.tasks.picture_codes import PictureCodes
from beholder.tasks.provenance import read_origin
from beholder.tokenizers.captioned import CaptionedConfig, config_of, read_captioned
from beholder.tokenizers.captions import as_words
from beholder.types import UserError

CPU = pick_device("cpu", 1)
QUICK = TextToImageTraining("causal", "debug", "6 steps", batch_size=4, num_judged=4, num_candidates=2)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Part:
    return save_colour_codec(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawings(tmp_path_factory.mktemp("pairs") / "p", 130)


def sit(data: Path, codec: Part, out: Path) -> tuple[Sitting[TextToImageTraining], Material]:
    sitting = Sitting(data, QUICK, 0, RunFolder.open(out, {}), CPU, Limits(), Log(quiet=True))
    return sitting, gather(sitting, codec.facts)


Looked = tuple[Material, CodeTables, CaptionedConfig]


@pytest.fixture(scope="module")
def looked(pairs: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory) -> Looked:
    sitting, material = sit(pairs, codec, tmp_path_factory.mktemp("run") / "r")
    pictures = PictureCodes(codec, CPU)
    look = look_plainly(material.collection, pictures, Limits())
    tables = encode_once(sitting, pictures, look, [PLAIN], len(material.texts))
    return material, tables, config_of(material.captions, pictures.num_codes, pictures.grid)


@pytest.fixture(scope="module")
def stream(looked: Looked) -> CaptionedStream:
    return CaptionedStream(*looked, QUICK, 64, seed=3)


class TestPairs:
    def test_each_caption_stands_beside_its_own_picture_and_none_is_held_out(
        self, looked: Looked, stream: CaptionedStream
    ) -> None:
        material, tables, grammar = looked
        known = {
            (material.captions.decode(material.rows[place]), tables.plain(int(place), view).tobytes())
            for place in material.places(False)
            for view in (0, 1)
        }
        captions, codes = read_captioned(stream.batch(0)["tokens"].numpy(), grammar)
        told = [(material.captions.decode(row), code.tobytes()) for row, code in zip(captions, codes, strict=True)]
        assert {one for one in told if one[0]} <= known

    def test_a_tenth_of_the_captions_is_left_out_and_counts_for_nothing(self, stream: CaptionedStream) -> None:
        batches = [stream.batch(step) for step in range(20)]
        tokens, weights = (torch.cat([one[name] for one in batches]) for name in ("tokens", "weights"))
        is_empty = (tokens[:, : stream.grammar.longest] == stream.grammar.pad).all(1)
        assert 0.05 < float(is_empty.float().mean()) < 0.15
        assert (weights[is_empty, : stream.grammar.longest] == 0).all()
        assert torch.allclose(weights[~is_empty, : stream.grammar.longest].sum(1), torch.tensor(1 / 8))

    def test_batches_are_a_function_of_seed_and_step(self, looked: Looked, stream: CaptionedStream) -> None:
        again, other = CaptionedStream(*looked, QUICK, 64, seed=3), CaptionedStream(*looked, QUICK, 64, seed=4)
        assert torch.equal(stream.batch(5)["tokens"], again.batch(5)["tokens"])
        assert not torch.equal(stream.batch(5)["tokens"], stream.batch(6)["tokens"])
        assert not torch.equal(stream.batch(5)["tokens"], other.batch(5)["tokens"])

    def test_what_tells_left_from_right_is_never_mirrored(self, looked: Looked) -> None:
        material, tables, grammar = looked
        sided = replace(material, texts=tuple(f"{text} on the left" for text in material.texts))
        _, codes = read_captioned(
            CaptionedStream(sided, tables, grammar, QUICK, 64, 0).batch(0)["tokens"].numpy(), grammar
        )
        plain = {tables.plain(int(place), 0).tobytes() for place in material.places(False)}
        assert {row.tobytes() for row in codes} <= plain

    def test_words_are_learned_from_the_pairs_to_learn_from(self, looked: Looked) -> None:
        material, _, _ = looked
        learned = {word for place in material.places(False) for word in material.texts[place].lower().split()}
        assert set(material.captions.words) == learned

    def test_the_reranker_sees_texts_beside_their_pictures(self, looked: Looked) -> None:
        material, tables, _ = looked
        words, distinct = as_words(material.captions), list(dict.fromkeys(material.texts))
        rows = np.array([distinct.index(text) for text in material.texts])
        squares = tables.squares[PLAIN]
        batch = SeenPairs(material, squares, squares, words.encode(distinct).numbers, rows, 24, 1, 0).batch(2)
        for pixels, owner in zip(batch["pixels"], batch["text_of"].tolist(), strict=True):
            picture = ((pixels.permute(1, 2, 0).numpy() * 0.5 + 0.5) * 255).clip(0, 255).astype(np.uint8)
            assert colour_of(picture) in words.decode(batch["tokens"][owner])

    def test_what_chooses_the_weights_judges_nothing(self, looked: Looked) -> None:
        material, _, _ = looked
        chosen_by, asked = looked_at(material, 3), ask(material, 10**6, 3)
        held_out = material.places(True)
        assert len(chosen_by) == len(held_out) // 3
        assert sorted([*chosen_by, *asked]) == sorted(held_out)

    def test_too_few_to_tell_captions_apart_choose_nothing(self, codec: Part, tmp_path: Path) -> None:
        _, few = sit(write_drawings(tmp_path / "few", 60), codec, tmp_path / "r")
        assert len(few.places(True)) < 12 and not len(looked_at(few, 0))
        assert sorted(ask(few, 10**6, 0)) == sorted(few.places(True))

    def test_weights_are_not_chosen_by_one_caption(self, looked: Looked) -> None:
        material, _, _ = looked
        alike = replace(material, texts=tuple("red!" if place % 2 else "Red" for place in range(len(material.texts))))
        assert not len(looked_at(alike, 3))

    def test_asked_captions_differ_as_far_as_there_are_others(self, looked: Looked) -> None:
        material, _, _ = looked
        chosen_by = set(looked_at(material, 0))
        held = {material.texts[place] for place in material.places(True) if place not in chosen_by}
        asked = ask(material, len(held), 0)
        assert material.collection.is_held_out[asked].all() and {material.texts[place] for place in asked} == held


class TestTheScorer:
    def test_it_tells_true_pictures_apart(self, looked: Looked) -> None:
        material, tables, _ = looked
        squares = np.asarray(tables.squares[PLAIN])
        scorer = fit_scorer(material, squares, squares, 0)
        held = material.places(True)
        texts = [material.texts[place] for place in held]
        share = preferred(scorer.scores(squares[held], texts), texts)
        assert share.mean() > 0.7 and scorer.checked > 0.7

    def test_equal_captions_are_no_others(self) -> None:
        scores = np.array([[0.9, 0.9, 0.1], [0.2, 0.2, 0.4], [0.5, 0.5, 0.5]])
        assert preferred(scores, ["a", "A!", "b"]) == pytest.approx([1, 0, 0.5])
        assert own_less_others(scores, ["a", "A!", "b"]) == pytest.approx([0.8, -0.2, 0])

    def test_exchanged_captions_say_something_else(self) -> None:
        assert exchanged(["A cat.", "a cat", "A dog.", "a dog"]) == ["A dog.", "A dog.", "A cat.", "A cat."]
        assert exchanged(["a", "a", "b", "c"]) == ["b", "b", "c", "a"] and exchanged(["a", "a"]) == ["a", "a"]


def test_the_reranker_is_opened_by_load_and_says_the_same(looked: Looked, tmp_path: Path) -> None:
    from beholder.recipes.text_to_image.reranker import pixels_of, save_reranker
    from beholder.tasks.shared_space import SharedSpace, open_space

    words = as_words(looked[0].captions)
    space = SharedSpace(build_reranker("debug", SIDE, words, 0).eval(), pixels_of(SIDE), words, CPU)
    pictures = list(np.asarray(looked[1].squares[PLAIN])[:5])
    before = space.place_arrays(pictures), space.place_texts(["a red block", "one green square"])
    save_reranker(space, tmp_path / "reranker")
    again = open_space(beholder.load(tmp_path / "reranker"), CPU)
    assert torch.allclose(again.place_arrays(pictures), before[0], atol=1e-5)
    assert torch.allclose(again.place_texts(["a red block", "one green square"]), before[1], atol=1e-5)


@pytest.fixture(scope="module", params=["causal", "encoder-decoder"])
def finished(
    request: pytest.FixtureRequest, pairs: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], TextToImageTraining]:
    out = tmp_path_factory.mktemp("runs") / "draw"
    settings = replace(QUICK, form=request.param)
    return (
        out,
        train_text_to_image(pairs, tokenizer=codec.source, out=out, settings=settings, device="cpu", threads=1),
        settings,
    )


@pytest.mark.slow
class TestARun:
    def test_it_leaves_a_model_a_page_and_samples(
        self, finished: tuple[Path, dict[str, Any], TextToImageTraining], codec: Part
    ) -> None:
        out, told, settings = finished
        part = load_part(out / "model")
        assert part.kind == "text-to-image" and part.config.form == settings.form
        assert part.need_codec().fingerprint == codec.fingerprint and part.need_captions().words["red"] > 0
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
        assert "True pictures" in page and "Drawn, reranked" in page
        sheets = list((out / "samples").glob("step-*.png"))
        origin = read_origin(sheets[0])
        assert len(sheets) >= 2 and origin is not None and origin["generated"]
        assert json.loads((out / "results.json").read_text()) == told

    def test_the_headline_is_of_what_a_user_gets(
        self, finished: tuple[Path, dict[str, Any], TextToImageTraining]
    ) -> None:
        _, results, _ = finished
        judged = results["judged"]
        helps, harms = (
            {**results, "judged": {**judged, "reranking": {**judged["reranking"], "harms": harms}}}
            for harms in (False, True)
        )
        assert "drawn and reranked" in headline(helps)
        share = results["judged"]["rows"]["drawn"]["preferred"]["value"]
        assert headline(harms).startswith(
            f"What is drawn goes better with its own caption than with another in {share:.0%}"
        )

    def test_true_pictures_stand_beside_what_is_drawn(
        self, finished: tuple[Path, dict[str, Any], TextToImageTraining]
    ) -> None:
        judged = finished[1]["judged"]
        assert list(judged["rows"]) == [
            "true pictures", "true pictures as the tokenizer paints them", "drawn, without guidance", "drawn",
            "drawn, reranked",
        ]  # fmt: skip
        for row in judged["rows"].values():
            low, high = row["preferred"]["interval"]
            assert low <= row["preferred"]["value"] <= high
            assert row["gain"]["value"] == pytest.approx(row["own"] - row["others"], abs=1e-6)

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: tuple[Path, dict[str, Any], TextToImageTraining], pairs: Path, codec: Part,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        whole, _, settings = finished
        out, nats, calls = whole.with_name("stopped"), CaptionedPictures.nats, []

        def tiring(self: CaptionedPictures, *arguments: Any) -> np.ndarray:
            calls.append(1)
            if len(calls) == 5:  # in the middle of training: looks come between steps
                raise KeyboardInterrupt
            return nats(self, *arguments)

        told = {"tokenizer": codec.source, "out": out, "settings": settings, "device": "cpu", "threads": 1}
        monkeypatch.setattr(CaptionedPictures, "nats", tiring)
        with pytest.raises(KeyboardInterrupt):
            train_text_to_image(pairs, **told)
        monkeypatch.undo()
        results = train_text_to_image(pairs, **told)
        assert load_part(out / "model").fingerprint == load_part(whole / "model").fingerprint
        weights = [(folder / "model" / "reranker" / "model.safetensors").read_bytes() for folder in (out, whole)]
        assert weights[0] == weights[1] and results["judged"] == finished[1]["judged"]

    def test_a_finished_run_is_not_written_over(
        self, finished: tuple[Path, dict[str, Any], TextToImageTraining], pairs: Path, codec: Part
    ) -> None:
        with pytest.raises(UserError, match="finished run"):
            train_text_to_image(pairs, tokenizer=codec.source, out=finished[0], settings=QUICK)


class TestMistakes:
    def refusal(self, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        assert main(["train", "text-to-image", *map(str, arguments)]) == 2
        sentence = capsys.readouterr().err.strip().splitlines()
        return sentence[-1]

    def test_they_are_told_in_one_sentence(
        self, pairs: Path, codec: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        base = ["--data", pairs, "--tokenizer", codec.source, "--out", tmp_path / "out"]
        for extra, told in (
            (["--budget", "0"], "nothing is learned in no time"),
            (["--budget", "soon"], "--budget soon"),
            (["--batch-size", "0"], "--batch-size 0: at least 2"),
            (["--guidance", "-1"], "--guidance -1"),
            (["--form", "diffusion"], "diffusion"),
        ):
            assert told in self.refusal(capsys, *base, *extra)
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert "no model lies there" in self.refusal(
            capsys, "--data", pairs, "--tokenizer", tmp_path, "--out", tmp_path / "o"
        )

    def test_pictures_without_captions_are_told(self, codec: Part, tmp_path: Path) -> None:
        bare = write_drawings(tmp_path / "bare", 40)
        (bare / "metadata.jsonl").unlink()
        with pytest.raises(UserError, match="0 pictures with a caption"):
            train_text_to_image(bare, tokenizer=codec.source, out=tmp_path / "o", settings=QUICK)

    def test_one_caption_only_is_told(self, codec: Part, tmp_path: Path) -> None:
        same = write_drawings(tmp_path / "same", 40)
        for path in same.glob("*.png"):
            path.with_suffix(".txt").write_text("a block")
        (same / "metadata.jsonl").unlink()
        with pytest.raises(UserError, match="one caption only"):
            train_text_to_image(same, tokenizer=codec.source, out=tmp_path / "o", settings=QUICK)

    def test_another_tokenizer_cannot_go_on(
        self, pairs: Path, codec: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = tmp_path / "tok"
        shutil.copytree(codec.source, place)

        def stopped(self: CaptionedPictures, *arguments: Any) -> np.ndarray:
            raise KeyboardInterrupt

        monkeypatch.setattr(CaptionedPictures, "nats", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_text_to_image(pairs, tokenizer=place, out=tmp_path / "o", settings=QUICK)
        save_colour_codec(place, num_steps=1, seed=9)
        with pytest.raises(UserError, match="not the tokenizer that"):
            train_text_to_image(pairs, tokenizer=place, out=tmp_path / "o", settings=QUICK)

    def test_what_does_not_fit_into_memory_is_told_with_what_does(
        self, pairs: Path, codec: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beholder.recipes import code_training

        def crowded(model: Any, objective: Any, stream: CaptionedStream, device: Any, num_timed: int) -> float:
            if stream.batch_size > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return 0.1

        monkeypatch.setattr(code_training, "seconds_per_step", crowded)
        with pytest.raises(UserError, match=r"64 rows of a batch .* 4 do; give --batch-size 4"):
            settings = replace(QUICK, batch_size=64)
            train_text_to_image(pairs, tokenizer=codec.source, out=tmp_path / "o", settings=settings)


def test_captions_longer_than_a_file_name_are_drawn_and_told(codec: Part, tmp_path: Path) -> None:
    pairs = write_drawings(tmp_path / "p", 40)
    rows = [json.loads(line) for line in (pairs / "metadata.jsonl").read_text().splitlines()]
    texts = {row["text"] + ", seen from above" * 20 for row in rows}
    lines = (json.dumps({**row, "text": row["text"] + ", seen from above" * 20}) for row in rows)
    (pairs / "metadata.jsonl").write_text("\n".join(lines))
    train_text_to_image(pairs, tokenizer=codec.source, out=tmp_path / "r", settings=QUICK)
    sample = read_origin(next((tmp_path / "r" / "samples").glob("*.png")))
    assert sample is not None and sample["generated"] and sample["prompt"] and set(sample["prompt"]) <= texts


def test_names_of_classes_are_captions_where_there_are_no_texts(pairs: Path, codec: Part, tmp_path: Path) -> None:
    texts = [json.loads(line) for line in (pairs / "metadata.jsonl").read_text().splitlines()]
    for one in texts:
        folder = tmp_path / "sorted" / one["text"].split()[1]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pairs / one["file_name"], folder / one["file_name"])
    _, material = sit(tmp_path / "sorted", codec, tmp_path / "r")
    assert material.has_classes and set(material.texts) == set(COLOURS)


def test_pictures_without_a_caption_are_left_out_among_others(pairs: Path, codec: Path, tmp_path: Path) -> None:
    copy = tmp_path / "p"
    shutil.copytree(pairs, copy)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(copy / "silent.png")
    _, material = sit(copy, codec, tmp_path / "r")
    assert material.num_silent == 1 and len(material.texts) == 130


@pytest.mark.slow
@pytest.mark.parametrize("form", ["causal", "encoder-decoder"])
def test_a_model_of_seconds_draws_the_colour_that_the_caption_says(form: Any, codec: Part, tmp_path: Path) -> None:
    pairs = write_drawings(tmp_path / "many", 300, seed=1)
    settings = TextToImageTraining(form, "debug", "150 steps", batch_size=32, lr=6e-3, num_judged=6, num_candidates=2)
    told = train_text_to_image(
        pairs, tokenizer=codec.source, out=tmp_path / "o", settings=settings, device="cpu", threads=1
    )
    drawer = open_captioned(load_part(tmp_path / "o" / "model"), CPU)
    asked = [colour for colour in COLOURS for _ in range(12)]
    drawn = drawer.pictures.decode(drawer.draw([f"a {colour} block" for colour in asked], guidance=3.0))
    right = np.mean([colour_of(picture) == colour for picture, colour in zip(drawn, asked, strict=True)])
    assert right > 0.7  # by chance a third
    assert told["judged"]["nats"]["gain_over_others"]["interval"][0] > 0


@pytest.mark.parametrize(("separates", "told"), [(True, True), (False, False)])
def test_a_reranker_that_takes_the_wrong_ones_is_found_to_harm_by_a_scorer_that_can_tell(
    separates: bool, told: bool
) -> None:
    texts = tuple(f"a {name} block" for name in list(COLOURS) * 4)
    right = np.stack([draw_block(text.split()[1], np.random.default_rng(7)) for text in texts])
    drawn = np.stack([right, np.roll(right, 1, axis=0)], axis=1)
    rows = np.arange(len(texts))
    asked = Asked(rows, texts, drawn, right, np.ones_like(rows), rows)

    class Colours(Scorer):
        """Sees colours as well as a scorer can."""

        def __init__(self) -> None:
            pass

        def scores(self, pictures: np.ndarray, texts: Sequence[str]) -> np.ndarray:
            return np.array([[float(colour_of(one) in text) for text in texts] for one in pictures])

    found = _gain_of_reranking(Colours(), asked, separates, np.random.default_rng(0), rows)
    assert found["interval"][1] < 0 and found["harms"] is told
    helps = replace(asked, drawn=drawn[:, ::-1])
    assert not _gain_of_reranking(Colours(), helps, True, np.random.default_rng(0), rows)["harms"]
