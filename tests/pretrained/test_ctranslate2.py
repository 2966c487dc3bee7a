"""Whisper out of CTranslate2's file: it is the model that was written, and a damaged file is told in a sentence."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from beholder.checkpoint.rules import write_rules
from beholder.models.whisper import Whisper
from beholder.pretrained.ctranslate2 import load_ctranslate2, rules
from beholder.pretrained.ctranslate2_file import read_variables
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.tasks.transcribe import transcribe
from beholder.types import Answer, UserError

TYPES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.float16: 4, torch.bfloat16: 5}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = [
    "Ġ",
    *LETTERS,
    *LETTERS.upper(),
    *"0123456789",
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|notimestamps|>",
    "<|0.00|>",
]
ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


def text(one: str) -> bytes:
    raw = one.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def write_model(
    path: Path, tensors: Mapping[str, Tensor], aliases: Mapping[str, str] = ALIASES, kind: str = "WhisperSpec"
) -> Path:
    """As the format's description says it, byte by byte."""
    parts = [struct.pack("<I", 6), text(kind), struct.pack("<I", 3), struct.pack("<I", len(tensors))]
    for name, tensor in sorted(tensors.items()):
        values = bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist())
        parts += [text(name), struct.pack("<B", tensor.ndim), *(struct.pack("<I", size) for size in tensor.shape)]
        parts += [struct.pack("<B", TYPES[tensor.dtype]), struct.pack("<I", len(values)), values]
    parts += [struct.pack("<I", len(aliases)), *(text(alias) + text(name) for alias, name in aliases.items())]
    path.write_bytes(b"".join(parts))
    return path


