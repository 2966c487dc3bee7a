"""The one list of foreign families: `model_type` of a config.json -> how it is read."""

from __future__ import annotations

from beholder.pretrained.huggingface.family import Family
from beholder.pretrained.huggingface.gpt2 import GPT2
from beholder.pretrained.huggingface.llama import LLAMA, MIXTRAL, QWEN2, QWEN3

FAMILIES: dict[str, Family] = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mixtral": MIXTRAL,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
}
