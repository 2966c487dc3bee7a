"""`train describe` from pictures and what is said of them to a model that says it: small, whole runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import COLOURS, colour_of, draw_block, write_drawings
from parity.reference import randomise, save
from PIL import Image
from torch import nn
from towers import save_clip

import beholder
from beholder.cli.main import main
from beholder.data.conversations import MARK
from beholder.data.decode import Limits
from beholder.models.describer import Describer
from beholder.models.seen import SeenTokens
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.pretrained.describer_folder import embedded_vision
from beholder.recipes.describe import DescribeTraining, train_describe
from beholder.recipes.describe.judge import agreed
from beholder.recipes.describe.look import Seen, look_once
from beholder.recipes.describe.material import fitting, gather
from beholder.recipes.describe.stream import DialogueStream, PixelStream, TextStream
from beholder.recipes.evaluate import evaluate
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.grounding import ground
from beholder.tasks.talk import Asking, answer, converse, describe, open_talker
from beholder.tokenizers.captions import as_words, learn_captions
from beholder.tokenizers.dialogues import DialogueRows
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import WordsConfig
from beholder.types import UserError

pytest.importorskip("pycocoevalcap", reason="beholder[metrics] is not installed")
CPU = pick_device("cpu", 1)
QUICK = DescribeTraining(
    size="debug", budget="150 steps", batch_size=16, lr=8e-3, num_beams=2, num_judged=24, side=2, num_shots=0
)


@pytest.fixture(scope="module", autouse=True)
def small_pixels() -> Iterator[None]:
    """The embedded backbone sees a third of its usual pixels: these pictures have sixteen rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beholder.recipes.describe.parts.PixelConfig", lambda: PixelConfig(size=128))
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawings(tmp_path_factory.mktemp("pairs") / "p", 120)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures, with questions whose answers are seen, and ones that need no look."""
    folder = write_drawings(tmp_path_factory.mktemp("asked") / "p", 120)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        colour = line.pop("text").split()[1]
        line["qa"] = [{"question": "which colour?", "answer": colour}, {"question": "what is it?", "answer": "block"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module", params=["linear", "gated"])
def finished(
    request: pytest.FixtureRequest, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], DescribeTraining]:
    out = tmp_path_factory.mktemp("runs") / "describe"
    settings = replace(QUICK, fusion=request.param)
    return out, train_describe(pairs, out=out, settings=settings, device="cpu", threads=1), settings


Finished = tuple[Path, dict[str, Any], DescribeTraining]


@pytest.mark.slow
class TestARun:
    def test_it_looks_and_says_the_colour(self, finished: Finished) -> None:
        out, told, _ = finished
        rows = told["judged"]["rows"]
        assert rows["model"]["cider"] > rows["always the same"]["cider"] + 0.3
        assert rows["model, image blanked"]["behind"]["value"] > 0.3
        assert rows["model, another image"]["behind"]["value"] > 0.3
        talker = open_talker(beholder.load(out), CPU)
        generator = np.random.default_rng(77)
        pictures = [draw_block(colour, generator) for colour in COLOURS for _ in range(4)]
        said = [str(one.label) for one in describe(talker, pictures)]
        right = [colour_of(picture) in text for picture, text in zip(pictures, said, strict=True)]
        assert np.mean(right) > 0.6  # of three colours

    def test_it_leaves_a_model_a_page_and_what_was_said(self, finished: Finished) -> None:
        out, told, settings = finished
        loaded = beholder.load(out)
        assert isinstance(loaded.model, Describer) and loaded.model.speaker.config.fusion == settings.fusion
        said = [json.loads(line) for line in (out / "said.jsonl").read_text(encoding="utf-8").splitlines()]
        worth = [one["cider"] for one in said]
        assert len(said) == told["judged"]["num_judged"] and worth == sorted(worth)
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
        assert said[0]["said"] in page and "without looking" in page

    def test_a_caption_beside_others_is_the_caption_alone(self, finished: Finished) -> None:
        talker = open_talker(beholder.load(finished[0]), CPU)
        pictures = [draw_block(colour, np.random.default_rng(5)) for colour in COLOURS]
        together = [one.label for one in describe(talker, pictures)]
        assert together == [next(describe(talker, one)).label for one in pictures]

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: Finished, pairs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beholder.recipes.describe import fit

        whole, told, settings = finished
        out, nats, calls = whole.with_name("stopped"), fit.nats, []

        def tiring(*arguments: Any) -> np.ndarray:
            calls.append(1)
            if len(calls) == 4:  # in the middle of training: looks come between steps
                raise KeyboardInterrupt
            return nats(*arguments)

        monkeypatch.setattr(fit, "nats", tiring)
        with pytest.raises(KeyboardInterrupt):
            train_describe(pairs, out=out, settings=settings, device="cpu", threads=1)
        monkeypatch.undo()
        results = train_describe(pairs, out=out, settings=settings, device="cpu", threads=1)
        weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (out, whole)]
        assert weights[0] == weights[1] and results["judged"] == told["judged"]

    def test_it_is_asked_by_the_verb(
        self, finished: Finished, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "broken.png").write_bytes(b"no picture")
        images = [str(pairs / "0000.png"), str(tmp_path / "broken.png")]
        assert main(["describe", *images, "--model", str(finished[0]), "--json"]) == 0
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert first["label"] and "refused" in second
        assert [one.label for one in beholder.describe(finished[0], images)] == [first["label"], None]
        assert main(["answer", images[0], "what is it?", "--model", str(finished[0])]) == 2
        assert "was trained to describe, not to answer" in capsys.readouterr().err

    def test_it_tells_where_it_looked_for_each_word(self, finished: Finished, tmp_path: Path) -> None:
        talker = open_talker(beholder.load(finished[0]), CPU)
        generator = np.random.default_rng(3)
        picture = draw_block("green", generator)
        asking = Asking(talker.see([picture]), MARK)
        speaker, text = talker.model.speaker, "a green block"
        prompt, row = talker.rows.prompt(MARK).tokens, talker.rows.write([(MARK, text)]).tokens
        words = ground(talker, asking, text)
        assert [one.word for one in words] == text.split() and words[1].heat.shape == (2, 2)

        @torch.no_grad()
        def likely(seen: torch.Tensor) -> torch.Tensor:
            """Log-probability of each token of what is said, without its end."""
            scores = speaker(torch.tensor([row[:-1]]), seen[None]).log_softmax(2)[0, len(prompt) - 1 :]
            return scores.gather(1, torch.tensor(row[len(prompt) :])[:, None])[:-1, 0]

        blank, seen = speaker.seen_mean.expand_as(asking.seen), asking.seen.clone()
        gain = likely(seen) - likely(blank)
        assert sum(one.nats for one in words) == pytest.approx(float(gain.sum()), rel=1e-3, abs=1e-3)
        for part in range(4):
            nearer, farther = seen.clone(), seen.clone()
            step = 0.01 * (seen - blank)[:, 1 + part]
            nearer[:, 1 + part] += step
            farther[:, 1 + part] -= step
            slope = float((likely(nearer) - likely(farther)).sum()) / 0.02
            told = sum(float(one.heat.flat[part]) for one in words)
            assert told == pytest.approx(slope, rel=0.05, abs=0.02)
        path = tmp_path / "x.png"
        Image.fromarray(picture).save(path)
        asked = ["describe", str(path), "--model", str(finished[0]), "--heat", str(tmp_path / "heat")]
        assert main(asked) == 0 and (tmp_path / "heat" / "x.png").is_file()

    def test_another_backend_sees_the_same(self, finished: Finished) -> None:
        pytest.importorskip("openvino", reason="beholder[fast] is not installed")
        picture = draw_block("red", np.random.default_rng(5))
        plain = open_talker(beholder.load(finished[0]), CPU)
        fast = open_talker(beholder.load(finished[0]), CPU, backend="openvino")
        assert torch.allclose(plain.see([picture] * 3), fast.see([picture] * 3), rtol=1e-3, atol=1e-3)
        assert next(describe(plain, picture)).label == next(describe(fast, picture)).label

    def test_it_is_evaluated_on_other_images(
        self, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        others = write_drawings(tmp_path / "others", 24, seed=9)
        (others / "0000.png").write_bytes(b"no picture")
        (others / "0001.png").unlink()
        told = evaluate(finished[0], others, out=tmp_path / "said.jsonl", device="cpu", threads=1)
        assert told["num_judged"] == 22 and told["num_refused"] == 2 and told["measure"] == "cider"
        said = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [one["cider"] for one in said] == sorted(one["cider"] for one in said) and len(said) == 22
        talker = open_talker(beholder.load(finished[0]), CPU)
        alone = {one["images"][0]: next(describe(talker, others / one["images"][0])).label for one in said}
        assert alone == {one["images"][0]: one["said"] for one in said}
        gain = told["rows"]["model, image blanked"]["behind"]
        assert gain["interval"][0] <= gain["value"] <= gain["interval"][1] and gain["value"] > 0.2
        assert main(["evaluate", str(finished[0]), "--data", str(others), "--json", "--threads", "1"]) == 0
        last = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert last["rows"]["model"]["cider"] == pytest.approx(told["rows"]["model"]["cider"])


@pytest.mark.slow
def test_questions_are_answered_by_looking(asked: Path, tmp_path: Path) -> None:
    told = train_describe(asked, out=tmp_path / "r", settings=replace(QUICK, num_judged=40), device="cpu", threads=1)
    rows = told["judged"]["rows"]
    assert rows["most frequent for the question"]["behind"]["interval"][0] > 0
    assert rows["model, image blanked"]["behind"]["interval"][0] > 0
    talker = open_talker(beholder.load(tmp_path / "r"), CPU, "answer")
    picture = draw_block("blue", np.random.default_rng(8))
    assert next(answer(talker, picture, "Which colour?")).label == "blue"
    assert next(answer(talker, picture, "What is it?")).label == "block"
    with pytest.raises(UserError, match="question is empty"):
        next(answer(talker, picture, f" {MARK} "))
    (said,) = beholder.answer(tmp_path / "r", picture, "Which colour?", threads=1)
    assert said.label == "blue"
    (said,) = beholder.answer(tmp_path / "r", picture, "Which colour?", choices=["red", "blue", "a block"], threads=1)
    shares = said.details["probabilities"]
    assert said.label == "blue" and said.score == shares["blue"] > 0.5 and sum(shares.values()) == pytest.approx(1)
    (drawn,) = beholder.answer(tmp_path / "r", picture, "Which colour?", temperature=0.2, top_k=2, threads=1)
    assert drawn.label == "blue"
    (cut,) = beholder.answer(tmp_path / "r", picture, "Which colour?", stop=["lu"], threads=1)
    assert cut.label == "b"
    with pytest.raises(UserError, match="at least two different ones"):
        beholder.answer(tmp_path / "r", picture, "Which colour?", choices=["red", "red"], threads=1)
    with pytest.raises(UserError, match="--top-k 2 is for drawn words"):
        beholder.answer(tmp_path / "r", picture, "Which colour?", top_k=2, threads=1)
    told = evaluate(tmp_path / "r", asked, device="cpu", threads=1)
    assert told["measure"] == "accuracy" and told["num_judged"] == 240
    assert told["rows"]["model, image blanked"]["behind"]["interval"][0] > 0
    seen = talker.see([picture])
    with pytest.raises(UserError, match="shows 2 images and 1 are given"):
        talker.say([Asking(seen, f"{MARK} {MARK} which colour?")])
    with pytest.raises(UserError, match="at most"):
        talker.say([Asking(seen.expand(120, -1, -1), f"{MARK} " * 120 + "which colour?")])


@pytest.mark.slow
def test_one_model_speaks_the_language_that_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_drawings(tmp_path / "p", 120)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    signs = {"red": "红色", "green": "绿色", "blue": "蓝色"}
    for line in lines:
        line["text_zh"] = f"{signs[line['text'].split()[1]]}的方块"
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "r"
    told = train_describe(folder, out=out, spoken="en,zh", settings=QUICK, device="cpu", threads=1)
    judged = told["judged"]["languages"]
    assert list(judged) == ["zh", "en"] or list(judged) == ["en", "zh"]
    assert sum(one["num_judged"] for one in judged.values()) == told["judged"]["num_judged"]
    assert all(one["rows"]["model"]["cider"] > one["rows"]["always the same"]["cider"] for one in judged.values())
    assert "How well it speaks each language" in (out / "report.html").read_text(encoding="utf-8")
    talker = open_talker(beholder.load(out), CPU)
    picture = draw_block("blue", np.random.default_rng(8))
    assert talker.languages == ("en", "zh")
    spoken = [next(describe(talker, picture, language=one)).label or "" for one in (None, "en", "zh")]
    assert spoken[0] == spoken[1] and "blue" in spoken[1] and "蓝" in spoken[2].replace(" ", "")
    Image.fromarray(picture).save(tmp_path / "blue.png")
    asked = ["describe", str(tmp_path / "blue.png"), "--model", str(out), "--device", "cpu", "--language"]
    assert main([*asked, "zh"]) == 0
    assert spoken[2] in capsys.readouterr().out
    assert main([*asked, "fr"]) == 2
    assert "--language fr: this model speaks en and zh" in capsys.readouterr().err
    assert main([*asked, "en,zh"]) == 2
    assert "name one of them" in capsys.readouterr().err
    spoken_of = {one: evaluate(out, folder, spoken=one, device="cpu", threads=1) for one in ("en", "zh", "en,zh")}
    both = spoken_of["en,zh"]
    assert list(both["languages"]) == ["en", "zh"] and "things_true" not in both["rows"]["model"]
    for one in ("en", "zh"):
        assert both["languages"][one]["rows"]["model"]["cider"] == pytest.approx(
            spoken_of[one]["rows"]["model"]["cider"]
        )
        assert spoken_of[one]["rows"]["model"]["cider"] > 1
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps({**line, "text_fr": "bleu"}) for line in lines))
    with pytest.raises(UserError, match="speaks en and zh, and not fr"):
        evaluate(out, folder, spoken="fr", device="cpu", threads=1)
    with pytest.raises(UserError, match="phrases are learned in one language"):
        train_describe(folder, out=tmp_path / "s", spoken="en,zh", settings=replace(QUICK, regions=True))


@pytest.mark.slow
def test_conversations_are_judged_turn_by_turn(tmp_path: Path) -> None:
    folder = write_drawings(tmp_path / "p", 100)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    (folder / "metadata.jsonl").unlink()
    rows = []
    for line in lines:
        turns = [("<image>\nwhat is it?", "block"), ("and its colour?", line["text"].split()[1])]
        told = [
            {"from": who, "value": text} for turn in turns for who, text in zip(("human", "gpt"), turn, strict=True)
        ]
        rows.append({"image": line["file_name"], "conversations": told})
    (folder / "talks.json").write_text(json.dumps(rows))
    settings = replace(QUICK, num_judged=300)
    told = train_describe(folder, out=tmp_path / "r", settings=settings, device="cpu", threads=1)
    picture = draw_block("green", np.random.default_rng(8))
    talker = open_talker(beholder.load(tmp_path / "r"), CPU, "answer")
    (one,) = converse(talker, picture, ["what is it?", "and its colour?"])
    assert [turn["answer"] for turn in one.details["turns"]] == ["block", one.label] and one.label == "green"
    (both,) = converse(talker, [picture, picture], ["what is it?"], together=True)
    seen = talker.see([picture, picture])
    assert both.label == talker.say([Asking(seen, f"{MARK} {MARK} what is it?")])[0] and ", " in both.key
    (unread,) = converse(talker, [picture, str(tmp_path / "none.png")], ["what is it?"], together=True)
    assert "no such file" in (unread.refused or "")
    with pytest.raises(UserError, match="A question is empty"):
        next(converse(talker, picture, ["what is it?", " "]))
    rows = told["judged"]["rows"]
    assert told["judged"]["num_judged"] == 40  # a fifth of 100 images, two turns each
    assert rows["model"]["accuracy"] > 0.7 and rows["model, image blanked"]["behind"]["interval"][0] > 0
    said = [json.loads(line) for line in (tmp_path / "r" / "said.jsonl").read_text().splitlines()]
    assert {one["question"] for one in said} == {"what is it?", "and its colour?"}


@pytest.mark.slow
def test_it_learns_from_examples_that_stand_before(pairs: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, num_shots=2, budget="20 steps")
    told = train_describe(pairs, out=tmp_path / "r", settings=settings, device="cpu", threads=1)
    assert {"model, 1 examples", "model, 2 examples", "model, 2 examples, their pictures exchanged"} <= set(
        told["judged"]["rows"]
    )
    talker = open_talker(beholder.load(tmp_path / "r"), CPU)
    picture, other = (draw_block(colour, np.random.default_rng(3)) for colour in ("red", "green"))
    shots = [(other, "One green square"), (picture, "a red block")]
    (first,) = describe(talker, [picture], examples=shots)
    (alone,) = talker.say(
        [Asking(talker.see([other, picture, picture]), MARK, tuple((MARK, text) for _, text in shots))]
    )
    assert first.label == alone
    with pytest.raises(UserError, match="show at most"):
        next(describe(talker, [picture], examples=shots * 40))


def test_what_does_not_fit_into_a_row_is_left_out_of_it(asked: Path, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "r", {}) as run:
        sitting = Sitting(asked, replace(QUICK, num_shots=4), 0, run, CPU, Limits(), Log(quiet=True))
        material = gather(sitting, None)
    words = as_words(learn_captions(material.texts))
    words = replace(words, config=WordsConfig(None, words.config.num_rows))
    rows = DialogueRows(words, 3, words.size, longest=60)
    kept, num_left = fitting(material, rows)
    assert not num_left and kept.asked == material.asked
    seen = Seen(np.zeros((120, 2, 3, 5), np.float32), torch.zeros(5))
    stream = DialogueStream(kept.asked["train"], seen, rows, sitting.settings, 16, 0)
    lengths = [stream.batch(step)["tokens"].shape[1] for step in range(12)]
    assert max(lengths) <= 60 and min(lengths) < 30 < max(lengths)
    with pytest.raises(UserError, match="Nothing of what is said in the train part fits into the 5 tokens"):
        fitting(material, replace(rows, longest=5))


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("language")
    words = as_words(learn_captions(["a red block", "one green square", "a blue block"]))
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=words.size, max_position_embeddings=128, **shape)
    save(randomise(LlamaForCausalLM(config)), folder)
    PreTrainedTokenizerFast(
        tokenizer_object=words.table, bos_token="<|startoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    return folder


class TestNamedSides:
    @pytest.mark.parametrize("fusion", ["linear", "gated"])
    def test_a_named_language_model_stays_as_it_is(
        self, fusion: Any, language: Path, pairs: Path, tmp_path: Path
    ) -> None:
        save_clip(tmp_path / "clip")
        settings = replace(QUICK, fusion=fusion, budget="3 steps")
        out = tmp_path / "r"
        train_describe(
            pairs, out=out, vision=str(tmp_path / "clip"), language=str(language), settings=settings, device="cpu",
            threads=1,
        )  # fmt: skip
        named: Any = beholder.load(language)
        loaded: Any = beholder.load(out)
        kept = loaded.model.speaker.language.state_dict()
        assert all(torch.equal(kept[name], value) for name, value in named.model.state_dict().items())
        clip: Any = beholder.load(tmp_path / "clip")
        seeing = loaded.model.vision.backbone.state_dict()
        assert all(torch.equal(seeing[name], value) for name, value in clip.model.image.vit.state_dict().items())
        assert loaded.pixels == clip.pixels
        assert next(describe(open_talker(loaded, CPU), pairs / "0000.png")).label is not None

    @pytest.mark.parametrize(("tuning", "fusion"), [("low-rank", "gated"), ("full", "linear"), ("full", "gated")])
    def test_a_named_language_model_is_tuned_when_it_is_asked_for(
        self, tuning: Any, fusion: Any, language: Path, pairs: Path, tmp_path: Path
    ) -> None:
        settings = replace(QUICK, fusion=fusion, tuning=tuning, budget="3 steps", rank=2)
        train_describe(
            pairs, out=tmp_path / "r", language=str(language), settings=settings, device="cpu", threads=1
        )  # fmt: skip
        named: Any = beholder.load(language)
        loaded: Any = beholder.load(tmp_path / "r")
        tuned = loaded.model.speaker.language.state_dict()
        moved = {name: tuned[name] - value for name, value in named.model.state_dict().items()}
        ranks = {name: int(torch.linalg.matrix_rank(one, rtol=1e-3)) for name, one in moved.items() if one.ndim == 2}
        words = ranks.pop("embed.tokens.weight")
        if tuning == "low-rank":
            assert words == 0 and {1, 2} >= {rank for rank in ranks.values() if rank} and any(ranks.values())
        else:
            assert words > 2 and all(rank > 2 for rank in ranks.values())
            steps = [float(one.abs().max()) for one in moved.values() if one.ndim == 2]
            assert max(steps) < 0.05 * settings.lr * 3 * 1.5  # at its own rate, which is slower
        assert next(describe(open_talker(loaded, CPU), pairs / "0000.png")).label is not None

    @pytest.mark.parametrize(("tuning", "vision"), [("low-rank", "clip"), ("full", "clip"), ("full", "embedded")])
    def test_what_sees_is_tuned_when_it_is_asked_for(
        self, tuning: Any, vision: str, pairs: Path, tmp_path: Path
    ) -> None:
        save_clip(tmp_path / "clip")
        name = str(tmp_path / "clip") if vision == "clip" else vision
        settings = replace(QUICK, vision_tuning=tuning, budget="4 steps", rank=2)
        train_describe(pairs, out=tmp_path / "r", vision=name, settings=settings, device="cpu", threads=1)
        before: Any = beholder.load(name) if vision == "clip" else None
        plain = before.model.image.vit if vision == "clip" else efficientnet_lite0().folded()
        loaded: Any = beholder.load(tmp_path / "r")
        tuned = loaded.model.vision.backbone.state_dict()
        moved = {name: tuned[name] - value for name, value in plain.state_dict().items()}
        matrices = [one.flatten(1) for one in moved.values() if one.ndim in (2, 4)]
        assert any(one.abs().max() > 0 for one in matrices)
        if tuning == "low-rank":
            ranks = [int(torch.linalg.matrix_rank(one, rtol=1e-3)) for one in matrices]
            assert set(ranks) <= {0, 1, 2} and any(ranks)
        else:
            most = max(float(one.abs().max()) for one in moved.values())
            assert most < 0.1 * settings.lr  # two steps at its own rate, which is slower
        assert next(describe(open_talker(loaded, CPU), pairs / "0000.png")).label is not None

    def test_a_language_model_with_a_chat_template_is_asked_in_its_manner(
        self, language: Path, pairs: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "chat"
        shutil.copytree(language, folder)
        template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
        (folder / "chat_template.jinja").write_text(template + "{% if add_generation_prompt %}assistant: {% endif %}")
        train_describe(
            pairs, out=tmp_path / "r", language=str(folder), settings=replace(QUICK, budget="2 steps"), device="cpu",
            threads=1,
        )  # fmt: skip
        talker = open_talker(beholder.load(tmp_path / "r"), CPU)
        assert talker.rows.chat is not None
        row = talker.rows.prompt(MARK)
        text = [token for token in row.tokens if token < talker.rows.vocabulary_size]
        assert talker.words.decode(text, has_special=True).split() == ["user:", "<|endoftext|>", "assistant:"]
        assert next(describe(talker, pairs / "0000.png")).label is not None

    def test_what_cannot_see_or_speak_is_told(self, language: Path, pairs: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="gives no tokens of images"):
            train_describe(pairs, out=tmp_path / "r", vision=str(language), settings=QUICK)
        shutil.rmtree(tmp_path / "r", ignore_errors=True)
        save_clip(tmp_path / "clip")
        with pytest.raises(UserError, match="no language model that writes"):
            train_describe(pairs, out=tmp_path / "r", language=str(tmp_path / "clip"), settings=QUICK)


class TestMistakes:
    def refusal(self, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        assert main(["train", "describe", *map(str, arguments)]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    def test_they_are_told_in_one_sentence(
        self, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        base = ["--data", pairs, "--out", tmp_path / "out"]
        for extra, told in (
            (["--budget", "0"], "nothing is learned in no time"),
            (["--budget", "soon"], "--budget soon"),
            (["--batch-size", "0"], "batch_size=0: at least 1"),
            (["--language-share", "1"], "language_share=1"),
            (["--spoken", "fr"], "no column such as captions_fr"),
        ):
            assert told in self.refusal(capsys, *base, *extra)
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    def test_too_few_and_too_equal_are_told(self, tmp_path: Path) -> None:
        few = write_drawings(tmp_path / "few", 30)
        with pytest.raises(UserError, match="at least 20 are needed"):
            train_describe(few, out=tmp_path / "r", settings=QUICK)
        same = write_drawings(tmp_path / "same", 120)
        lines = [{**json.loads(line), "text": "a block"} for line in (same / "metadata.jsonl").read_text().splitlines()]
        (same / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(UserError, match="says one thing only, 'a block'"):
            train_describe(same, out=tmp_path / "r2", settings=QUICK)

    @pytest.mark.parametrize("inputs", [[], ["a.png"]])
    def test_a_question_is_needed(self, inputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["answer", *inputs, "--model", "x"]) == 2
        assert "images and then the question" in capsys.readouterr().err


def test_of_texts_the_one_that_has_most_in_common_with_the_others_is_taken() -> None:
    assert agreed(["two cats", "a dog runs on grass", "a brown dog runs", "a dog runs"]) == "a dog runs"


def test_pieces_of_the_texts_are_a_function_of_seed_and_step() -> None:
    one = TextStream(np.arange(500), 8, 4, seed=1)
    assert torch.equal(one.batch(3)["tokens"], TextStream(np.arange(500), 8, 4, seed=1).batch(3)["tokens"])
    rows = one.batch(3)["tokens"]
    assert rows.shape == (4, 8) and (rows[:, 1:] - rows[:, :-1] == 1).all()
    assert not torch.equal(rows, one.batch(4)["tokens"])


def test_images_looked_at_in_a_step_are_those_that_were_looked_at_once(pairs: Path, tmp_path: Path) -> None:
    """Lessons of a backbone that learns are the lessons of one that does not."""
    run = RunFolder.open(tmp_path / "run", {})
    settings = replace(QUICK, num_shots=2)
    sitting = Sitting(pairs, settings, 0, run, CPU, Limits(), Log(quiet=True))
    material, pixels = gather(sitting, None), PixelConfig(size=128)
    eye = embedded_vision(2)
    seen = look_once(sitting, material, eye, pixels)
    words = replace(as_words(learn_captions(material.texts)), config=WordsConfig())
    rows = DialogueRows(words, eye.num_tokens, words.size, 512)
    once = DialogueStream(material.asked["train"], seen, rows, settings, 6, 3)
    anew = PixelStream(once.lessons, material.samples, pixels, Limits())
    for step in range(3):
        first, second = once.batch(step), anew.batch(step)
        assert torch.equal(first["tokens"], second["tokens"]) and torch.equal(first["weights"], second["weights"])
        with torch.inference_mode():
            looked = eye(second["pixels"])[second["places"]]
        looked = torch.where(second["kept"][..., None], looked, seen.mean)
        assert torch.allclose(looked, first["images"], atol=1e-4)
        assert len(second["pixels"]) == len(second["places"].unique())
    run.close()


def test_what_is_seen_is_the_summary_and_then_the_parts_in_their_places() -> None:
    backbone = efficientnet_lite0()
    seen = SeenTokens(backbone, side=2)
    pixels = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    tokens = seen(pixels)
    assert tokens.shape == (1, seen.num_tokens, seen.width)
    outputs = backbone(pixels)
    assert torch.allclose(tokens[:, 0], outputs.summary, atol=1e-6)
    assert torch.allclose(tokens[:, 1:].mean(1), tokens[:, 0], atol=1e-5)  # equal parts, whose mean is the whole
    top = pixels.clone()
    top[:, :, :64, :64] += 3
    change = (seen(top) - tokens).abs().mean(2)[0, 1:]
    assert change.argmax() == 0
    with pytest.raises(UserError, match="gives no tokens of images"):
        SeenTokens(nn.Linear(2, 2))


def test_a_broken_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": 1, "kind": "describer"}')
    with pytest.raises(UserError, match="cannot be used"):
        beholder.load(tmp_path)
