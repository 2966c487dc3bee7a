"""At their published sizes our models have as many parameters as the published ones; nothing is allocated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from beholder.pretrained.huggingface.families import FAMILIES

_LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32,
    "num_attention_heads": 32, "intermediate_size": 11008, "rms_norm_eps": 1e-6,
}  # fmt: skip

# name: the published config.json, as far as it tells the shape; the number of parameters
SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "GPT-2": (
        {
            "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50257, "n_positions": 1024,
            "n_embd": 768, "n_layer": 12, "n_head": 12,
        },
        124_439_808,
    ),
    "OPT-125M": (
        {
            "model_type": "opt", "architectures": ["OPTForCausalLM"], "vocab_size": 50272, "hidden_size": 768,
            "num_hidden_layers": 12, "num_attention_heads": 12, "ffn_dim": 3072, "max_position_embeddings": 2048,
            "do_layer_norm_before": True, "word_embed_proj_dim": 768,
        },
        125_239_296,
    ),
    "BLOOM-176B": (
        {
            "model_type": "bloom", "architectures": ["BloomForCausalLM"], "vocab_size": 250880, "n_embed": 14336,
            "n_layer": 70, "num_attention_heads": 112, "pretraining_tp": 4,
        },
        176_247_271_424,
    ),
    "GPT-NeoX-20B": (
        {
            "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": 50432,
            "hidden_size": 6144, "num_hidden_layers": 44, "num_attention_heads": 64, "intermediate_size": 24576,
            "hidden_act": "gelu_fast", "rotary_pct": 0.25, "rotary_emb_base": 10000, "max_position_embeddings": 2048,
        },
        20_554_567_680,
    ),
    "LLaMA-7B": ({**_LLAMA, "vocab_size": 32000}, 6_738_415_616),
    "LVM-7B": ({**_LLAMA, "vocab_size": 8292}, 6_544_199_680),
    "SmolLM2-135M": (
        {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "hidden_size": 576,
            "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
            "rms_norm_eps": 1e-5, "rope_theta": 100000, "tie_word_embeddings": True, "max_position_embeddings": 8192,
        },
        134_515_008,
    ),
    "Qwen2-0.5B": (
        {
            "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936, "hidden_size": 896,
            "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
            "rope_theta": 1000000.0, "tie_word_embeddings": True, "use_sliding_window": False,
        },
        494_032_768,
    ),
    "Qwen3-0.6B": (
        {
            "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 151936, "hidden_size": 1024,
            "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
            "intermediate_size": 3072, "rope_theta": 1000000, "tie_word_embeddings": True,
        },
        596_049_920,
    ),
    "Mixtral-8x7B": (
        {
            "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "vocab_size": 32000,
            "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
            "rope_theta": 1000000.0, "sliding_window": None,
        },
        46_702_792_704,
    ),
}  # fmt: skip


def count(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_ours_has_the_published_number_of_parameters(name: str) -> None:
    values, expected = SIZES[name]
    family = FAMILIES[values["model_type"]]
    with torch.device("meta"):
        assert count(family.build(family.read(values))) == expected


@pytest.mark.parametrize("name", SIZES)
def test_the_reference_has_it_too(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference models come from it")
    values, expected = SIZES[name]
    config = transformers.AutoConfig.for_model(**values)
    with torch.device("meta"):
        model = getattr(transformers, values["architectures"][0])(config)
        model.tie_weights()
    assert count(model) == expected
