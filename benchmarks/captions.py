"""Captions and answers on a CPU: a model that sees by one linear map, ours beside the same model on transformers; one
step of its training; and how soon the first caption comes.

    python benchmarks/captions.py --rounds 5 > captions.json

Vision is ViT-B/32's shape, of which 17 tokens are read; language is LLaMA's shape, 4 x 256 with 2,050 tokens as
`train describe` trains it, or 12 x 768 with 32,000. Weights are random and the same: transformers' CLIPVisionModel,
its tokens pooled and projected as ours are, stands before its LlamaForCausalLM by `inputs_embeds`. `captions`: images
a CPU second on one thread, from pixels to 16 new tokens, by the likeliest word and by 3 beams; `vs_transformers` is
the median ratio over rounds in which all take turns; `agrees` the share of equal tokens (random weights make
near-ties); "openvino sees" has ViT on that backend, in fp32. `step`: one training step of language and map over 32
rows of 17 + 24 tokens, fused AdamW on both sides; the first losses must be equal. `first_caption`: by the clock, on
`--threads`, from a loaded model and a file of a photo to its caption, and what loading takes, for the model folder
`--model`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rounds
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.backends.choose import prepare
from beholder.inference.beams import BeamConfig, search_beams
from beholder.models.clip import CLIP
from beholder.models.describer import Describer
from beholder.models.gpt import GPT
from beholder.models.seen import SeenTokens
from beholder.models.vision_language import VisionLanguage, VisionLanguageConfig, WithImages
from beholder.objectives.next_token import NextToken
from beholder.pretrained.huggingface.checkpoint import read_checkpoint
from beholder.types import UserError

SHAPES = {
    "4 x 256, 2,050 tokens": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
                              "intermediate_size": 688, "vocab_size": 2050},
    "12 x 768, 32,000 tokens": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                                "intermediate_size": 2048, "vocab_size": 32000},
}  # fmt: skip
SIDE, NUM_NEW, NUM_ANSWER, ROWS = 4, 16, 24, 32
BEGIN = 1


class Theirs(nn.Module):
    """The same model out of transformers' parts."""

    def __init__(self, vision: Any, language: Any, project: nn.Linear) -> None:
        super().__init__()
        self.vision, self.language, self.project = vision, language, project

    def see(self, pixels: Tensor) -> Tensor:
        told = self.vision(pixels)
        patches = told.last_hidden_state[:, 1:].transpose(1, 2)
        side = int(patches.shape[2] ** 0.5)
        parts = F.adaptive_avg_pool2d(patches.unflatten(2, (side, side)), SIDE).flatten(2).transpose(1, 2)
        return torch.cat([told.pooler_output[:, None], parts], dim=1)

    def embeds(self, seen: Tensor, tokens: Tensor) -> Tensor:
        words = self.language.get_input_embeddings()
        return torch.cat([words(tokens[:, :1]), self.project(seen), words(tokens[:, 1:])], dim=1)

    @torch.inference_mode()
    def caption(self, pixels: Tensor, num_beams: int) -> list[list[int]]:
        embeds = self.embeds(self.see(pixels), torch.full((len(pixels), 1), BEGIN))
        told = self.language.generate(
            inputs_embeds=embeds, attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long), num_beams=num_beams,
            max_new_tokens=NUM_NEW, min_new_tokens=NUM_NEW, do_sample=False,
        )  # fmt: skip
        return told.tolist()

    def loss(self, seen: Tensor, tokens: Tensor) -> Tensor:
        labels = torch.cat([torch.full((len(seen), 1 + seen.shape[1]), -100), tokens[:, 1:]], dim=1)
        return self.language(inputs_embeds=self.embeds(seen, tokens), labels=labels).loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2, help="for the first caption")
    parser.add_argument("--model", help="a model folder of train describe, for the first caption")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    rounds.use_threads(1)
    for name, shape in SHAPES.items():
        theirs, ours = build_models(shape)
        captions = {
            f"{images} at once, {beams} beams": compare_captions(theirs, ours, images, beams, options.rounds)
            for images in (1, options.images)
            for beams in (1, 3)
        }
        result[name] = {"captions": captions, "step": compare_steps(theirs, ours, options.rounds)}
        print(f"{name}: {json.dumps(result[name])}", file=sys.stderr)
    if options.model:
        rounds.use_threads(options.threads)
        result["first_caption"] = first_caption(options.model, options.rounds)
    told = {"versions": rounds.versions("torch", "transformers"), "rounds": options.rounds, "seed": 0}
    print(json.dumps({**rounds.processor(), **told, "results": result}, indent=2))