def reference() -> Any:
    transformers = pytest.importorskip("transformers", reason="the reference models come from it")
    from parity.reference import randomise

    config = transformers.WhisperConfig(
        vocab_size=len(VOCABULARY), num_mel_bins=12, encoder_layers=2, encoder_attention_heads=3, decoder_layers=3,
        decoder_attention_heads=6, decoder_ffn_dim=50, encoder_ffn_dim=44, d_model=36, max_source_positions=50,
        max_target_positions=31, pad_token_id=63, bos_token_id=63, eos_token_id=63, decoder_start_token_id=64,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return randomise(transformers.WhisperForConditionalGeneration(config))


def theirs(model: Any) -> dict[str, Tensor]:
    """What CTranslate2's converter makes of it: projections of one input in one, the keys' bias zero."""
    values = {name.removeprefix("model."): value.detach() for name, value in model.named_parameters()}
    found = {
        "encoder/position_encodings/encodings": values["encoder.embed_positions.weight"],
        "decoder/position_encodings/encodings": values["decoder.embed_positions.weight"],
        "decoder/embeddings/weight": values["decoder.embed_tokens.weight"],
        "encoder/num_heads": torch.tensor(3, dtype=torch.int16),
        "decoder/num_heads": torch.tensor(6, dtype=torch.int16),
        "decoder/alignment_heads": torch.tensor(1, dtype=torch.int16),
        "decoder/alignment_layer": torch.tensor(-1, dtype=torch.int16),
    }
    switches = {"activation": 3, "alibi": 0, "pre_norm": 1, "scale_embeddings": 0, "start_from_zero_embedding": 0}
    found |= {f"decoder/{name}": torch.tensor(value, dtype=torch.int8) for name, value in switches.items()}
    for place in ("conv1", "conv2"):
        found |= {f"encoder/{place}/{part}": values[f"encoder.{place}.{part}"] for part in ("weight", "bias")}
    for side, depth in (("encoder", 2), ("decoder", 3)):
        norms = {f"{side}/layer_norm": f"{side}.layer_norm"}
        for index in range(depth):
            here, there = f"{side}/layer_{index}", f"{side}.layers.{index}"
            norms |= {
                f"{here}/self_attention/layer_norm": f"{there}.self_attn_layer_norm",
                f"{here}/ffn/layer_norm": f"{there}.final_layer_norm",
            }
            joined = {f"{here}/self_attention/linear_0": (f"{there}.self_attn", "qkv"),
                      f"{here}/self_attention/linear_1": (f"{there}.self_attn", "o")}  # fmt: skip
            if side == "decoder":
                norms[f"{here}/attention/layer_norm"] = f"{there}.encoder_attn_layer_norm"
                joined |= {
                    f"{here}/attention/linear_{number}": (f"{there}.encoder_attn", kinds)
                    for number, kinds in enumerate(("q", "kv", "o"))
                }
            for name, (place, kinds) in joined.items():
                names = [f"{place}.{'out' if kind == 'o' else kind}_proj" for kind in kinds]
                found[f"{name}/weight"] = torch.cat([values[f"{one}.weight"] for one in names])
                found[f"{name}/bias"] = torch.cat([values.get(f"{one}.bias", torch.zeros(36)) for one in names])
            for number in (0, 1):
                for part in ("weight", "bias"):
                    found[f"{here}/ffn/linear_{number}/{part}"] = values[f"{there}.fc{number + 1}.{part}"]
        for name, place in norms.items():
            found |= {f"{name}/gamma": values[f"{place}.weight"], f"{name}/beta": values[f"{place}.bias"]}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder as the converter writes it, and the reference."""
    from beholder.tokenizers.word_tables import byte_pairs

    folder, model = tmp_path_factory.mktemp("whisper"), reference()
    write_model(folder / "model.bin", theirs(model))
    (folder / "vocabulary.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "config.json").write_text('{"suppress_ids": [3, 9], "suppress_ids_begin": [0, 63]}')
    table = byte_pairs({token: number for number, token in enumerate(VOCABULARY[:63])}, [])
    table.add_special_tokens(VOCABULARY[63:])
    (folder / "tokenizer.json").write_text(table.to_str(), encoding="utf-8")
    return folder, model


def opened(made: tuple[Path, Any]) -> Foreign:
    found = load(made[0])
    assert isinstance(found, Foreign)
    return found


def sound() -> Tensor:
    return torch.randn(2, 12, 100, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_it_is_the_reference(made: tuple[Path, Any]) -> None:
    from parity.reference import relative_error

    found, tokens = opened(made), torch.randint(0, 67, (2, 23), generator=torch.Generator().manual_seed(1))
    expected = made[1](input_features=sound(), decoder_input_ids=tokens).logits
    assert relative_error(found.model(sound(), tokens), expected) <= 1e-5
    assert all(not one.requires_grad for one in found.model.parameters())
    config = found.config
    assert (config.start_token, config.end_tokens, config.forced_tokens) == (64, (63,), (65,))
    assert (config.suppressed_tokens, config.first_suppressed_tokens) == ((3, 9), (0, 63))
    assert found.need_words().decode([63, 7, 8, 0, 27, 63]) == "gh A"


def test_every_number_is_used_and_written_back_as_it_was(made: tuple[Path, Any]) -> None:
    found, tensors = opened(made), theirs(made[1])
    named = [name for rule in rules(found.config) for name in rule.theirs]
    assert len(named) == len(set(named)) == len({name for name, one in tensors.items() if one.ndim})
    written = write_rules(found.model.state_dict(), rules(found.config))
    assert all(torch.equal(written[name], tensors[name]) for name in named)
    ours = [name for rule in rules(found.config) for name in rule.ours]
    assert sorted(ours) == sorted(found.model.state_dict())


def test_half_precision_is_opened_in_single(made: tuple[Path, Any], tmp_path: Path) -> None:
    tensors = {name: one.half() if one.is_floating_point() else one for name, one in theirs(made[1]).items()}
    found = load_ctranslate2(rewritten(made, tmp_path, tensors))
    whole = opened(made).model.state_dict()
    assert all(torch.equal(one, whole[name].half().float()) for name, one in found.model.state_dict().items())


def rewritten(made: tuple[Path, Any], folder: Path, tensors: Mapping[str, Tensor], **told: Any) -> Path:
    for name in ("vocabulary.txt", "config.json"):
        (folder / name).write_bytes((made[0] / name).read_bytes())
    write_model(folder / "model.bin", tensors, **told)
    return folder


def test_it_opens_in_transformers_with_what_is_not_to_be_told(made: tuple[Path, Any], tmp_path: Path) -> None:
    import transformers

    assert export_to_huggingface(opened(made), tmp_path / "exported") == "whisper"
    again = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "exported")
    expected = dict(made[1].named_parameters())
    assert all(torch.equal(value, expected[name]) for name, value in again.named_parameters())
    assert again.generation_config.suppress_tokens == [3, 9] and again.generation_config.begin_suppress_tokens == [
        0,
        63,
    ]
    found = load(tmp_path / "exported")
    assert isinstance(found, Foreign) and found.config == opened(made).config


def test_a_file_that_is_cut_short_or_damaged_is_told_wherever_it_is(made: tuple[Path, Any], tmp_path: Path) -> None:
    data = (made[0] / "model.bin").read_bytes()
    folder = rewritten(made, tmp_path, {})
    for place in (0, 3, 5, 17, 22, 40, len(data) // 2, len(data) - 60, len(data) - 1):
        (folder / "model.bin").write_bytes(data[:place])
        with pytest.raises(UserError, match="is cut short: it ends within"):
            load(folder)
    (folder / "model.bin").write_bytes(data + b"more")
    with pytest.raises(UserError, match="4 bytes follow after its end"):
        load(folder)
    name = data.index(b"decoder/embeddings/weight\0") + 26
    for place, byte, match in (
        (0, 5, "begins with 5"), (6, ord("w"), "holds a whisperSpec of revision 3"), (18, 4, "revision 4"),
        (name, 1, "is damaged|is cut short"), (name + 1, 99, "cannot lie in"), (name + 9, 7, "is of type 7"),
        (name + 9, 1, "cannot lie in"), (name - 5, 0xFF, "is no text"),
    ):  # fmt: skip
        (folder / "model.bin").write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
        with pytest.raises(UserError, match=match):
            load(folder)
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(0, 3000, (200,), generator=generator).tolist():
        (folder / "model.bin").write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            read_variables(folder / "model.bin", "WhisperSpec", 3)  # a changed weight is a weight
        except UserError as error:
            assert str(folder) in str(error)


def test_another_model_is_refused_by_what_differs(made: tuple[Path, Any], tmp_path: Path) -> None:
    tensors = theirs(made[1])
    bias = tensors["decoder/layer_1/attention/linear_1/bias"].clone()
    bias[5] = 0.1
    scale = torch.ones(36)
    for changed, match in (
        ({"decoder/layer_1/attention/linear_1/bias": bias}, "its keys have a bias"),
        ({"decoder/layer_0/ffn/linear_0/weight_scale": scale}, "8 or 16 bits"),
        ({"decoder/alibi": torch.tensor(1, dtype=torch.int8)}, "decoder/alibi = 1"),
        ({"decoder/activation": torch.tensor(0, dtype=torch.int8)}, "decoder/activation = 0"),
        ({"decoder/stray": scale}, "has unknown decoder/stray"),
        ({"encoder/num_heads": torch.tensor(5, dtype=torch.int16)}, "5 heads for a width of 36"),
        ({"encoder/num_heads": torch.ones(2, dtype=torch.int16)}, "is no Whisper"),
        ({"encoder/conv1/weight": torch.ones(36)}, "is no Whisper"),
        ({"decoder/alibi": torch.zeros(2, dtype=torch.int8)}, r"decoder/alibi = \[0, 0\]"),
        ({"encoder/layer_1/ffn/linear_1/weight": torch.zeros(36, 43)}, "misshapen"),
    ):
        with pytest.raises(UserError, match=match):
            load(rewritten(made, tmp_path, {**tensors, **changed}))
    for name in ("encoder/conv1/weight", "decoder/layer_2/ffn/layer_norm/beta", "encoder/num_heads"):
        with pytest.raises(UserError, match=f"lacks {name}"):
            load(rewritten(made, tmp_path, {other: one for other, one in tensors.items() if other != name}))
    with pytest.raises(UserError, match="another head than its table"):
        load(rewritten(made, tmp_path, tensors, aliases={}))
    with pytest.raises(UserError, match="holds a TransformerSpec"):
        load(rewritten(made, tmp_path, tensors, kind="TransformerSpec"))


def test_what_lies_beside_the_weights_is_needed(made: tuple[Path, Any], tmp_path: Path) -> None:
    folder = rewritten(made, tmp_path, theirs(made[1]))
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        transcribe(load(folder), torch.zeros(16_000))  # type: ignore[arg-type]
    (folder / "vocabulary.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"no token <\|endoftext\|>"):
        load(folder)
    (folder / "vocabulary.txt").write_text("\n".join(VOCABULARY[1:]))
    with pytest.raises(UserError, match="lists 66 tokens for a table of 67"):
        load(folder)
    (folder / "vocabulary.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match=r"vocabulary\.txt is no text"):
        load(folder)
    (folder / "vocabulary.txt").unlink()
    with pytest.raises(UserError, match=r"neither vocabulary\.txt nor"):
        load(folder)
    import json

    (folder / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    assert load(folder).config == opened(made).config  # type: ignore[union-attr]
    for settings, match in (("5", "no group of settings"), ('{"suppress_ids": 5}', "suppress_ids is no list")):
        (folder / "config.json").write_text(settings)
        with pytest.raises(UserError, match=match):
            load(folder)


class TestTranscribe:
    """The path from a waveform to a text; that the text is right is shown with real weights."""

    def test_one_answer_holds_text_tokens_and_seconds(self, made: tuple[Path, Any]) -> None:
        found, waveform = opened(made), torch.randn(12_000, generator=torch.Generator().manual_seed(0)) * 0.1
        for num_beams in (1, 3):
            answer = transcribe(found, waveform, num_beams=num_beams, num_tokens=9)
            assert isinstance(answer, Answer) and answer.details["seconds"] == 0.75
            tokens = answer.details["tokens"]
            assert 0 < len(tokens) <= 9 and not {3, 9} & set(tokens) and tokens[0] not in (0, 63)
            assert answer.label == found.need_words().decode(tokens).strip()
        assert len(transcribe(found, waveform).details["tokens"]) <= 30

    def test_a_language_is_for_models_of_many(self, made: tuple[Path, Any]) -> None:
        found, waveform = opened(made), torch.zeros(16_000)
        with pytest.raises(UserError, match="knows English only"):
            transcribe(found, waveform, language="de")
        assert isinstance(found.model, Whisper)
        found.model.config = replace(found.config, vocabulary_size=51865)
        with pytest.raises(UserError, match="tell which one is spoken"):
            transcribe(found, waveform)
        with pytest.raises(UserError, match=r"'<\|de\|>' is no token"):
            transcribe(found, waveform, language="de")

    def test_what_cannot_be_heard_is_told(self, made: tuple[Path, Any], tmp_path: Path) -> None:
        with pytest.raises(UserError, match="only up to 1 s"):
            transcribe(opened(made), torch.zeros(16_001))
        with pytest.raises(UserError, match="does not exist"):
            transcribe(opened(made), tmp_path / "none.wav")
        with pytest.raises(UserError, match="hears nothing"):
            transcribe(replace(opened(made), model=torch.nn.Linear(2, 2)), torch.zeros(9))
