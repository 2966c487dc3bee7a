"""Idefics is a setting of Flamingo: equal to the reference from pixels to logits, gradients included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from parity import proof
from parity.reference import randomise, relative_error, save
from torch import Tensor
from torch.nn import functional as F

from beholder.models.flamingo import Flamingo
from beholder.models.gpt import GPT
from beholder.pretrained.huggingface.checkpoint import Checkpoint, read_checkpoint, read_tensors
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.trunk.cache import Cache
from beholder.trunk.position import RotaryConfig
from beholder.types import UserError

transformers = pytest.importorskip("transformers")

LENGTHS, NUM_IMAGES = (23, 18), 3
CASES: dict[str, dict[str, Any]] = {
    "as published": {"use_resampler": True, "qk_layer_norms": True, "additional_vocab_size": 5,
                     "alpha_type": "vector", "cross_layer_interval": 2},
    "plain": {"cross_layer_interval": 1, "num_hidden_layers": 3},
    "tied": {"tie_word_embeddings": True, "additional_vocab_size": 5, "use_resampler": True},
}  # fmt: skip


class Case(NamedTuple):
    name: str
    folder: Path
    reference: Any
    found: Checkpoint


def configuration(**other: Any) -> Any:
    small: dict[str, Any] = {
        "vocab_size": 61, "hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 4, "num_attention_heads": 3,
        "rms_norm_eps": 3e-6, "max_position_embeddings": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "vision_config": {"embed_dim": 24, "image_size": 20, "patch_size": 4, "num_hidden_layers": 2,
                          "num_attention_heads": 3, "intermediate_size": 40, "layer_norm_eps": 3e-5},
        "perceiver_config": {"use_resampler": True, "resampler_n_latents": 6, "resampler_depth": 2,
                             "resampler_n_heads": 3, "resampler_head_dim": 10,
                             "qk_layer_norms_perceiver": other.get("qk_layer_norms", False)},
    }  # fmt: skip
    return transformers.IdeficsConfig(**{**small, **other})


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("idefics")
    reference = randomise(transformers.IdeficsForVisionText2Text(configuration(**CASES[request.param])))
    reference.requires_grad_(True)  # theirs freezes what Flamingo freezes
    save(reference, folder)
    return Case(request.param, folder, reference, read_checkpoint(folder))


def texts() -> tuple[Tensor, Tensor]:
    """Tokens, padded before the second row, and which are real; 65 tokens of which some may be added ones."""
    tokens = torch.randint(1, 61, (2, max(LENGTHS)), generator=torch.Generator().manual_seed(1))
    is_real = torch.arange(max(LENGTHS)) >= max(LENGTHS) - torch.tensor(LENGTHS)[:, None]
    return tokens.where(is_real, 0), is_real


def added(model: Any, tokens: Tensor) -> Tensor:
    """The same with some of the vocabulary's last tokens, whether it has added ones or not."""
    rows = model.language.embed.tokens.num_embeddings if isinstance(model, Flamingo) else model.lm_head.out_features
    extra = 0 if isinstance(model, Flamingo) else model.lm_head.out_additional_features
    return tokens.masked_fill(tokens % 7 == 1, rows + extra - 1)


def pictures() -> Tensor:
    return torch.randn(2, NUM_IMAGES, 3, 20, 20, generator=torch.Generator().manual_seed(2))


def looks() -> Tensor:
    """Some tokens read no image, some one, some two."""
    table = torch.rand(2, max(LENGTHS), NUM_IMAGES, generator=torch.Generator().manual_seed(3)) < 0.4
    assert {0, 1, 2} <= set(table.sum(2).flatten().tolist())
    return table


def ours(model: Flamingo) -> dict[str, Tensor]:
    (tokens, is_real), pixels = texts(), pictures().to(model.vision_norm.weight.dtype)
    images = model.see(pixels)
    logits = model(added(model, tokens), images, looks_at=looks(), is_real=is_real)
    return {"logits": logits[is_real], "images": images, "summary": model.summary(pixels[:, 0])}


def theirs(model: Any) -> dict[str, Tensor]:
    (tokens, is_real), pixels = texts(), pictures().to(model.dtype)
    outputs = model(
        input_ids=added(model, tokens), attention_mask=is_real.long(), pixel_values=pixels,
        image_attention_mask=looks().long(),
    )  # fmt: skip
    images = outputs.image_hidden_states
    summary = model.model.vision_model(pixel_values=pixels[:, 0]).pooler_output
    return {"logits": outputs.logits[is_real], "images": images, "summary": summary}


@torch.no_grad()
def test_outputs_are_the_references(case: Case) -> None:
    proof.assert_same_outputs(ours(case.found.model), theirs(case.reference))  # type: ignore[arg-type]


@torch.no_grad()
def test_images_that_are_seen_already_are_read_the_same(case: Case) -> None:
    (tokens, _), model = texts(), case.found.model
    seen = torch.randn(2, NUM_IMAGES, 9, 24, generator=torch.Generator().manual_seed(4))
    told = {"image_encoder_embeddings": seen, "image_attention_mask": looks().long()}
    expected = case.reference(input_ids=tokens, **told).logits
    assert relative_error(model(tokens, model.resample(seen), looks_at=looks()), expected) <= 1e-5  # type: ignore[operator]


