"""The one list of foreign families: `model_type` of a config.json -> how it is read."""

from __future__ import annotations

from beholder.pretrained.huggingface.bert import BERT_FAMILY
from beholder.pretrained.huggingface.bloom import BLOOM
from beholder.pretrained.huggingface.clip import CLIP_IMAGE, CLIP_TEXT, CLIP_WHOLE
from beholder.pretrained.huggingface.dino import DINOV2, DINOV2_WITH_REGISTERS, DINOV3
from beholder.pretrained.huggingface.family import Family
from beholder.pretrained.huggingface.gpt2 import GPT2
from beholder.pretrained.huggingface.idefics import IDEFICS
from beholder.pretrained.huggingface.llama import LLAMA, MIXTRAL, QWEN2, QWEN3
from beholder.pretrained.huggingface.mae import VIT_MAE
from beholder.pretrained.huggingface.neox import NEOX
from beholder.pretrained.huggingface.opt import OPT
from beholder.pretrained.huggingface.siglip import SIGLIP, SIGLIP_IMAGE, SIGLIP_TEXT
from beholder.pretrained.huggingface.t5 import T5_FAMILY
from beholder.pretrained.huggingface.vit import VIT
from beholder.pretrained.huggingface.whisper import WHISPER

FAMILIES: dict[str, Family] = {
    "bert": BERT_FAMILY,
    "bloom": BLOOM,
    "clip": CLIP_WHOLE,
    "clip_text_model": CLIP_TEXT,
    "clip_vision_model": CLIP_IMAGE,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_WITH_REGISTERS,
    "dinov3_vit": DINOV3,
    "gpt2": GPT2,
    "gpt_neox": NEOX,
    "idefics": IDEFICS,
    "llama": LLAMA,
    "mixtral": MIXTRAL,
    "opt": OPT,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "siglip": SIGLIP,
    "siglip_text_model": SIGLIP_TEXT,
    "siglip_vision_model": SIGLIP_IMAGE,
    "t5": T5_FAMILY,
    "vit": VIT,
    "vit_mae": VIT_MAE,
    "whisper": WHISPER,
}
