"""Text to token numbers and back: as the tokenizers of `transformers` do it, and nothing is cut without a word."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from spellings import BEGIN, END, TEXTS, save_pairs, save_pieces, whole_file

from beholder.pretrained.huggingface.absent import Absent
from beholder.pretrained.huggingface.words import read_words, write_words
from beholder.runtime.files import read_json, write_json
from beholder.tokenizers.text import Words
from beholder.types import UserError


def gpt2(folder: Path, **settings: Any) -> tuple[Words, Any]:
    from transformers import GPT2Tokenizer

    save_pairs(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", **settings})
    files = {"vocab": str(folder / "vocab.json"), "merges": str(folder / "merges.txt")}
    return read_words(folder, {"model_type": "gpt2"}), GPT2Tokenizer(**files, **settings)


def clip(folder: Path) -> tuple[Words, Any]:
    from transformers import CLIPTokenizer

    save_pairs(folder, (BEGIN, END), "</w>")
    files = {"vocab": str(folder / "vocab.json"), "merges": str(folder / "merges.txt")}
    text = {"max_position_embeddings": 77, "vocab_size": 10_000}
    return read_words(folder, {"model_type": "clip", "text_config": text}), CLIPTokenizer(**files)


def bert(folder: Path, **settings: Any) -> tuple[Words, Any]:
    from transformers import BertTokenizer

    save_pieces(folder)
    write_json(folder / "tokenizer_config.json", settings)
    return read_words(folder, {"model_type": "bert"}), BertTokenizer(vocab=str(folder / "vocab.txt"), **settings)


MAKERS = {
    "gpt2": gpt2,
    "gpt2, space before": lambda folder: gpt2(folder, add_prefix_space=True),
    "gpt2, begins": lambda folder: gpt2(folder, add_bos_token=True, add_eos_token=False),
    "clip": clip,
    "bert": bert,
    "bert, cased": lambda folder: bert(folder, do_lower_case=False),
    "bert, accents kept": lambda folder: bert(folder, strip_accents=False, tokenize_chinese_chars=False),
}


@pytest.fixture(params=MAKERS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Words, Any]:
    """Ours from the plain files, and the reference from the same."""
    return MAKERS[request.param](tmp_path)


def numbers(words: Words, text: str) -> list[int]:
    try:
        return words.encode(text).numbers[0].tolist()
    except UserError as error:
        assert "is empty" in str(error)
        return []


def test_numbers_are_those_of_the_reference(pair: tuple[Words, Any], tmp_path: Path) -> None:
    ours, theirs = pair
    expected = [theirs(text)["input_ids"] for text in TEXTS]
    assert [numbers(ours, text) for text in TEXTS] == expected
    assert len({tuple(row) for row in expected}) > 6, "the texts tell tokenizers apart"
    again = read_words(whole_file(tmp_path / "whole", theirs), {"model_type": "gpt2"})
    assert [numbers(again, text) for text in TEXTS] == expected


def test_text_comes_back_as_from_the_reference(pair: tuple[Words, Any]) -> None:
    ours, theirs = pair
    for text in TEXTS:
        row = theirs(text)["input_ids"]
        plain = {"clean_up_tokenization_spaces": False}
        assert ours.decode(row) == theirs.decode(row, skip_special_tokens=True, **plain)
        assert ours.decode(row, has_special=True) == theirs.decode(row, **plain)


def test_special_tokens_are_known_by_name(pair: tuple[Words, Any]) -> None:
    ours, theirs = pair
    begin = theirs.bos_token_id if theirs.bos_token_id is not None else theirs.cls_token_id
    end = theirs.eos_token_id if theirs.eos_token_id is not None else theirs.sep_token_id
    special = ours.special
    assert (special.begin, special.end, special.pad) == (begin, end, theirs.pad_token_id)
    assert (special.unknown, special.mask) == (theirs.unk_token_id, theirs.mask_token_id)
    assert special.stops == (end,)
    assert ours.size == len(theirs)


def test_what_is_written_opens_in_transformers_and_is_read_again(pair: tuple[Words, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ours, theirs = pair
    (tmp_path / "written").mkdir()
    write_words(tmp_path / "written", ours)
    write_json(tmp_path / "written" / "config.json", {"model_type": "gpt2"})
    opened, again = AutoTokenizer.from_pretrained(tmp_path / "written"), read_words(tmp_path / "written", {})
    for text in TEXTS:
        expected = theirs(text)["input_ids"]
        assert opened(text)["input_ids"] == expected
        assert numbers(again, text) == expected
    assert again.special == ours.special


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_what_once_was_sentencepiece_is_read_from_its_whole_file(kind: str, tmp_path: Path) -> None:
    from transformers import LlamaTokenizer, T5Tokenizer

    letters = sorted({letter for text in TEXTS[:3] for letter in text if not letter.isspace()})
    bits = ["▁", *letters, *(f"▁{letter}" for letter in letters), "▁the", "▁cell", "ell"]
    if kind == "t5":
        scores = [(one, 0.0) for one in ("<pad>", "</s>", "<unk>")]
        theirs: Any = T5Tokenizer(
            vocab=[*scores, *((bit, -float(len(bits) - i)) for i, bit in enumerate(bits))], extra_ids=3
        )
    else:
        table = {one: index for index, one in enumerate(("<unk>", "<s>", "</s>", *bits))}
        theirs = LlamaTokenizer(vocab=table, merges=[("▁", "t")], add_bos_token=True)
    words = read_words(whole_file(tmp_path, theirs), {"model_type": kind})
    for text in TEXTS:
        row = theirs(text)["input_ids"]
        assert numbers(words, text) == row
        assert words.decode(row) == theirs.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert (words.special.end, words.special.begin) == (theirs.eos_token_id, theirs.bos_token_id)


class TestBatches:
    @pytest.fixture
    def words(self, tmp_path: Path) -> Words:
        return gpt2(tmp_path)[0]

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_rows_are_filled_and_told_apart(self, words: Words, side: Any) -> None:
        texts = ["a", "a photo of a cell", "solar"]
        batch = words.encode(texts, pad_side=side)
        assert batch.is_real is not None
        for text, row, real in zip(texts, batch.numbers, batch.is_real, strict=True):
            assert row[real].tolist() == numbers(words, text)
            assert bool(real[-1 if side == "left" else 0])
            assert set(row[~real].tolist()) <= {words.special.end}
        assert batch.num_cut == (0, 0, 0)

    def test_bert_is_filled_with_its_own_token_as_the_reference_does(self, tmp_path: Path) -> None:
        ours, theirs = bert(tmp_path)
        texts = ["the quick fox", "", "a photo of a whole cell"]
        batch, expected = ours.encode(texts), theirs(texts, padding=True, return_tensors="pt")
        assert torch.equal(batch.numbers, expected["input_ids"])
        assert batch.is_real is not None
        assert torch.equal(batch.is_real.long(), expected["attention_mask"])

    @pytest.mark.parametrize("make", [bert, clip])
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_cutting_keeps_begin_and_end_and_is_told(self, make: Any, side: Any, tmp_path: Path) -> None:
        _, theirs = make(tmp_path)
        settings = {"model_max_length": 9, "truncation_side": side, "padding_side": "left"}
        write_json(tmp_path / "tokenizer_config.json", settings)
        words = read_words(tmp_path, {"model_type": make.__name__})
        texts = [TEXTS[0], "a", TEXTS[1]]
        theirs.truncation_side, theirs.padding_side = side, "left"
        expected = theirs(texts, padding=True, truncation=True, max_length=9, return_tensors="pt")
        batch = words.encode(texts, is_cut=True)
        assert torch.equal(batch.numbers, expected["input_ids"])
        assert batch.num_cut == tuple(max(0, len(theirs(text)["input_ids"]) - 9) for text in texts)
        assert batch.num_cut[0] > 0 == batch.num_cut[1]
        with pytest.raises(UserError, match=r"Text 3 has \d+ tokens and the model reads 9; shorten it"):
            words.encode([TEXTS[0][:9], "a", TEXTS[1]])

    def test_the_limit_is_the_smaller_of_those_that_are_told(self, tmp_path: Path) -> None:
        save_pairs(tmp_path)
        write_json(tmp_path / "tokenizer_config.json", {"model_max_length": 10**30})
        assert read_words(tmp_path, {"model_type": "gpt2"}).config.longest is None
        assert read_words(tmp_path, {"model_type": "gpt2", "n_positions": 32}).config.longest == 32
        write_json(tmp_path / "tokenizer_config.json", {"model_max_length": 20})
        words = read_words(tmp_path, {"model_type": "gpt2", "n_positions": 32})
        assert words.config.longest == 20
        with pytest.raises(UserError, match="the model reads 4"):
            words.encode("a photo of a tree and a house", longest=4)
        with pytest.raises(UserError, match="no room"):
            bert(tmp_path / "bert")[0].encode("the fox", longest=2, is_cut=True)

    def test_a_file_that_cuts_and_fills_by_itself_does_not(self, tmp_path: Path) -> None:
        words, texts = bert(tmp_path / "plain")[0], ["the fox", "a photo of a solar cell"]
        expected = words.encode(texts)
        words.table.enable_truncation(5)
        words.table.enable_padding(length=30)
        (tmp_path / "tokenizer.json").write_text(words.table.to_str(), encoding="utf-8")
        batch = read_words(tmp_path, {"model_type": "bert"}).encode(texts)
        assert torch.equal(batch.numbers, expected.numbers)
        assert 5 < batch.numbers.shape[1] < 30

    def test_a_model_that_reads_its_filling_gets_full_rows_and_no_mask(self, tmp_path: Path) -> None:
        save_pieces(tmp_path)
        text = {"max_position_embeddings": 12, "vocab_size": 999}
        write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
        batch = read_words(tmp_path, {"model_type": "siglip", "text_config": text}).encode("a photo")
        assert batch.numbers.shape == (1, 12)
        assert batch.is_real is None

    def test_no_texts_are_no_rows(self, words: Words) -> None:
        assert words.encode([]).numbers.shape == (0, 0)


class TestTrouble:
    def test_an_empty_text_without_begin_or_end(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="Text 2 is empty"):
            gpt2(tmp_path)[0].encode(["a", ""])

    def test_what_is_no_text(self, tmp_path: Path) -> None:
        words = gpt2(tmp_path)[0]
        with pytest.raises(UserError, match="lone surrogates"):
            words.encode("\ud800")
        with pytest.raises(UserError, match="999999 is no token"):
            words.decode([1, 999999])
        with pytest.raises(UserError, match="'nonesuch' is no token"):
            words.number_of("nonesuch")
        assert words.number_of(END) == words.special.end

    def test_a_tokenizer_of_another_model(self, tmp_path: Path) -> None:
        save_pairs(tmp_path)
        words = read_words(tmp_path, {"model_type": "gpt2", "vocab_size": 100})
        with pytest.raises(UserError, match="the model has a table of 100"):
            words.encode("cracked solar cell")

    def test_the_library_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_pairs(tmp_path)
        real = builtins.__import__

        def without(name: str, *rest: Any, **more: Any) -> Any:
            if name == "tokenizers":
                raise ImportError(name)
            return real(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(Absent, match=r"pip install 'beholder\[hub\]'"):
            read_words(tmp_path, {"model_type": "gpt2"})

    def test_a_file_of_sentencepiece(self, tmp_path: Path) -> None:
        (tmp_path / "spiece.model").write_bytes(b"\x0a\x0e")
        with pytest.raises(Absent, match=r"spiece\.model only.*tokenizer\.json"):
            read_words(tmp_path, {"model_type": "t5"})

    def test_rules_that_the_plain_files_do_not_tell(self, tmp_path: Path) -> None:
        save_pairs(tmp_path)
        with pytest.raises(Absent, match=r"tokenizer\.json"):
            read_words(tmp_path, {"model_type": "qwen2"})
        with pytest.raises(Absent, match="RobertaTokenizer"):
            read_words(tmp_path, {"model_type": "gpt2", "tokenizer_class": "RobertaTokenizer"})

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(Absent, match=r"holds no tokenizer\.json"):
            read_words(tmp_path, {"model_type": "gpt2"})

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1.0"}', '{"model": {"type": "None"}}'])
    def test_a_broken_file(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(UserError, match=r"tokenizer\.json cannot be used") as caught:
            read_words(tmp_path, {"model_type": "gpt2"})
        assert not isinstance(caught.value, Absent)

    def test_broken_plain_files(self, tmp_path: Path) -> None:
        save_pairs(tmp_path)
        whole = (tmp_path / "merges.txt").read_text(encoding="utf-8")
        (tmp_path / "merges.txt").write_text("#version: 0.2\nnone such\n")
        with pytest.raises(UserError, match=r"vocab\.json cannot be used"):
            read_words(tmp_path, {"model_type": "gpt2"})
        (tmp_path / "merges.txt").unlink()
        with pytest.raises(UserError, match=r"merges\.txt is missing"):
            read_words(tmp_path, {"model_type": "gpt2"})
        (tmp_path / "merges.txt").write_text(whole, encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text("{")
        with pytest.raises(UserError, match=r"tokenizer_config\.json is no JSON"):
            read_words(tmp_path, {"model_type": "gpt2"})

    def test_a_token_beside_the_table_has_the_number_that_is_told(self, tmp_path: Path) -> None:
        save_pairs(tmp_path)
        size = len(read_json(tmp_path / "vocab.json"))
        write_json(tmp_path / "added_tokens.json", {"<pad>": size, "<image>": size + 1})
        write_json(tmp_path / "special_tokens_map.json", {"pad_token": {"content": "<pad>"}})
        words = read_words(tmp_path, {"model_type": "gpt2"})
        assert words.special.pad == size
        assert numbers(words, "a<image>")[-1] == size + 1
        write_json(tmp_path / "added_tokens.json", {"<pad>": size + 7})
        with pytest.raises(UserError, match="<pad>"):
            read_words(tmp_path, {"model_type": "gpt2"})


def test_all_tokens_that_end_an_answer_are_known(tmp_path: Path) -> None:
    save_pairs(tmp_path)
    write_json(tmp_path / "generation_config.json", {"eos_token_id": [7, 9]})
    words = read_words(tmp_path, {"model_type": "gpt2", "eos_token_id": 9})
    assert words.special.stops == (words.special.end, 7, 9)
