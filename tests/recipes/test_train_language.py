"""`train language` from texts to a model that writes: packing, held-out bits, small whole runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.cli.main import main
from beholder.data.texts import Text
from beholder.models.gpt import GPT, GPTConfig
from beholder.models.lvm import llama_trunk
from beholder.objectives.next_token import NextToken
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.recipes.describe import DescribeTraining
from beholder.recipes.language import LanguageTraining, train_language
from beholder.recipes.language.judge import MODEL, archiver_bits, frequency_nats, judge, nats_of
from beholder.recipes.language.material import Written, write_all
from beholder.recipes.language.stream import PackedTexts, pack
from beholder.runtime.device import pick_device
from beholder.tasks.saying import Saying, saying_of
from beholder.tasks.write import Writer, open_writer
from beholder.tokenizers.language import learn_words
from beholder.types import UserError

pytest.importorskip("tokenizers", reason="beholder[hub] is not installed")
CPU = pick_device("cpu", 1)
QUICK = LanguageTraining(size="debug", budget="120 steps", length=64, batch_size=4, lr=1e-2, vocabulary_size=300)
WHO, DOES = ("the cat", "a dog", "the bird"), ("sleeps here", "runs away", "sings loud")


def tale(seed: int) -> str:
    """Each animal does always the same, so that who reads knows what comes."""
    order = np.random.default_rng(seed).permutation(30) % 3
    return " ".join(f"{WHO[one]} {DOES[one]}." for one in order)


def written(*sizes: int) -> list[Written]:
    """Texts of so many tokens, all different."""
    ends = np.cumsum(sizes)
    return [
        Written(Text(str(end)), np.arange(end - size, end), np.arange(size) > 0)
        for size, end in zip(sizes, ends, strict=True)
    ]


def fresh(vocabulary: int = 64) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(vocabulary, None, context_length=16, trunk=llama_trunk(32, 2, 2))).eval()


class TestPacking:
    def test_every_token_comes_once_an_epoch(self) -> None:
        stream = PackedTexts(written(5, 9, 3, 11), 8, 1, seed=3)
        for epoch in range(3):
            steps = range(epoch * stream.rows_per_epoch, (epoch + 1) * stream.rows_per_epoch)
            rows = [stream.batch(step) for step in steps]
            real = torch.cat([one["tokens"][one["rows"] > 0] for one in rows])
            assert sorted(real.tolist()) == list(range(28))

    def test_batches_are_a_function_of_seed_and_step(self) -> None:
        again = PackedTexts(written(5, 9, 3, 11), 8, 2, seed=3).batch(7)
        stream = PackedTexts(written(5, 9, 3, 11), 8, 2, seed=3)
        for step in (0, 9, 7):
            batch = stream.batch(step)
        assert all(torch.equal(batch[name], again[name]) for name in ("tokens", "weights", "rows"))

    def test_no_text_sees_another(self) -> None:
        model = fresh()
        packed = pack(written(5, 6, 5), 16)
        tokens, rows = torch.from_numpy(packed.tokens), torch.from_numpy(packed.texts)
        together = model(tokens, rows=rows)
        for number, (first, size) in enumerate([(0, 5), (5, 6), (11, 5)], start=1):
            alone = model(tokens[:, first : first + size])
            assert torch.allclose(together[:, rows[0] == number], alone, atol=1e-5)

    def test_the_first_token_of_a_text_is_not_foretold(self) -> None:
        batch = {**PackedTexts(written(5, 6, 5), 16, 1, seed=0).batch(0)}
        firsts = torch.cat([torch.tensor([True]), batch["rows"][0, 1:] != batch["rows"][0, :-1]])
        assert torch.equal(batch["weights"][0] == 0, firsts)

    def test_the_loss_of_packed_texts_is_that_of_each_alone(self) -> None:
        model, texts = fresh(), written(5, 6, 5)
        packed = pack(texts, 16)
        batch = {
            "tokens": torch.from_numpy(packed.tokens), "rows": torch.from_numpy(packed.texts),
            "weights": torch.from_numpy(packed.counts.astype(np.float32)),
        }  # fmt: skip
        each = nats_of(model, texts, 16, 4, CPU)
        assert NextToken()(model, batch).total.item() == pytest.approx(each.sum() / 13, abs=1e-5)


class TestJudging:
    def test_who_knows_nothing_needs_the_logarithm_of_the_vocabulary(self) -> None:
        model, texts = fresh(), written(40, 7)
        with torch.no_grad():
            model.embed.tokens.weight.zero_()
        assert nats_of(model, texts, 16, 4, CPU) == pytest.approx([39 * math.log(64), 6 * math.log(64)], rel=1e-5)

    def test_a_long_text_is_foretold_token_by_token_from_its_past(self) -> None:
        model, (text,) = fresh().requires_grad_(False), written(40)
        costs = []
        for place in range(1, 40):  # by hand: rows of 16 that overlap by half
            first = 0 if place < 16 else (place - 8) // 8 * 8
            logits = model(torch.from_numpy(text.tokens[first:place])[None])[0, -1].log_softmax(0)
            costs.append(-float(logits[text.tokens[place]]))
        assert nats_of(model, [text], 16, 4, CPU)[0] == pytest.approx(sum(costs), rel=1e-5)

    def test_frequencies_and_archiver_know_repetitions(self) -> None:
        one = Written(Text("a", "abcabcabc" * 200), np.array([0, 1, 1, 1]), np.array([False, True, True, True]))
        assert frequency_nats([one], [one], 2)[0] == pytest.approx(-3 * math.log(4 / 5))
        other = replace(one, text=Text("b", "".join(map(chr, np.random.default_rng(0).integers(33, 99, 2000)))))
        assert archiver_bits([one], [one]) < 0.2 < 4 < archiver_bits([one], [other])

    def test_the_lead_is_in_bits_a_byte(self) -> None:
        texts = [Written(Text(str(n), "x" * 10), np.arange(6), np.arange(6) > 0) for n in range(4)]
        nats = {MODEL: np.full(4, 10 * math.log(2)), "other": np.full(4, 15 * math.log(2))}
        rows = judge(texts, nats, None, seed=0)["rows"]
        assert rows[MODEL]["bits_per_byte"] == pytest.approx(1.0)
        assert rows["other"]["behind"]["value"] == pytest.approx(0.5)
        assert rows[MODEL]["nats_per_token"] == pytest.approx(2 * math.log(2))


class TestWords:
    def test_decode_undoes_encode(self) -> None:
        words = learn_words(["Ein Haus.\n  Zwei Häuser"], 300, 64)
        for text in ("Ein  Haus\n\tüber 猫 😀", " x ", "NAÏVE"):
            assert words.decode(words.numbers(text)) == text

    def test_conversations_are_told_apart_and_only_answers_count(self) -> None:
        words = learn_words(["how many cats two"], 300, 64, are_conversations=True)
        (row,) = write_all([Text("a", turns=(("how many", "two"), ("cats", "two")))], words, words.size)
        told = words.decode(row.tokens.tolist(), has_special=True)
        assert told == "<|begin|><|user|>how many<|assistant|>two<|end|><|user|>cats<|assistant|>two<|end|>"
        assert words.decode(row.tokens[row.counts].tolist(), has_special=True) == "two<|end|>two<|end|>"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "tales.jsonl"
    path.write_text("\n".join(json.dumps({"text": tale(seed)}) for seed in range(60)))
    return path


@pytest.fixture(scope="module")
def finished(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "language"
    return out, train_language(texts, out=out, settings=QUICK, device="cpu", threads=1)


@pytest.mark.slow
class TestARun:
    def test_it_learns_what_follows_what(self, finished: tuple[Path, dict[str, Any]]) -> None:
        out, told = finished
        rows = told["judged"]["rows"]
        assert rows["model"]["bits_per_byte"] < 0.7 * rows["frequency of tokens"]["bits_per_byte"]
        writer = open_writer(beholder.load(out), CPU)
        said = writer.write([writer.begin(f"the bird sings loud. {who}") for who in WHO], replace(Saying(1)))
        assert [text.strip().split(".")[0] for text in said] == list(DOES)

    def test_transformers_opens_it_and_says_the_same(self, finished: tuple[Path, dict[str, Any]]) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        out, _ = finished
        table, model = (kind.from_pretrained(out / "model") for kind in (AutoTokenizer, AutoModelForCausalLM))
        row = table("the bird sings", return_tensors="pt")
        told = model.generate(**row, max_new_tokens=6, do_sample=False)[0, row["input_ids"].shape[1] :]
        writer = open_writer(beholder.load(out), CPU)
        assert row["input_ids"][0].tolist() == writer.begin("the bird sings")
        assert writer.write([writer.begin("the bird sings")], replace(Saying(1), num_tokens=6)) == [table.decode(told)]

    def test_pieces_of_a_stream_are_the_whole(self, finished: tuple[Path, dict[str, Any]]) -> None:
        writer = open_writer(beholder.load(finished[0]), CPU)
        prompt = writer.begin("a dog")
        for saying in (Saying(1), saying_of(temperature=1.0, seed=4), saying_of(1, stop=("away.",))):
            pieces = list(writer.stream(prompt, saying))
            assert "".join(pieces) == writer.write([prompt], saying)[0]
            assert "away." not in "".join(pieces) or not saying.stops
            assert len(pieces) > 1

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: tuple[Path, dict[str, Any]], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("beholder.recipes.language.run.frequency_nats", stop)
            with pytest.raises(KeyboardInterrupt):
                train_language(texts, out=tmp_path / "r", settings=QUICK, device="cpu", threads=1)
        train_language(texts, out=tmp_path / "r", settings=QUICK, device="cpu", threads=1)
        weights = [out / "model" / "model.safetensors" for out in (finished[0], tmp_path / "r")]
        assert weights[0].read_bytes() == weights[1].read_bytes()

    def test_its_page_tells_what_it_writes(self, finished: tuple[Path, dict[str, Any]]) -> None:
        out, told = finished
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
        assert "bits a byte" in page and told["samples"][0]["begun"] in page

    @pytest.mark.parametrize("tuning", ["full", "low-rank"])
    def test_a_named_model_goes_on_learning(
        self, tuning: Any, finished: tuple[Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        path = tmp_path / "other.jsonl"
        other = [tale(seed).replace("sings loud", "says nothing") for seed in range(40)]
        path.write_text("\n".join(json.dumps({"text": text}) for text in other))
        settings = replace(QUICK, tuning=tuning, budget="120 steps", full_rate=0.5)
        named = str(finished[0] / "model")
        told = train_language(path, out=tmp_path / "r", language=named, settings=settings, device="cpu", threads=1)
        assert told["judged"]["rows"]["before this training"]["behind"]["interval"][0] > 0
        writer = open_writer(beholder.load(tmp_path / "r"), CPU)
        assert "sings" not in writer.write([writer.begin("the cat sleeps here. the bird")], Saying(1))[0]

    def test_conversations_are_learned_and_asked_by_the_verb(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = [{"question": f"what does {WHO[n % 3]} do, {n}?", "answer": DOES[n % 3]} for n in range(90)]
        (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, rows)))
        train_language(tmp_path / "qa.jsonl", out=tmp_path / "r", settings=QUICK, device="cpu", threads=1)
        for who, does in zip(WHO, DOES, strict=True):
            asked = ["write", f"what does {who} do, 7?", "--model", str(tmp_path / "r"), "--temperature", "0"]
            assert main([*asked, "--device", "cpu"]) == 0
            assert capsys.readouterr().out == f"{does}\n"


class TestMistakes:
    def test_too_few_texts_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one text")
        with pytest.raises(UserError, match="has 1 text and at least 10"):
            train_language(tmp_path / "a.txt", out=tmp_path / "r", settings=QUICK)

    @pytest.mark.parametrize(
        ("changed", "told"),
        [({"length": 3}, "length=3"), ({"vocabulary_size": 9}, "vocabulary_size=9"), ({"budget": "0"}, "budget")],
    )
    def test_settings_that_cannot_work_are_told(self, changed: dict[str, Any], told: str, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": tale(seed)}) for seed in range(12)))
        with pytest.raises(UserError, match=told):
            train_language(tmp_path / "a.jsonl", out=tmp_path / "r", settings=replace(QUICK, **changed))

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ([], "Write how the text begins"),
            (["a", "--count", "0"], "--count 0"),
            (["a", "--count", "2", "--temperature", "0"], "all are the same"),
        ],
    )
    def test_the_verb_tells_them(
        self, asked: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = learn_words(["how many"], 300, 64)
        export_to_huggingface(fresh(words.size), tmp_path / "m", kind="llama", words=words)
        assert main(["write", *asked, "--model", str(tmp_path / "m"), "--device", "cpu"]) == 2
        assert told in capsys.readouterr().err

    def test_python_writes_what_the_verb_writes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = learn_words(["how many"], 300, 64)
        export_to_huggingface(fresh(words.size), tmp_path / "m", kind="llama", words=words)
        told = beholder.write(["how", "many"], tmp_path / "m", tokens=5, count=2, seed=3, device="cpu")
        asked = ["write", "how", "many", "--model", str(tmp_path / "m"), "--tokens", "5", "--count", "2", "--seed", "3"]
        assert main([*asked, "--device", "cpu", "--json"]) == 0
        assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == told and len(told) == 4

    def test_what_writes_nothing_is_told(self) -> None:
        with pytest.raises(UserError, match="writes no text"):
            open_writer(beholder.load("embedded"), CPU)

    def test_an_empty_question_is_told(self) -> None:
        words = learn_words(["how many"], 300, 64, are_conversations=True)
        with pytest.raises(UserError, match="question is empty"):
            Writer(fresh(words.size), words, CPU).ask("  ")


def test_describe_and_language_have_the_same_sizes() -> None:
    for size in ("tiny", "small"):
        describe, language = replace(DescribeTraining(), size=size), replace(LanguageTraining(), size=size)
        assert describe.language(500).trunk == language.language(500).trunk