def test_gradients_are_the_references(case: Case) -> None:
    case.found.model.requires_grad_(True)
    outputs = ours(case.found.model), theirs(case.reference)  # type: ignore[arg-type]
    proof.assert_same_gradients(case.found, case.reference, *outputs)


def test_every_tensor_is_read_and_every_one_of_ours_is_written(case: Case) -> None:
    proof.assert_every_tensor_counts(case.found, case.folder)


def test_eps_is_the_references(case: Case) -> None:
    assert case.found.config.language.trunk.norm.eps == 3e-6
    assert case.found.config.vision.trunk.norm.eps == 3e-5
    proof.assert_same_eps(case.found, case.reference)


@torch.no_grad()
def test_what_is_written_back_opens_in_transformers(case: Case, tmp_path: Path) -> None:
    kind = transformers.IdeficsForVisionText2Text
    proof.assert_opens_in_transformers(case.found, kind, tmp_path, theirs, theirs(case.reference))


def test_writing_and_reading_a_configuration_changes_nothing(case: Case) -> None:
    family = FAMILIES["idefics"]
    assert family.read(family.write(case.found.config)) == case.found.config


@torch.no_grad()
def test_bfloat16_costs_as_little_as_in_the_reference(case: Case) -> None:
    proof.assert_bfloat16_costs_as_little(case.found, case.reference, (ours, theirs), bound=0.03)  # type: ignore[arg-type]


@torch.no_grad()
def test_cached_decoding_is_plain_decoding_and_reads_images_once(case: Case) -> None:
    tokens, model, table = texts()[0], case.found.model, looks()
    images = model.see(pictures())  # type: ignore[operator]
    plain = model(tokens, images, looks_at=table)
    for sizes in ((20, 1, 1, 1), (7, 14, 2)):
        cache, said, seen, start = Cache(tokens.shape[1]), [], images, 0
        for piece in tokens.split(sizes, dim=1):
            told = table[:, start : start + piece.shape[1]]
            said.append(model(piece, seen, looks_at=told, cache=cache))
            seen, start = torch.full_like(images, torch.nan), start + piece.shape[1]
        assert relative_error(torch.cat(said, 1), plain) <= 1e-5


@torch.no_grad()
def test_padding_before_the_text_changes_nothing(case: Case) -> None:
    (tokens, is_real), model, table = texts(), case.found.model, looks()
    images = model.see(pictures())  # type: ignore[operator]
    first = max(LENGTHS) - LENGTHS[1]
    padded = model(tokens, images, looks_at=table, is_real=is_real)[1:, first:]
    alone = model(tokens[1:, first:], images[1:], looks_at=table[1:, first:])
    assert relative_error(padded, alone) <= 1e-5


@torch.no_grad()
def test_with_shut_gates_the_language_model_is_what_it_was_bit_for_bit(case: Case) -> None:
    tokens, model = texts()[0], read_checkpoint(case.folder).model
    for name, value in model.named_parameters():
        if name.endswith("_gate"):
            value.zero_()
    config = case.found.config.language
    plain = GPT(replace(config, trunk=replace(config.trunk, gated=None))).eval()
    plain.load_state_dict(
        {name.removeprefix("language."): value for name, value in model.state_dict().items()
         if name.startswith("language.") and ".looks." not in name}
    )  # fmt: skip
    images = model.see(pictures())  # type: ignore[operator]
    assert torch.equal(model(tokens, images, looks_at=looks()), plain(tokens))
    assert torch.equal(model(tokens), plain(tokens))


