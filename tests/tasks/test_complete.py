"""Completing by example, surprise and likelihood: what is asked is answered by the model's own numbers, and a picture
that was generated says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import CPU
from PIL import Image
from sentences import GRAMMAR, SIDE, save_codec, save_lvm, write_blocks

import beholder
from beholder.cli.main import main
from beholder.inference.sampling import SamplingConfig
from beholder.pretrained.part_folder import Part, load_part
from beholder.tasks.complete import complete
from beholder.tasks.likelihood import likely_class
from beholder.tasks.provenance import read_origin
from beholder.tasks.surprise import surprise
from beholder.tasks.visual_sentences import VisualSentences, open_sentences
from beholder.types import UserError


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    place = tmp_path_factory.mktemp("parts")
    return save_lvm(place / "lvm" / "model", save_codec(place / "tok"))


@pytest.fixture(scope="module")
def speaker(part: Part) -> VisualSentences:
    return open_sentences(part, CPU)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_blocks(tmp_path_factory.mktemp("photos") / "p", 9).iterdir())


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([*map(str, arguments)]) == 2
    sentence = capsys.readouterr().err.strip()
    assert len(sentence.splitlines()) == 1 and "Traceback" not in sentence
    return sentence


class TestComplete:
    def test_the_answer_is_what_the_model_says_comes_next(
        self, part: Part, speaker: VisualSentences, photos: list[Path]
    ) -> None:
        found = complete(part, photos[:3], device=CPU)
        images = [np.asarray(Image.open(path)) for path in photos[:3]]
        codes = speaker.pictures.encode(np.stack(images))
        tokens = [GRAMMAR.begin]
        for picture in codes:
            tokens += [GRAMMAR.open, *picture.tolist()]
        tokens.append(GRAMMAR.open)
        for _ in range(16):  # without cache; only codes
            with torch.no_grad():
                tokens.append(int(speaker.model(torch.tensor([tokens]))[0, -1, :16].argmax()))
        assert np.array_equal(found.picture, speaker.pictures.decode(np.array([tokens[-16:]]))[0])

    def test_a_seed_repeats_and_another_one_differs(self, part: Part, photos: list[Path]) -> None:
        def drawn(seed: int) -> np.ndarray:
            return complete(part, photos[:5], sampling=SamplingConfig(temperature=2.0), seed=seed, device=CPU).picture

        assert np.array_equal(drawn(3), drawn(3)) and not np.array_equal(drawn(3), drawn(4))

    def test_special_tokens_are_never_painted(self, speaker: VisualSentences) -> None:
        codes = np.random.default_rng(0).integers(0, 16, (5, 3, 16))
        found = speaker.answer(codes, SamplingConfig(temperature=50.0))
        assert found.shape == (5, 16) and found.max() < 16

    def test_a_row_is_answered_as_if_it_were_alone(self, speaker: VisualSentences) -> None:
        codes = np.random.default_rng(0).integers(0, 16, (4, 3, 16))
        assert np.array_equal(speaker.answer(codes)[2:3], speaker.answer(codes[2:3]))

    def test_sizes_are_told(self, part: Part, tmp_path: Path) -> None:
        paths = [tmp_path / f"{side}.png" for side in (16, 20, 31)]
        for path, side in zip(paths, (16, 20, 31), strict=True):
            Image.new("RGB", (side, 16)).save(path)
        notes = " ".join(complete(part, paths, device=CPU).notes)
        assert "different sizes (16 x 16, 20 x 16, 31 x 16)" in notes and "middle square" in notes
        assert not complete(part, [paths[0]] * 3, device=CPU).notes

    def test_a_mask_of_numbers_is_read_as_in_training(self, part: Part, photos: list[Path], tmp_path: Path) -> None:
        values = np.zeros((SIDE, SIDE), np.uint8)
        values[3:9, 2:12] = 7
        Image.fromarray(values).save(tmp_path / "numbers.png")
        Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8)).save(tmp_path / "white.png")
        found = {
            name: complete(part, [photos[0], tmp_path / f"{name}.png", photos[1]], device=CPU)
            for name in ("numbers", "white")
        }
        assert np.array_equal(found["numbers"].picture, found["white"].picture)
        assert "numbers.png holds numbers" in found["numbers"].notes[0] and not found["white"].notes

    @pytest.mark.parametrize("count", [0, 1, 2, 4])
    def test_an_even_number_and_too_few_are_refused(self, part: Part, photos: list[Path], count: int) -> None:
        with pytest.raises(UserError, match=r"pairs of a picture and its answer.*: 3 or 5 in all"):
            complete(part, photos[:count], device=CPU)

    def test_more_than_the_model_reads_are_refused(self, part: Part, photos: list[Path]) -> None:
        with pytest.raises(UserError, match="8 pictures, the answer included, are more than the 6"):
            complete(part, photos[:7], device=CPU)

    def test_the_function_takes_a_name_or_what_load_gives(self, part: Part, photos: list[Path], tmp_path: Path) -> None:
        loaded = beholder.load(part.source.parent)
        found = beholder.complete(loaded, photos[:3], "cpu", threads=1)
        named = beholder.complete(str(part.source), photos[:3], "cpu", threads=1)
        assert np.array_equal(found.picture, named.picture)
        found.save(tmp_path / "x.png")
        assert read_origin(tmp_path / "x.png") == found.origin


class TestTheVerb:
    def test_the_picture_says_where_it_comes_from(
        self, part: Part, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "c2.png"
        model = part.source.parent  # the run folder stands for its model/
        assert (
            main([*map(str, ["complete", *photos[:3], "--model", model, "--out", out, "--seed", "5", "--json"])]) == 0
        )
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        origin = read_origin(out)
        assert origin is not None and origin["generated"] is True and origin["seed"] == 5
        assert origin["model"] == part.fingerprint == told["model"]
        assert [one["file"] for one in origin["prompt"]] == [path.name for path in photos[:3]]
        assert all(len(one["sha256"]) == 64 for one in origin["prompt"])
        with Image.open(out) as image:
            assert image.size == (SIDE, SIDE)
        assert read_origin(photos[0]) is None

    def test_mistakes_are_told_in_one_sentence(
        self, part: Part, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        three, out = photos[:3], ["--out", tmp_path / "x.png"]
        assert "end it in .png" in refusal(capsys, "complete", *three, "--model", part.source, "--out", "x.jpg")
        assert "no model lies there" in refusal(capsys, "complete", *three, "--model", tmp_path, *out)
        assert "'codec'" in refusal(capsys, "complete", *three, "--model", part.source / "codec", *out)
        (tmp_path / "bad.png").write_text("text")
        bad = refusal(capsys, "complete", tmp_path / "bad.png", *three[:2], "--model", part.source, *out)
        assert "bad.png: not an image" in bad and "every picture of the sentence is needed" in bad
        assert "temperature" in refusal(capsys, "complete", *three, "--model", part.source, *out, "--temperature", "-1")

    def test_a_codec_of_another_hash_is_named(
        self, part: Part, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = tmp_path / "lvm"
        shutil.copytree(part.source, broken)
        other = save_codec(tmp_path / "other", seed=7)
        shutil.copyfile(other.source / "model.safetensors", broken / "codec" / "model.safetensors")
        told = refusal(capsys, "complete", *photos[:3], "--model", broken, "--out", tmp_path / "x.png")
        assert other.fingerprint[:12] in told and "not the tokenizer" in told


def test_what_is_saved_is_what_is_loaded(part: Part) -> None:
    again = load_part(part.source)
    assert again.fingerprint == part.fingerprint and again.config == part.config
    for name, value in part.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_surprise_is_nats_a_code_and_bad_files_are_refused_alone(
    part: Part, speaker: VisualSentences, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_text("text")
    answers = list(surprise(part, [photos[0], tmp_path / "bad.png", photos[1]], CPU))
    codes = speaker.pictures.encode(np.stack([np.asarray(Image.open(path)) for path in photos[:2]]))
    assert [answers[0].score, answers[2].score] == pytest.approx(speaker.surprise(codes[:, None])[:, 0].tolist())
    assert answers[1].refused is not None and answers[1].score is None


def test_the_class_is_the_one_after_which_the_picture_costs_least(part: Part, photos: list[Path]) -> None:
    examples = {"a": photos[:2], "b": photos[2:4], "c": photos[4:6]}
    for answer in likely_class(part, examples, photos[6:8], CPU):
        nats = answer.details["nats_per_code"]
        assert answer.label == min(nats, key=nats.get) and answer.score == min(nats.values())


def test_classes_need_equally_many_examples(part: Part, photos: list[Path]) -> None:
    for examples in ({"a": photos[:1], "b": photos[1:3]}, {"a": photos[:2]}, {"a": [], "b": []}):
        with pytest.raises(UserError, match="equally many"):
            list(likely_class(part, examples, photos[6:7], CPU))
