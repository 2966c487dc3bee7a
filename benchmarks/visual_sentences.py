"""Models of visual sentences for comparisons: ours, and transformers' LLaMA with the same weights by our export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from beholder.models.gpt import GPT
from beholder.models.lvm import LVM, TRUNKS, LVMConfig
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.tokenizers.sentences import SentenceConfig

GRAMMAR = SentenceConfig(1024, (8, 8))
"""Of pictures of 64 pixels and a tokenizer of 1,024 codes."""
NUM_PICTURES = 8
LENGTH = GRAMMAR.length(NUM_PICTURES)
"""Tokens of a sentence: 521."""


def build_models(size: str) -> tuple[Any, GPT]:
    """transformers' LlamaForCausalLM and ours, of a size of `train lvm`, in evaluation mode and without gradients."""
    from transformers import LlamaForCausalLM

    config = LVMConfig(
        GRAMMAR.num_codes,
        GRAMMAR.grid,
        GRAMMAR.vocabulary_size,
        LENGTH,
        has_places=False,
        is_tied=False,
        trunk=TRUNKS[size],
    )
    ours = LVM(config).gpt.eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        export_to_huggingface(ours, Path(folder) / "llama", kind="llama")
        theirs = LlamaForCausalLM.from_pretrained(Path(folder) / "llama")
    theirs.generation_config.bos_token_id = theirs.generation_config.eos_token_id = None  # a code of ours is none
    return theirs.eval().requires_grad_(False), ours
