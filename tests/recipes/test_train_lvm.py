"""`train lvm` from pictures to a model that is asked by example: small, whole runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentences import GRAMMAR, SIDE, save_codec, write_blocks

from beholder.cli.main import main
from beholder.data.decode import Limits
from beholder.data.fingerprint import content_hash
from beholder.models.lvm import LVM
from beholder.pretrained.part_folder import CODEC, Part, load_part, save_part
from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.lvm import train_lvm
from beholder.recipes.lvm.codes import encode_all, sides
from beholder.recipes.lvm.judge import score, serves
from beholder.recipes.lvm.material import Material, gather
from beholder.recipes.lvm.questions import ask
from beholder.recipes.lvm.settings import LVMTraining, parse_tasks
from beholder.recipes.lvm.stream import SentenceStream
from beholder.recipes.scale_law.held_out import HeldOut
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.picture_codes import PictureCodes
from beholder.tasks.provenance import read_origin
from beholder.tokenizers.sentences import read_sentences
from beholder.types import Sample, UserError

TASKS = ("plain", "edges", "grey", "rotate", "masks")
QUICK = LVMTraining("debug", TASKS, budget="6 steps", num_pictures=6, batch_size=4, num_judged=2)
LEFT = replace(QUICK, leave_out=("edges",))
CPU = pick_device("cpu", 1)
Looked = tuple[Sitting[LVMTraining], Material, CodeTables]


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Part:
    return save_codec(tmp_path_factory.mktemp("codec"), num_steps=150)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blocks(tmp_path_factory.mktemp("photos") / "blocks", 40, has_masks=True)


def sit(photos: Path, codec: Part, out: Path, settings: LVMTraining) -> Looked:
    run = RunFolder.open(out, {})
    sitting = Sitting(photos, settings, 0, run, CPU, Limits(), Log(quiet=True))
    material = gather(sitting, codec.facts)
    return sitting, material, encode_all(sitting, material, PictureCodes(codec, CPU))


@pytest.fixture(scope="module")
def looked(photos: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory) -> Looked:
    return sit(photos, codec, tmp_path_factory.mktemp("run") / "r", QUICK)


@pytest.fixture(scope="module")
def stream(looked: Looked) -> SentenceStream:
    return SentenceStream(looked[1], looked[2], GRAMMAR, QUICK, seed=3)


class TestWhatIsLearned:
    def test_masks_are_answers_and_no_pictures(self, looked: Looked) -> None:
        _, material, tables = looked
        assert len(material.samples) == len(material.masks) == 40 and "masks" in material.tasks
        assert sides("masks") == ("plain", "masks") and sides("grey") == ("grey", "plain")
        bright = np.asarray(tables.squares["plain"]).mean(3) > 127
        assert np.array_equal(np.asarray(tables.squares["masks"])[..., 0] == 255, bright)

    def test_codes_are_those_of_the_tokenizer(self, looked: Looked, codec: Part) -> None:
        _, _, tables = looked
        for name, squares in tables.squares.items():
            pictures = PictureCodes(codec, CPU)
            assert np.array_equal(pictures.encode(np.asarray(squares)), np.asarray(tables.tables[name])[:, 0])

    def test_the_second_view_is_the_mirrored_picture(self, looked: Looked, codec: Part) -> None:
        _, _, tables = looked
        mirrored = np.ascontiguousarray(np.asarray(tables.squares["plain"])[:, :, ::-1])
        assert np.array_equal(PictureCodes(codec, CPU).encode(mirrored), np.asarray(tables.tables["plain"])[:, 1])

    def test_a_tenth_is_held_out_and_never_learned_from(self, stream: SentenceStream) -> None:
        held = set(stream.material.places(True).tolist())
        assert 2 <= len(held) <= 6
        known = {
            row.tobytes()
            for table in stream.tables.tables.values()
            for place in stream.material.places(False)
            for row in np.asarray(table[place], np.int64)
        }
        for step in range(6):
            for row in read_sentences(stream.batch(step)["tokens"].numpy(), GRAMMAR).reshape(-1, 16):
                assert row.tobytes() in known

    def test_batches_are_a_function_of_seed_and_step(self, stream: SentenceStream) -> None:
        again = SentenceStream(stream.material, stream.tables, GRAMMAR, QUICK, seed=3)
        other = SentenceStream(stream.material, stream.tables, GRAMMAR, QUICK, seed=4)
        assert torch.equal(stream.batch(5)["tokens"], again.batch(5)["tokens"])
        assert not torch.equal(stream.batch(5)["tokens"], stream.batch(6)["tokens"])
        assert not torch.equal(stream.batch(5)["tokens"], other.batch(5)["tokens"])

    @pytest.mark.parametrize("task", ["edges", "grey", "rotate", "masks"])
    def test_a_sentence_alternates_questions_and_their_answers(self, stream: SentenceStream, task: str) -> None:
        questions, answers = (np.asarray(stream.tables.tables[name]) for name in sides(task))
        codes = stream.sentence(task, np.random.default_rng(0))
        for question, answer in codes.reshape(-1, 2, 16):
            found = np.argwhere((questions == question).all(2))
            assert any(np.array_equal(answers[place, view], answer) for place, view in found)

    def test_questions_count_less_than_answers(self, stream: SentenceStream) -> None:
        weights = stream._weights["grey"][1:].reshape(-1, 17)
        assert np.allclose(weights[::2, 1:], QUICK.question_weight) and (weights[1::2, 1:] == 1).all()
        assert (weights[:, 0] == 0).all()


class TestWhichMasksServe:
    def with_masks_in(self, split: str, folder: Path) -> Path:
        """Pictures with a named test part of which one side has masks."""
        write_blocks(folder, 80, has_masks=True)
        rows = ["file_name,split,mask_file_name"]
        for number in range(80):
            own = "test" if number % 2 else "train"
            rows.append(f"{number:04d}.png,{own},{f'{number:04d}_m.png' if own == split else ''}")
            (folder / f"{number:04d}_mask.png").rename(folder / f"{number:04d}_m.png")
        (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
        return folder

    def test_masks_of_what_is_held_out_alone_are_not_learned(self, codec: Part, tmp_path: Path) -> None:
        _, material, _ = sit(
            self.with_masks_in("test", tmp_path / "p"), codec, tmp_path / "r", replace(QUICK, tasks=None)
        )
        assert len(material.masks) == 40 and "masks" not in material.tasks

    def test_what_no_held_out_picture_serves_cannot_be_judged(self, codec: Part, tmp_path: Path) -> None:
        photos = self.with_masks_in("train", tmp_path / "p")
        _, material, tables = sit(photos, codec, tmp_path / "r", replace(QUICK, tasks=("masks",)))
        with pytest.raises(UserError, match="no held-out picture serves any"):
            HeldOut(SentenceStream(material, tables, GRAMMAR, QUICK, 0), 8, 0)

    def test_examples_of_another_task_have_its_answers(self, codec: Part, tmp_path: Path) -> None:
        photos = self.with_masks_in("train", tmp_path / "p")
        for number in range(0, 8, 2):
            rows = (photos / "metadata.csv").read_text().replace(f"{number:04d}_m.png", "")
            (photos / "metadata.csv").write_text(rows)
        _, material, tables = sit(photos, codec, tmp_path / "r", replace(QUICK, tasks=("masks", "edges", "grey")))
        asked = ask(material, tables, "edges", 40, 2, 0)
        assert asked is not None and serves(material, asked, "grey") and not serves(material, asked, "masks")


class TestQuestions:
    def test_examples_were_learned_from_and_questions_were_not(self, stream: SentenceStream) -> None:
        asked = ask(stream.material, stream.tables, "rotate", 3, 2, 0)
        assert asked is not None
        assert not stream.material.is_held_out[asked.examples].any() and stream.material.is_held_out[asked.asked].all()

    def test_shuffled_examples_are_the_same_pictures_with_wrong_answers(self, stream: SentenceStream) -> None:
        asked = ask(stream.material, stream.tables, "rotate", 3, 2, 0)
        assert asked is not None
        right, wrong = (asked.prompt(stream.tables, 2, is_shuffled=shuffled) for shuffled in (False, True))
        assert np.array_equal(right[:, [0, 2, 4]], wrong[:, [0, 2, 4]])
        assert np.array_equal(right[:, [1, 3]], wrong[:, [3, 1]])

    def test_the_nearest_picture_of_a_copy_is_the_copy(self, stream: SentenceStream) -> None:
        asked = ask(stream.material, stream.tables, "edges", 3, 2, 0)
        assert asked is not None
        plain = np.asarray(stream.tables.squares["plain"]).astype(float)
        known = stream.material.places(False)
        for place, nearest in zip(asked.asked, asked.nearest, strict=True):
            errors = np.square(plain[known] - plain[place]).mean((1, 2, 3))
            assert errors[known == nearest[0]] <= np.median(errors)

    def test_scores_are_one_for_equal_masks_and_rise_as_errors_fall(self) -> None:
        mask = np.zeros((1, 8, 8, 3), np.uint8)
        mask[:, :4] = 255
        shifted = np.roll(mask, 2, axis=1)
        assert score("masks", mask, mask)[0] == 1 and score("masks", 255 - mask, mask)[0] == 0
        assert score("masks", shifted, mask)[0] == pytest.approx(2 / 6)
        assert score("grey", mask, mask)[0] > score("grey", shifted, mask)[0]
        assert score("grey", np.full_like(mask, 10), np.zeros_like(mask))[0] == pytest.approx(20 * np.log10(25.5))


@pytest.fixture(scope="module")
def finished(photos: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "lvm"
    told = train_lvm(photos, tokenizer=codec.source, out=out, settings=LEFT, device="cpu", threads=1)
    return out, told


@pytest.mark.slow
class TestARun:
    def test_it_leaves_a_model_a_page_and_samples(self, finished: tuple[Path, dict[str, Any]], codec: Part) -> None:
        out, told = finished
        part = load_part(out / "model")
        pictures = part.facts["pictures"]
        assert len(pictures["learned"]) + len(pictures["held_out"]) == 40 and pictures["held_out"]
        assert not set(pictures["learned"]) & set(pictures["held_out"])
        assert part.kind == "lvm" and part.need_codec().fingerprint == codec.fingerprint
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
        assert "never learned" in page and page.count("data:image/png") == len(told["judged"]["tasks"])
        origins = [read_origin(path) for path in sorted((out / "samples").glob("step-*.png"))]
        assert len(origins) >= 2 and all(one is not None and one["generated"] for one in origins)
        assert json.loads((out / "results.json").read_text()) == told

    def test_every_task_is_judged_beside_what_costs_nothing(self, finished: tuple[Path, dict[str, Any]]) -> None:
        tasks = finished[1]["judged"]["tasks"]
        assert set(tasks) == {"edges", "grey", "rotate", "masks"}
        assert tasks["edges"]["is_left_out"] and not tasks["grey"]["is_left_out"]
        for told in tasks.values():
            assert {"copying the example", "answer of the nearest picture"} <= set(told["rivals"])
            assert set(told["nats_by_examples"]) == {"0", "1", "2"} and "shuffled" in told["misled"]

    def test_a_left_out_task_is_never_in_a_batch(self, photos: Path, codec: Part, tmp_path: Path) -> None:
        settings = LVMTraining("debug", ("plain", "rotate", "edges"), ("edges",), "2 steps", 6)
        _, material, tables = sit(photos, codec, tmp_path / "r", settings)
        stream = SentenceStream(material, tables, GRAMMAR, settings, 0)
        learned = np.concatenate([np.asarray(tables.tables[name], np.int64) for name in ("plain", "rotate")])
        known = {row.tobytes() for place in learned for row in place}
        rows = read_sentences(stream.batch(0)["tokens"].numpy(), GRAMMAR).reshape(-1, 16)
        assert material.tasks == ("plain", "rotate") and all(row.tobytes() in known for row in rows)

    def test_pictures_without_colour_are_not_asked_for_it(self, codec: Part, tmp_path: Path) -> None:
        (tmp_path / "grey").mkdir()
        for path in write_blocks(tmp_path / "blocks", 30).iterdir():
            Image.open(path).convert("L").save(tmp_path / "grey" / path.name)
        _, material, _ = sit(tmp_path / "grey", codec, tmp_path / "r", replace(QUICK, tasks=None))
        assert "grey" not in material.tasks and {"plain", "edges", "noise"} <= set(material.tasks)
        assert "grey to colour is no task here: the pictures have no colour" in material.collection.notes
        with pytest.raises(UserError, match=r"--tasks grey: .* has none \(no picture to learn from has colour\)"):
            sit(tmp_path / "grey", codec, tmp_path / "r2", replace(QUICK, tasks=("plain", "grey")))

    def test_going_on_is_told_from_where_it_stood(
        self, photos: Path, codec: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beholder.recipes.code_training.steps_taken", lambda folder: {"training": 4}[folder.name])
        progress, told = Log.progress, []

        def listen(self: Log, title: str, total: int, done: int = 0) -> Any:
            told.append((title, total, done))
            return progress(self, title, total, done)

        monkeypatch.setattr(Log, "progress", listen)
        train_lvm(photos, tokenizer=codec.source, out=tmp_path / "out", settings=QUICK, device="cpu", threads=1)
        assert ("Train", 6, 4) in told

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: tuple[Path, dict[str, Any]], photos: Path, codec: Part, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, _ = finished
        out = whole.with_name("stopped")
        surprise, calls = LVM.surprise, []

        def tiring(self: LVM, tokens: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            if len(calls) == 12:  # in the middle of training: probes come between steps
                raise KeyboardInterrupt
            return surprise(self, tokens)

        arguments = {"tokenizer": codec.source, "out": out, "settings": LEFT, "device": "cpu"}
        monkeypatch.setattr(LVM, "surprise", tiring)
        with pytest.raises(KeyboardInterrupt):
            train_lvm(photos, **arguments, threads=1)
        monkeypatch.undo()
        train_lvm(photos, **arguments, threads=1)
        assert load_part(out / "model").fingerprint == load_part(whole / "model").fingerprint

    def test_a_finished_run_is_not_written_over(
        self, finished: tuple[Path, dict[str, Any]], photos: Path, codec: Part
    ) -> None:
        with pytest.raises(UserError, match="finished run"):
            train_lvm(photos, tokenizer=codec.source, out=finished[0], settings=QUICK)


class TestMistakes:
    def refusal(self, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        assert main(["train", "lvm", *map(str, arguments)]) == 2
        sentence = capsys.readouterr().err.strip().splitlines()
        assert len(sentence) == 1
        return sentence[0]

    def test_they_are_told_in_one_sentence(
        self, photos: Path, codec: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        base = ["--data", photos, "--tokenizer", codec.source, "--out", tmp_path / "out"]
        for extra, told in (
            (["--tasks", "edgs"], "did you mean edges?"),
            (["--tasks", ","], "names no task"),
            (["--leave-out", "plain"], "only tasks with answers"),
            (["--tasks", "edges", "--leave-out", "edges"], "nothing remains"),
            (["--tasks", "plain,frames", "--pictures", "50"], "has none"),
            (["--tasks", "classes"], "two classes"),
            (["--budget", "0"], "nothing is learned in no time"),
            (["--budget", "soon"], "--budget soon"),
            (["--pictures", "5"], "even number"),
            (["--pictures", "10000"], "are more than the 262,144 that a step reads"),
            (["--pictures", "2"], "at least one example"),
        ):
            assert told in self.refusal(capsys, *base, *extra)
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        other = ["--data", photos, "--tokenizer", tmp_path, "--out", tmp_path / "out"]
        assert "no model lies there" in self.refusal(capsys, *other)

    def test_files_that_change_between_sittings_do_not_change_what_is_held_out(
        self, photos: Path, codec: Part, tmp_path: Path
    ) -> None:
        copy, place = tmp_path / "p", tmp_path / "tok"
        shutil.copytree(photos, copy)
        learned = [
            content_hash(Sample("", path)) for path in sorted(copy.glob("[0-9]*.png")) if "mask" not in path.name
        ]
        facts = {**codec.facts, "pictures": {"learned": learned[:30]}}
        save_part(place, CODEC, codec.model, codec.config, facts=facts, card="# A codec\n")
        parts = []
        for _ in range(2):
            run = RunFolder.open(tmp_path / "o", {})
            material = gather(Sitting(copy, QUICK, 0, run, CPU, Limits(), Log(quiet=True)), load_part(place).facts)
            run.resolve("timed", lambda: 1)
            run.close()
            parts.append(material.is_held_out)
            for path in copy.glob("????.png"):  # the same pictures in other bytes
                with Image.open(path) as image:
                    image.save(path, compress_level=1)
        assert np.array_equal(*parts) and parts[0].any() and not parts[0][:30].any()

    def test_masks_that_are_not_there_are_told(self, codec: Part, tmp_path: Path) -> None:
        bare = write_blocks(tmp_path / "bare", 24)
        with pytest.raises(UserError, match="0 pictures to learn from have a mask"):
            train_lvm(bare, tokenizer=codec.source, out=tmp_path / "o", tasks="plain,masks", settings=QUICK)

    def test_a_mask_of_another_size_is_told(self, codec: Part, tmp_path: Path) -> None:
        folder = write_blocks(tmp_path / "p", 24, has_masks=True)
        Image.new("L", (9, 9), 255).save(folder / "0003_mask.png")
        with pytest.raises(UserError, match=r"0003_mask\.png is 9 x 9 pixels"):
            train_lvm(folder, tokenizer=codec.source, out=tmp_path / "o", settings=QUICK)

    def test_too_few_pictures_are_told(self, codec: Part, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="at least 20"):
            train_lvm(write_blocks(tmp_path / "p", 8), tokenizer=codec.source, out=tmp_path / "o", settings=QUICK)

    def test_a_model_of_sentences_is_no_tokenizer(
        self, finished: tuple[Path, dict[str, Any]], photos: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="its tokenizer lies in"):
            train_lvm(photos, tokenizer=finished[0], out=tmp_path / "o", settings=QUICK)

    def test_another_tokenizer_or_other_pictures_cannot_go_on(
        self, codec: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place, photos = tmp_path / "tok", write_blocks(tmp_path / "p", 24, has_masks=True)
        shutil.copytree(codec.source, place)

        def stopped(self: LVM, tokens: torch.Tensor) -> torch.Tensor:
            raise KeyboardInterrupt

        monkeypatch.setattr(LVM, "surprise", stopped)
        asked = {"tokenizer": place, "out": tmp_path / "o", "settings": QUICK}
        with pytest.raises(KeyboardInterrupt):
            train_lvm(photos, **asked)
        Image.new("L", (40, 40), 255).save(photos / "0003_mask.png")  # another mask, nothing else
        with pytest.raises(UserError, match=r"has changed since .* \(24 pictures then, 24 now\)"):
            train_lvm(photos, **asked)
        for name in ("0003.png", "0003_mask.png"):
            (photos / name).unlink()
        with pytest.raises(UserError, match=r"has changed since .* \(24 pictures then, 23 now\)"):
            train_lvm(photos, **asked)
        save_codec(place, seed=9)
        with pytest.raises(UserError, match="not the tokenizer that"):
            train_lvm(photos, **asked)

    def test_a_first_try_that_is_refused_may_be_mended(self, photos: Path, codec: Part, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="two classes"):
            train_lvm(photos, tokenizer=codec.source, out=tmp_path / "o", tasks="classes", settings=QUICK)
        train_lvm(photos, tokenizer=codec.source, out=tmp_path / "o", tasks="edges", settings=QUICK)


def test_names_of_tasks_are_read_between_commas() -> None:
    assert parse_tasks(" edges, plain,edges", "--tasks") == ("edges", "plain") and parse_tasks(None, "--tasks") is None


@pytest.mark.slow
def test_a_model_of_a_minute_completes_by_example_better_than_copying(codec: Part, tmp_path: Path) -> None:
    assert codec.kind == CODEC and codec.config.image_size == SIDE
    photos = write_blocks(tmp_path / "many", 400, seed=1, has_masks=True)
    settings = LVMTraining("debug", ("masks", "edges"), (), "400 steps", 6, batch_size=16, lr=4e-3, num_judged=20)
    told = train_lvm(photos, tokenizer=codec.source, out=tmp_path / "o", settings=settings, device="cpu", threads=1)
    masks = told["judged"]["tasks"]["masks"]
    assert masks["rivals"]["copying the example"]["interval"][0] > 0.3
    assert masks["rivals"]["answer of the nearest picture"]["interval"][0] > 0.1
