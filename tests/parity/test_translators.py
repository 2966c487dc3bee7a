"""T5 and Whisper are two trunks each: equal to the reference in outputs, gradients and what is written back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from parity import proof
from parity.reference import randomise, relative_error, save
from torch import Tensor, nn

from beholder.models.whisper import sine_times
from beholder.pretrained.huggingface.checkpoint import Checkpoint, read_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.trunk.cache import Cache
from beholder.trunk.position import BucketConfig, RotaryConfig
from beholder.types import UserError

transformers = pytest.importorskip("transformers")

EPS = 3e-6
SOURCE, TARGET = (150, 131), (23, 141)
"""Lengths of both texts of a batch: distances beyond 128 share a bucket, and it must be seen."""
FRAMES = 50


class Case(NamedTuple):
    name: str
    kind: type[Any]
    folder: Path
    reference: Any
    found: Checkpoint
    ours: Callable[[Any], dict[str, Tensor]]
    theirs: Callable[[Any], dict[str, Tensor]]


def t5(version: str) -> Any:
    """Heads that are no power of two and of a width that is free; the decoder is deeper than the encoder."""
    told: dict[str, Any] = {"feed_forward_proj": "relu"}
    if version == "t5 1.1":
        told = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    config = transformers.T5Config(
        vocab_size=67, d_model=36, d_kv=10, d_ff=50, num_layers=2, num_decoder_layers=3, num_heads=3,
        layer_norm_epsilon=EPS, decoder_start_token_id=0, **told,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config)
    if version == "t5 1.1":
        model.lm_head.weight = nn.Parameter(torch.zeros(67, 36))
    return randomise(model)


def whisper() -> Any:
    config = transformers.WhisperConfig(
        vocab_size=67, num_mel_bins=10, encoder_layers=2, encoder_attention_heads=3, decoder_layers=3,
        decoder_attention_heads=6, decoder_ffn_dim=50, encoder_ffn_dim=44, d_model=36, max_source_positions=FRAMES // 2,
        max_target_positions=31, pad_token_id=0, bos_token_id=2, eos_token_id=2, decoder_start_token_id=1,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return randomise(transformers.WhisperForConditionalGeneration(config))


def texts(lengths: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Tokens with padding behind, and which of them are real."""
    tokens = torch.randint(1, 67, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    is_real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return tokens.where(is_real, 0), is_real


def sound() -> Tensor:
    return torch.randn(2, 10, FRAMES, generator=torch.Generator().manual_seed(5))


def our_t5(model: Any) -> dict[str, Tensor]:
    (source, source_is_real), (tokens, is_real) = texts(SOURCE, 1), texts(TARGET, 2)
    logits = model(source, tokens, source_is_real=source_is_real, is_real=is_real)
    return {"logits": logits[is_real], "source": model.encode(source, source_is_real)[source_is_real]}


def their_t5(model: Any) -> dict[str, Tensor]:
    (source, source_is_real), (tokens, is_real) = texts(SOURCE, 1), texts(TARGET, 2)
    outputs = model(
        input_ids=source, attention_mask=source_is_real.long(), decoder_input_ids=tokens,
        decoder_attention_mask=is_real.long(),
    )  # fmt: skip
    return {"logits": outputs.logits[is_real], "source": outputs.encoder_last_hidden_state[source_is_real]}


def our_whisper(model: Any) -> dict[str, Tensor]:
    tokens, is_real = texts((19, 27), 3)
    kind = model.embed.tokens.weight.dtype
    source = model.encode(sound().to(kind))
    return {"logits": model(sound().to(kind), tokens, is_real=is_real)[is_real], "source": source}


def their_whisper(model: Any) -> dict[str, Tensor]:
    tokens, is_real = texts((19, 27), 3)
    outputs = model(
        input_features=sound().to(model.dtype), decoder_input_ids=tokens, decoder_attention_mask=is_real.long()
    )
    return {"logits": outputs.logits[is_real], "source": outputs.encoder_last_hidden_state}


@pytest.fixture(scope="module", params=["t5 1.0", "t5 1.1", "whisper"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "_"))
    is_whisper = request.param == "whisper"
    reference = whisper() if is_whisper else t5(request.param)
    save(reference, folder)
    ours, theirs = (our_whisper, their_whisper) if is_whisper else (our_t5, their_t5)
    return Case(request.param, type(reference), folder, reference, read_checkpoint(folder), ours, theirs)


@torch.no_grad()
def test_outputs_are_the_references(case: Case) -> None:
    proof.assert_same_outputs(case.ours(case.found.model), case.theirs(case.reference))


def test_gradients_are_the_references(case: Case) -> None:
    case.found.model.requires_grad_(True)
    proof.assert_same_gradients(case.found, case.reference, case.ours(case.found.model), case.theirs(case.reference))


def test_every_tensor_is_read_and_every_one_of_ours_is_written(case: Case) -> None:
    proof.assert_every_tensor_counts(case.found, case.folder)


def test_eps_is_the_references(case: Case) -> None:
    assert case.found.config.encoder.norm.eps == (1e-5 if case.name == "whisper" else EPS)
    proof.assert_same_eps(case.found, case.reference)


@torch.no_grad()
def test_what_is_written_back_opens_in_transformers(case: Case, tmp_path: Path) -> None:
    proof.assert_opens_in_transformers(case.found, case.kind, tmp_path, case.theirs, case.theirs(case.reference))


def test_writing_and_reading_a_configuration_changes_nothing(case: Case) -> None:
    family = FAMILIES[case.found.kind]
    again = family.read(family.write(case.found.config))
    assert again == case.found.config


@torch.no_grad()
def test_bfloat16_costs_as_little_as_in_the_reference(case: Case) -> None:
    """The bound is for random weights, which are rougher than trained ones."""
    bound = {"t5 1.0": 0.03, "t5 1.1": 0.09, "whisper": 0.02}[case.name]
    proof.assert_bfloat16_costs_as_little(case.found, case.reference, (case.ours, case.theirs), bound)


def pieces(case: Case) -> tuple[Any, Tensor, dict[str, Any], Tensor]:
    """The model, a source read, what goes with it, and a target of two rows."""
    model = case.found.model
    if case.name == "whisper":
        return model, model.encode(sound()), {}, texts((25, 25), 3)[0]
    source, is_real = texts(SOURCE, 1)
    return model, model.encode(source, is_real), {"source_is_real": is_real}, texts((141, 141), 2)[0]


@torch.no_grad()
def test_cached_decoding_is_plain_decoding_and_reads_the_source_once(case: Case) -> None:
    model, source, told, tokens = pieces(case)
    plain = model.decode(tokens, source, **told)
    for sizes in ((tokens.shape[1] - 3, 1, 1, 1), (7, tokens.shape[1] - 9, 2)):
        cache, said, seen = Cache(tokens.shape[1]), [], source
        for piece in tokens.split(sizes, dim=1):
            said.append(model.decode(piece, seen, cache, **told))
            seen = torch.full_like(source, torch.nan)  # nobody looks at it again
        assert relative_error(torch.cat(said, 1), plain) <= 1e-5


@torch.no_grad()
def test_padding_before_the_target_changes_nothing_cached_or_not(case: Case) -> None:
    model, source, told, tokens = pieces(case)
    plain = model.decode(tokens[:, :20], source, **told)
    padded = torch.nn.functional.pad(tokens[:, :20], (4, 0))
    is_real = torch.arange(24)[None].expand(2, -1) >= 4
    assert relative_error(model.decode(padded, source, is_real=is_real, **told)[:, 4:], plain) <= 1e-5
    cache = Cache(24)
    first = model.decode(padded[:, :20], source, cache, is_real=is_real[:, :20], **told)[:, 4:]
    rest = [
        model.decode(padded[:, n : n + 1], source, cache, is_real=is_real[:, : n + 1], **told) for n in range(20, 24)
    ]
    assert relative_error(torch.cat([first, *rest], 1), plain) <= 1e-5


@torch.no_grad()
def test_padding_of_the_source_changes_nothing(tmp_path: Path) -> None:
    model = read_checkpoint(save(t5("t5 1.0"), tmp_path)).model
    (source, is_real), (tokens, _) = texts(SOURCE, 1), texts((21, 21), 2)
    both = model(source, tokens, source_is_real=is_real)
    alone = model(source[1:, : SOURCE[1]], tokens[1:])
    assert relative_error(both[1:], alone) <= 1e-5


@torch.no_grad()
def test_the_future_of_the_target_does_not_change_its_past(case: Case) -> None:
    model, source, told, tokens = pieces(case)
    other = tokens.clone()
    other[:, 18:] = 66 - other[:, 18:]
    before, after = (model.decode(one, source, **told) for one in (tokens, other))
    assert torch.equal(before[:, :18], after[:, :18])
    assert not torch.equal(before[:, 18:], after[:, 18:])


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_every_wrong_switch_is_caught(case: Case, side: str) -> None:
    config, mixed, is_whisper = case.found.config, proof.changed, case.name == "whisper"
    trunk = getattr(config, side)
    switches = {
        "norm.kind": "rms" if is_whisper else "layer", "norm.eps": 1e-2, "norm_at": "post", "has_final_norm": False,
        "mlp.activation": "silu", "mlp.is_gated": not trunk.mlp.is_gated, "mlp.has_bias": not trunk.mlp.has_bias,
        "mlp.width": 51, "attention.num_heads": 2, "attention.num_key_heads": 1, "attention.scale": 0.5,
        "attention.qk_norm": trunk.norm, "mask.is_causal": not trunk.mask.is_causal, "mask.window": 4,
        "rotary": RotaryConfig(), "distance": "alibi", "depth": 1, "layer_scale": 0.1,
        "source_width": None if trunk.source_width else 36, "attention.biases": ("query", "key", "value", "out"),
    }  # fmt: skip
    flips = {name: mixed(config, f"{side}.{name}", value) for name, value in switches.items()}
    flips["parallel"] = mixed(config, f"{side}.norm_at", "parallel")
    if is_whisper:
        for one in trunk.attention.biases:
            kept = tuple(name for name in trunk.attention.biases if name != one)
            flips[f"no {one} bias"] = mixed(config, f"{side}.attention.biases", kept)
        flips["tanh"] = mixed(config, f"{side}.mlp.activation", "gelu_tanh")
        flips["positions"] = mixed(config, "num_positions", 30)
        flips["frames"] = mixed(config, "num_source_positions", 24)
        flips["mels"] = mixed(config, "num_mels", 9)
    else:
        flips["buckets"] = mixed(config, f"{side}.distance", BucketConfig(16))
        flips["largest distance"] = mixed(config, f"{side}.distance", BucketConfig(32, 64))
        flips["slightly larger distance"] = mixed(config, f"{side}.distance", BucketConfig(32, 136))
        flips["head width"] = mixed(config, f"{side}.attention.head_width", None)
        flips["tied"] = mixed(config, "is_tied", not config.is_tied)
        flips["scaled"] = mixed(config, "is_scaled", not config.is_scaled)
        if trunk.mlp.is_gated:
            flips["exact gelu"] = mixed(config, f"{side}.mlp.activation", "gelu")
    buildable = {name: flip for name, flip in flips.items() if _builds(case.found.kind, flip)}
    assert len(buildable) >= 24, flips.keys() - buildable.keys()
    with torch.no_grad():
        quiet = proof.missed(case.found, case.folder, buildable, case.ours, case.theirs(case.reference))
    assert quiet == []


def _builds(kind: str, config: Any) -> bool:
    """Some wrong switches are beliefs of our own, and refuse to be built."""
    try:
        FAMILIES[kind].build(config)
    except AssertionError:
        return False
    return True


def test_version_1_0_is_tied_and_scaled_and_version_1_1_neither(tmp_path: Path) -> None:
    """Files say it in three ways: `tie_word_embeddings`, the scale by its own name, and the head that is there."""
    found = {name: read_checkpoint(save(t5(name), tmp_path / name)).config for name in ("t5 1.0", "t5 1.1")}
    assert (found["t5 1.0"].is_tied, found["t5 1.0"].is_scaled) == (True, True)
    assert (found["t5 1.1"].is_tied, found["t5 1.1"].is_scaled) == (False, False)
    published = {"vocab_size": 67, "d_model": 36, "d_kv": 10, "d_ff": 50, "num_layers": 2, "num_heads": 3}
    read = FAMILIES["t5"].read
    assert read(published).is_scaled and not read({**published, "tie_word_embeddings": False}).is_scaled


def test_a_head_that_is_the_table_again_is_no_head_and_an_unread_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save(t5("t5 1.0"), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    copies = ("lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    again = {name: tensors["shared.weight"].clone() for name in copies}
    save_file({**tensors, **again}, tmp_path / "model.safetensors")
    assert read_checkpoint(tmp_path).config.is_tied
    again["encoder.embed_tokens.weight"] += 1
    save_file({**tensors, **again}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"encoder\.embed_tokens\.weight is not its shared\.weight"):
        read_checkpoint(tmp_path)


def test_the_times_of_a_sound_are_those_of_the_checkpoint_and_fresh_ones_are_the_published_sines(
    tmp_path: Path,
) -> None:
    reference = whisper()
    encoder = read_checkpoint(save(reference, tmp_path)).model.encoder
    assert torch.equal(encoder.times, reference.model.encoder.embed_positions.weight)  # type: ignore[union-attr]
    fresh = transformers.WhisperForConditionalGeneration(reference.config).model.encoder.embed_positions.weight
    torch.testing.assert_close(sine_times(FRAMES // 2, 36), fresh.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "values", "published"),
    [
        ("t5", {"num_layers": 6}, 60_506_624),
        ("t5", {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}, 222_903_552),
        ("t5", {"num_layers": 8, "num_heads": 6, "d_ff": 1024, "feed_forward_proj": "gated-gelu"}, None),
        ("whisper", {"vocab_size": 51864}, 37_760_256),
        ("whisper", {"d_model": 1280, "encoder_layers": 32, "decoder_layers": 32, "encoder_attention_heads": 20,
                     "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120,
                     "num_mel_bins": 128, "vocab_size": 51866}, None),
    ],
    ids=["t5-small", "t5-base", "t5-v1_1-small tied", "whisper-tiny.en", "whisper-large-v3"],
)  # fmt: skip
def test_published_sizes_have_as_many_parameters_as_the_reference(
    kind: str, values: dict[str, Any], published: int | None
) -> None:
    """Those of Whisper count the sines, which are not trained."""
    names = {"t5": "T5ForConditionalGeneration", "whisper": "WhisperForConditionalGeneration"}
    config = getattr(transformers, names[kind].removesuffix("ForConditionalGeneration") + "Config")(**values)
    with torch.device("meta"):
        model = FAMILIES[kind].build(FAMILIES[kind].read(config.to_dict()))
        reference = getattr(transformers, names[kind])(config)
    count = sum(value.numel() for value in model.state_dict().values())
    assert count == sum(value.numel() for value in reference.parameters())
    assert published is None or count == published