@torch.no_grad()
def test_every_wrong_switch_is_caught(case: Case) -> None:
    config, mixed = case.found.config, proof.changed
    language, vision = config.language.trunk, config.vision
    flips = {}
    for side, trunk, place in (("language", language, "language.trunk"), ("vision", vision.trunk, "vision.trunk")):
        is_language = side == "language"
        switches = {
            "norm.kind": "layer" if is_language else "rms", "norm.eps": 1e-2, "norm_at": "post",
            "has_final_norm": not is_language, "mlp.activation": "gelu_tanh", "mlp.is_gated": not is_language,
            "mlp.has_bias": is_language, "attention.num_heads": 2, "attention.num_key_heads": 1,
            "attention.scale": 0.5, "attention.qk_norm": trunk.norm, "mask.is_causal": not is_language,
            "mask.window": 4, "distance": "alibi", "depth": trunk.depth - 1, "layer_scale": 0.1,
            "attention.biases": ("out",), "rotary": None if is_language else RotaryConfig(),
        }  # fmt: skip
        flips |= {f"{side} {name}": mixed(config, f"{place}.{name}", value) for name, value in switches.items()}
        flips[f"{side} parallel"] = mixed(config, f"{place}.norm_at", "parallel")
    gated = language.gated
    flips |= {
        name: mixed(config, path, value)
        for name, path, value in (
            ("rotary base", "language.trunk.rotary.theta", 1e4),
            ("rotary layout", "language.trunk.rotary.layout", "pairs"),
            ("rotary share", "language.trunk.rotary.fraction", 0.5),
            ("no looks", "language.trunk.gated", None),
            ("every", "language.trunk.gated.every", 3 - gated.every),
            ("gate", "language.trunk.gated.gate", "scalar" if gated.gate == "vector" else "vector"),
            ("looks' heads", "language.trunk.gated.attention.num_heads", 2),
            ("looks' scale", "language.trunk.gated.attention.scale", 0.5),
            ("looks' norm", "language.trunk.gated.attention.qk_norm",
             None if gated.attention.qk_norm else language.norm),
            ("looks' activation", "language.trunk.gated.mlp.activation", "gelu"),
            ("tied", "language.is_tied", not config.language.is_tied),
            ("added tokens", "num_added_tokens", config.num_added_tokens + 1),
            ("embedding norm", "vision.embedding_norm", None),
            ("class position", "vision.has_class_position", False),
            ("class token", "vision.has_class_token", False),
            ("patch bias", "vision.has_patch_bias", True),
            ("patch", "vision.patch_size", 5),
            ("sines", "vision.positions", "sine"),
            ("quick gelu", "vision.trunk.mlp.activation", "quick_gelu"),
            ("summary's eps", "vision_norm.eps", 1e-2),
        )
    }  # fmt: skip
    if config.resampler is not None:
        flips |= {
            f"resampler {name}": mixed(config, f"resampler.{name}", value)
            for name, value in (
                ("num_queries", 5), ("depth", 1), ("attention.num_heads", 5), ("attention.scale", 0.5),
                ("attention.qk_norm", None if config.resampler.attention.qk_norm else config.resampler.norm),
                ("attention.biases", ("value",)), ("mlp.activation", "gelu"), ("mlp.has_bias", True),
                ("norm.kind", "rms"), ("norm.eps", 1e-2),
            )
        }  # fmt: skip
        flips["no resampler"] = mixed(config, "resampler", None)
    quiet = _missed(case, flips)
    assert quiet == [], quiet
    assert len(flips) >= 56


def _missed(case: Case, flips: dict[str, Any]) -> list[str]:
    """A configuration that refuses to be built, or to read this batch, is caught as well."""
    quiet, expected = [], theirs(case.reference)
    for name, flip in flips.items():
        try:
            quiet += proof.missed(case.found, case.folder, {name: flip}, ours, expected)  # type: ignore[arg-type]
        except (AssertionError, RuntimeError) as error:
            assert "is no change" not in str(error), error
    return quiet


def test_an_interval_that_does_not_divide_the_depth_and_an_unknown_gate_are_refused() -> None:
    values, read = configuration().to_dict(), FAMILIES["idefics"].read
    with pytest.raises(UserError, match="cross_layer_interval=3"):
        read({**values, "cross_layer_interval": 3})
    with pytest.raises(UserError, match="alpha_type='table'"):
        read({**values, "alpha_type": "table"})


def test_both_vocabularies_are_one_and_part_again(tmp_path: Path) -> None:
    reference = randomise(transformers.IdeficsForVisionText2Text(configuration(additional_vocab_size=5)))
    found = read_checkpoint(save(reference, tmp_path))
    _, tensors = read_tensors(tmp_path)
    table = found.model.state_dict()["language.embed.tokens.weight"]
    assert torch.equal(table[:61], tensors["model.embed_tokens.weight"])
    assert torch.equal(table[61:], tensors["model.embed_tokens.additional_embedding.weight"])


def test_idefics_9b_has_as_many_parameters_as_the_reference() -> None:
    told = {"additional_vocab_size": 2, "use_resampler": True, "qk_layer_norms": True, "alpha_type": "vector",
            "cross_layer_interval": 4}  # fmt: skip
    vision = {"embed_dim": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120}
    perceiver = {"use_resampler": True, "qk_layer_norms_perceiver": True}
    config = transformers.IdeficsConfig(**told, vision_config=vision, perceiver_config=perceiver)
    with torch.device("meta"):
        model = FAMILIES["idefics"].build(FAMILIES["idefics"].read(config.to_dict()))
        reference = transformers.IdeficsForVisionText2Text(config)
    assert sum(one.numel() for one in model.parameters()) == sum(one.numel() for one in reference.parameters())


@torch.no_grad()
def test_rectangular_images_are_read_with_positions_resampled_the_plain_way(case: Case) -> None:
    """Theirs adds a tenth of a patch to each side before it resamples, so that only nearness can be asked for."""
    pixels = F.pad(pictures()[:, 0], (0, 8))
    expected = case.reference.model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output
    errors = []
    for resampling in ("plain", "antialiased"):
        other = FAMILIES["idefics"].build(proof.changed(case.found.config, "vision.resampling", resampling))
        other.load_state_dict(case.found.model.state_dict())
        errors.append(relative_error(other.summary(pixels), expected))  # type: ignore[operator]
    assert errors[0] <= 0.01 and errors[0] < errors[1], errors