def build_models(shape: dict[str, int]) -> tuple[Theirs, Describer]:
    """Random weights on their side, read on ours as a user would."""
    from transformers import CLIPConfig, CLIPModel, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    vision = {"patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
              "intermediate_size": 3072}  # fmt: skip
    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)).eval()
    language = LlamaForCausalLM(
        LlamaConfig(**shape, max_position_embeddings=512, bos_token_id=BEGIN, eos_token_id=None, pad_token_id=0)
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        clip.save_pretrained(f"{folder}/clip")
        language.save_pretrained(f"{folder}/language")
        seeing, speaking = (read_checkpoint(Path(folder) / name) for name in ("clip", "language"))
    assert isinstance(seeing.model, CLIP) and isinstance(speaking.model, GPT)
    tokens = SeenTokens(seeing.model, SIDE)
    speaker = VisionLanguage(VisionLanguageConfig("linear", tokens.width, tokens.num_tokens, speaking.config))
    speaker.language.load_state_dict(speaking.model.state_dict())
    theirs = Theirs(clip.vision_model, language, speaker.fusion.project)
    return theirs.eval(), Describer(tokens, speaker).eval()


def compare_captions(theirs: Theirs, ours: Describer, num_images: int, num_beams: int, num_rounds: int) -> Any:
    pixels = torch.randn(num_images, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    vocabulary, places = ours.speaker.config.language.vocabulary_size, ours.speaker.places_per_image
    prompt = [BEGIN, *range(vocabulary, vocabulary + places)]

    def say(see: Callable[[Tensor], Tensor]) -> list[list[int]]:
        with torch.inference_mode():
            seeing = WithImages(ours.speaker, see(pixels)[:, None])
            return search_beams(seeing, [prompt] * num_images, BeamConfig(num_beams, NUM_NEW))

    contenders: dict[str, Callable[[], list[list[int]]]] = {
        "transformers": lambda: theirs.caption(pixels, num_beams),
        "beholder": lambda: say(ours.see),
    }
    try:
        fast = prepare(ours.vision, torch.cat([pixels, pixels]), "openvino")
        contenders["beholder, openvino sees"] = lambda: say(fast)
    except UserError as error:
        print(error, file=sys.stderr)
    said = {name: run() for name, run in contenders.items()}
    seconds = rounds.take_turns(contenders, num_rounds)
    return {
        name: {
            "images_per_cpu_second": round(num_images / rounds.median(seconds[name]), 2),
            "vs_transformers": round(rounds.ratio(seconds[name], seconds["transformers"]), 2),
            "agrees": round(float(np.mean(np.array(said[name]) == np.array(said["transformers"]))), 3),
        }
        for name in contenders
    }


def compare_steps(theirs: Theirs, ours: Describer, num_rounds: int) -> Any:
    """Vision is looked at once before, as `train describe` does, on both sides."""
    speaker, generator = ours.speaker, torch.Generator().manual_seed(2)
    vocabulary, places = speaker.config.language.vocabulary_size, speaker.places_per_image
    seen = torch.randn(ROWS, places, speaker.config.seen_width, generator=generator)
    words = torch.randint(3, vocabulary, (ROWS, NUM_ANSWER), generator=generator)
    begin = torch.full((ROWS, 1), BEGIN)
    marks = torch.arange(vocabulary, vocabulary + places).expand(ROWS, -1)
    weights = torch.cat([torch.zeros(ROWS, 1 + places), torch.ones(ROWS, NUM_ANSWER)], dim=1)
    batch = {"tokens": torch.cat([begin, marks, words], dim=1), "weights": weights, "images": seen[:, None]}
    told = torch.cat([begin, words], dim=1)
    theirs.language.requires_grad_(True).train()
    speaker.requires_grad_(True).train()
    learned = {"beholder": list(speaker.parameters()),
               "transformers": [*theirs.language.parameters(), *theirs.project.parameters()]}  # fmt: skip
    objective = NextToken()
    losses = {
        "beholder": lambda: objective(speaker, batch).total,
        "transformers": lambda: theirs.loss(seen, told),
    }
    first = [float(losses[name]().detach()) for name in losses]
    assert abs(first[0] - first[1]) < 1e-4 * first[1], first
    optimizers = {name: torch.optim.AdamW(values, lr=1e-5, fused=True) for name, values in learned.items()}

    def step(name: str) -> None:
        optimizers[name].zero_grad(set_to_none=True)
        losses[name]().backward()
        optimizers[name].step()

    seconds = rounds.take_turns({name: (lambda name=name: step(name)) for name in losses}, num_rounds)
    speaker.eval(), theirs.eval()
    return {
        "cpu_seconds": {name: round(rounds.median(taken), 3) for name, taken in seconds.items()},
        "vs_transformers": round(rounds.ratio(seconds["beholder"], seconds["transformers"]), 2),
        "first_losses": [round(one, 5) for one in first],
    }


def first_caption(model: str, num_rounds: int) -> Any:
    import beholder
    from beholder.runtime.device import pick_device
    from beholder.tasks.talk import describe, open_talker

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        Image.fromarray(picture).save(photo)
        loads, firsts = [], []
        for _ in range(num_rounds):
            began = time.perf_counter()
            talker = open_talker(beholder.load(model), pick_device("cpu", torch.get_num_threads()))
            loaded = time.perf_counter()
            (answer,) = describe(talker, photo)
            loads.append(loaded - began)
            firsts.append(time.perf_counter() - loaded)
    assert answer.label is not None
    return {"load_seconds": round(rounds.median(loads), 2), "caption_seconds": round(rounds.median(firsts), 2)}


if __name__ == "__main__":
    main()
