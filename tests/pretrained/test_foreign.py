"""Foreign models with pictures and words: loaded whole, refused in a sentence, written so that others open them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import random_bundle
from parity.reference import randomise, relative_error, save
from safetensors.torch import load_file, save_file
from spellings import END, save_pairs, save_pieces
from torch import nn
from towers import save_clip

import beholder
from beholder.models.clip import CLIP
from beholder.models.gpt import GPT, PRESETS
from beholder.models.vit import PRESETS as VIT_PRESETS
from beholder.models.vit import ViT
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load_own
from beholder.runtime.files import read_json, write_json
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.types import UserError

PICTURES = [np.random.default_rng(index).integers(0, 256, (41, 57, 3), np.uint8) for index in range(3)]
CAPTIONS = ["a photo of a cracked cell", "solar", "The quick fox, 42 times"]


def make_gpt2(folder: Path) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    save_pairs(folder)
    size = len(read_json(folder / "vocab.json"))
    special = {"bos_token_id": size - 1, "eos_token_id": size - 1}
    config = GPT2Config(vocab_size=size, n_positions=48, n_embd=12, n_layer=2, n_head=3, **special)
    model = randomise(GPT2LMHeadModel(config))
    save(model, folder)
    return model


def make_llama(folder: Path) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pairs = save_pairs(folder / "pairs")
    from beholder.pretrained.huggingface.words import read_words

    table = read_words(pairs, {"model_type": "gpt2"}).table
    PreTrainedTokenizerFast(tokenizer_object=table, eos_token=END).save_pretrained(folder)
    shutil.rmtree(pairs)
    config = LlamaConfig(
        vocab_size=table.get_vocab_size(), hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=64,
    )  # fmt: skip
    model = randomise(LlamaForCausalLM(config))
    save(model, folder)
    return model


def make_bert(folder: Path) -> Any:
    from transformers import BertConfig, BertModel

    size = len(save_pieces(folder).joinpath("vocab.txt").read_text(encoding="utf-8").splitlines())
    model = randomise(
        BertModel(
            BertConfig(
                vocab_size=size, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
                max_position_embeddings=40,
            )
        )
    )  # fmt: skip
    save(model, folder)
    return model


def make_vit(folder: Path) -> Any:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=24, patch_size=8,
        id2label={0: "whole", 1: "cracked"}, label2id={"whole": 0, "cracked": 1},
    )  # fmt: skip
    model = randomise(ViTForImageClassification(config))
    save(model, folder)
    ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained(folder)
    return model


MAKERS: dict[str, Callable[[Path], Any]] = {
    "gpt2": make_gpt2, "llama": make_llama, "clip": save_clip, "bert": make_bert, "vit": make_vit,
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """A folder of each kind, with its reference, made once."""
    made: dict[str, tuple[Path, Any]] = {}

    def get(kind: str) -> tuple[Path, Any]:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = folder, MAKERS[kind](folder)
        return made[kind]

    return get


@pytest.fixture
def folder(saved: Callable[[str], tuple[Path, Any]], tmp_path: Path) -> Path:
    """A GPT-2 to be damaged."""
    return Path(shutil.copytree(saved("gpt2")[0], tmp_path / "model"))


def opened(path: Path) -> Foreign:
    loaded = beholder.load(path)
    assert isinstance(loaded, Foreign)
    return loaded


def refusal(ask: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        ask()
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


class TestUse:
    """From a folder, text and pictures to the reference's numbers, with the reference's own tokenizer and processor."""

    @pytest.mark.parametrize("kind", ["gpt2", "llama"])
    @torch.no_grad()
    def test_text_to_logits(self, kind: str, saved: Any) -> None:
        from transformers import AutoTokenizer

        path, reference = saved(kind)
        found = opened(path)
        batch = found.need_words().encode(CAPTIONS, pad_side="left")
        theirs = AutoTokenizer.from_pretrained(path)
        theirs.pad_token, theirs.padding_side = theirs.eos_token, "left"
        expected = theirs(CAPTIONS, padding=True, return_tensors="pt")
        assert torch.equal(batch.numbers, expected["input_ids"])
        positions = (expected["attention_mask"].cumsum(1) - 1).clamp(min=0)
        inputs = {"input_ids": expected["input_ids"], "attention_mask": expected["attention_mask"]}
        logits = reference(**inputs, position_ids=positions).logits
        assert batch.is_real is not None
        ours = found.model(batch.numbers, is_real=batch.is_real)
        assert relative_error(ours[batch.is_real], logits[batch.is_real]) <= 1e-5
        assert found.pixels is None
        assert found.need_words().special.end in found.need_words().special.stops

    @torch.no_grad()
    def test_pictures_and_captions_to_one_space(self, saved: Any) -> None:
        from transformers import CLIPImageProcessorPil, CLIPTokenizer

        path, reference = saved("clip")
        found = opened(path)
        assert isinstance(found.model, CLIP)
        pixels, batch = prepare(PICTURES, found.need_pixels()), found.need_words().encode(CAPTIONS)
        files = {"vocab": str(path / "vocab.json"), "merges": str(path / "merges.txt")}
        texts = CLIPTokenizer(**files)(CAPTIONS, padding=True, return_tensors="pt")
        images = CLIPImageProcessorPil.from_pretrained(path)(PICTURES, return_tensors="pt")
        theirs = reference(**images, **texts)
        ours = found.model.encode_images(pixels), found.model.encode_texts(batch.numbers, batch.is_real)
        assert relative_error(ours[0], theirs.image_embeds) <= 1e-5
        assert relative_error(ours[1], theirs.text_embeds) <= 1e-5

    def test_what_a_model_does_not_read_is_told_when_it_is_asked_for(self, saved: Any) -> None:
        language, vision = opened(saved("gpt2")[0]), opened(saved("vit")[0])
        assert language.pixels is None
        assert "holds no preprocessor_config.json" in refusal(language.need_pixels)
        assert vision.words is None
        assert "holds no tokenizer.json" in refusal(vision.need_words)

    def test_a_run_folder_and_a_model_folder_open_as_before(self, tmp_path: Path) -> None:
        random_bundle().save(tmp_path / "run" / "model")
        assert beholder.load(tmp_path / "run").labels == ("left", "right")  # type: ignore[union-attr]
        assert load_own(tmp_path / "run" / "model").labels == ("left", "right")

    def test_a_foreign_model_has_no_classes_of_ours(self, saved: Any) -> None:
        path = saved("vit")[0]
        assert "is another kind of model (vit)" in refusal(lambda: beholder.classify(path, PICTURES))


class TestExport:
    @pytest.mark.parametrize("kind", MAKERS)
    @torch.no_grad()
    def test_transformers_opens_what_is_written(self, kind: str, saved: Any, tmp_path: Path) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        path, reference = saved(kind)
        found = opened(path)
        assert export_to_huggingface(found, tmp_path / "out") == kind
        again = type(reference).from_pretrained(tmp_path / "out").eval()
        theirs, expected = again.state_dict(), reference.state_dict()
        assert theirs.keys() == expected.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in expected.items())
        told, before = again.config.to_dict(), reference.config.to_dict()
        for one in (told, before):
            one.pop("_name_or_path", None)
        different = {key for key in told.keys() | before.keys() if told.get(key) != before.get(key)}
        assert different <= {"transformers_version", "architectures", "text_config", "vision_config"}
        if found.words is not None:
            tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
            for caption in CAPTIONS:
                assert tokenizer(caption)["input_ids"] == found.words.encode(caption).numbers[0].tolist()
        if found.pixels is not None:
            processor = AutoImageProcessor.from_pretrained(tmp_path / "out", backend="pil")
            numbers = processor(PICTURES, return_tensors="pt")["pixel_values"]
            assert float((prepare(PICTURES, found.pixels) - numbers).abs().max()) <= 1e-6
        reloaded = opened(tmp_path / "out")
        assert (reloaded.config, reloaded.pixels) == (found.config, found.pixels)

    def test_a_model_of_ours_finds_its_family(self, tmp_path: Path) -> None:
        from transformers import AutoModelForCausalLM

        torch.manual_seed(0)
        model = GPT(PRESETS["debug"]).eval()
        assert export_to_huggingface(model, tmp_path / "out") == "gpt2"
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
        tokens = torch.arange(40).view(2, 20)
        with torch.no_grad():
            assert relative_error(model(tokens), theirs(tokens).logits) <= 1e-5

    @pytest.mark.parametrize("kind", MAKERS)
    def test_each_model_is_known_for_what_it_is(self, kind: str, saved: Any, tmp_path: Path) -> None:
        found = opened(saved(kind)[0])
        assert export_to_huggingface(found.model, tmp_path / "out") == kind

    def test_half_precision_stays(self, saved: Any, tmp_path: Path) -> None:
        from transformers import AutoModelForCausalLM

        found = opened(saved("llama")[0])
        export_to_huggingface(
            Foreign(found.kind, found.model.bfloat16(), found.config, None, None, found.source), tmp_path / "a"
        )
        assert AutoModelForCausalLM.from_pretrained(tmp_path / "a").dtype == torch.bfloat16
        assert opened(tmp_path / "a").model.state_dict()["embed.tokens.weight"].dtype == torch.bfloat16

    def test_what_cannot_be_written_is_told(self, saved: Any, tmp_path: Path) -> None:
        found = opened(saved("gpt2")[0])
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("all I have")
        assert "nothing is overwritten" in refusal(lambda: export_to_huggingface(found, tmp_path / "full"))
        assert "No family" in refusal(lambda: export_to_huggingface(nn.Linear(2, 2), tmp_path / "out"))
        assert "known are gpt2" in refusal(lambda: export_to_huggingface(found, tmp_path / "out", kind="gpt-2"))
        assert "cannot be written as llama" in refusal(
            lambda: export_to_huggingface(found, tmp_path / "out", kind="llama")
        )
        pixels = PixelConfig()
        assert "reducing_gap" in refusal(lambda: export_to_huggingface(found, tmp_path / "out", pixels=pixels))
        assert not (tmp_path / "out" / "config.json").exists()


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def change_values(folder: Path, **changes: Any) -> None:
    write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})


NORM = "transformer.h.0.ln_1.weight"


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda tensors: tensors.pop(NORM), f"lacks {NORM}"),
            (lambda tensors: tensors.update(more=torch.zeros(2)), "has unknown more"),
            (lambda tensors: tensors.update({NORM: torch.ones(13)}), f"{NORM} (13,) instead of (12,)"),
            (
                lambda tensors: tensors[NORM][3:4].fill_(torch.nan),
                f"has NaN or infinity in {NORM}",
            ),
            (
                lambda tensors: tensors[NORM][3:4].fill_(torch.inf),
                f"has NaN or infinity in {NORM}",
            ),
            (lambda tensors: tensors.clear(), "lacks "),
        ],
    )
    def test_tensors_that_do_not_fit(self, folder: Path, change: Any, said: str) -> None:
        change_tensors(folder, change)
        sentence = refusal(lambda: beholder.load(folder))
        assert said in sentence
        assert "model.safetensors" in sentence

    @pytest.mark.parametrize("kept", [0, 8, 300, 0.5, 0.999])
    def test_truncated_weights(self, folder: Path, kept: float) -> None:
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
        assert "is not a whole safetensors file" in refusal(lambda: beholder.load(folder))

    def test_no_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        assert "holds no model.safetensors" in refusal(lambda: beholder.load(folder))

    def test_a_pickle_is_never_opened(self, folder: Path, tmp_path: Path) -> None:
        mark = tmp_path / "was here"

        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(mark),)

        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
        assert "holds pickled weights only (pytorch_model.bin)" in refusal(lambda: beholder.load(folder))
        assert not mark.exists()

    @pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "model.safetensors.index.json"])
    def test_a_broken_set_of_shards(self, name: str, folder: Path, saved: Any) -> None:
        (folder / "model.safetensors").unlink()
        saved("gpt2")[1].save_pretrained(folder, max_shard_size="20KB")
        shards = sorted(folder.glob("model-*"))
        assert len(shards) > 1
        assert opened(folder).kind == "gpt2"
        broken = shards[0] if name.startswith("model-") else folder / name
        broken.write_text("{}")
        assert broken.name in refusal(lambda: beholder.load(folder))
        if broken in shards:
            broken.unlink()
            assert f"{broken.name} is missing" in refusal(lambda: beholder.load(folder))

    def test_an_unknown_family_is_told_with_the_nearest(self, folder: Path) -> None:
        change_values(folder, model_type="gpt3")
        assert "is of model_type 'gpt3', which is not known here; known are gpt2" in refusal(
            lambda: beholder.load(folder)
        )
        change_values(folder, model_type=7)
        assert "7" in refusal(lambda: beholder.load(folder))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"n_embd": "wide"}, "config.json"),
            ({"n_embd": None}, "config.json"),
            ({"n_head": 5}, "width 12, 5 heads"),
            ({"n_head": 0}, "config.json"),
            ({"n_layer": 3}, "lacks transformer.h.2."),
            ({"n_layer": 1}, "has unknown transformer.h.1."),
            ({"vocab_size": 3}, "instead of (3, 12)"),
            ({"activation_function": "tanhh"}, "config.json asks for activation_function='tanhh'"),
            ({"add_cross_attention": True}, "config.json asks for add_cross_attention=True"),
        ],
    )
    def test_a_configuration_that_does_not_fit(self, changes: Any, said: str, folder: Path) -> None:
        change_values(folder, **changes)
        assert said in refusal(lambda: beholder.load(folder))

    def test_a_configuration_that_lacks_a_number(self, folder: Path) -> None:
        values = read_json(folder / "config.json")
        del values["n_embd"]
        write_json(folder / "config.json", values)
        assert "config.json lacks n_embd" in refusal(lambda: beholder.load(folder))

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"a": 1}'])
    def test_a_folder_that_is_neither(self, content: bytes, folder: Path) -> None:
        (folder / "config.json").write_bytes(content)
        assert "config.json" in refusal(lambda: beholder.load(folder))

    @pytest.mark.parametrize("name", ["tokenizer_config.json", "vocab.json", "preprocessor_config.json"])
    def test_broken_settings(self, name: str, folder: Path) -> None:
        (folder / name).write_text('{"a": ')
        assert name in refusal(lambda: beholder.load(folder))

    def test_a_missing_tokenizer_is_told_when_text_is_asked_for(self, folder: Path) -> None:
        (folder / "vocab.json").unlink()
        found = opened(folder)
        assert found.words is None
        assert "holds no tokenizer.json" in refusal(found.need_words)
        (folder / "tokenizer.model").write_bytes(b"\x0a")
        assert "tokenizer.model only" in refusal(opened(folder).need_words)

    def test_a_text_longer_than_the_model_reads(self, folder: Path) -> None:
        words = opened(folder).need_words()
        assert "the model reads 48" in refusal(lambda: words.encode("a cell " * 30))
        cut = words.encode("a cell " * 30, is_cut=True)
        assert cut.numbers.shape == (1, 48)
        assert cut.num_cut[0] > 0
        assert "is empty" in refusal(lambda: words.encode(""))


def test_every_family_is_named_as_transformers_names_it() -> None:
    from transformers import CONFIG_MAPPING

    assert not [kind for kind in FAMILIES if kind not in CONFIG_MAPPING]


class TestExportOfOwnModels:
    def test_a_vision_transformer_that_was_trained_here_opens_in_transformers(self, tmp_path: Path) -> None:
        from transformers import AutoModel

        torch.manual_seed(0)
        config = replace(VIT_PRESETS["debug"], num_registers=0)
        bundle = random_bundle()
        network = randomise(ViT(config)).eval()
        bundle.model.embedder.backbones[-1] = network
        assert beholder.export_to_huggingface(bundle, tmp_path / "out") == "vit"
        theirs = AutoModel.from_pretrained(tmp_path / "out", add_pooling_layer=False).eval()
        pixels = torch.randn(2, 3, config.image_size, config.image_size)
        with torch.no_grad():
            expected = theirs(pixels).last_hidden_state
            assert relative_error(network.hidden(pixels).values, expected) <= 1e-5
        again = opened(tmp_path / "out")
        assert again.pixels is not None and again.pixels.size == config.image_size
        assert again.pixels.mean == bundle.pixels.mean

    def test_a_network_that_no_other_library_knows_is_told(self, tmp_path: Path) -> None:
        sentence = refusal(lambda: beholder.export_to_huggingface(random_bundle(), tmp_path / "out"))
        assert "No family of the hub can say this EfficientNetLite" in sentence
        assert not (tmp_path / "out").exists()
