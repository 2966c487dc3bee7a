"""The vision families are proven: CLIP, SigLIP, ViT, DINOv2, DINOv3 and MAE say what their references say."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from parity.reference import relative_error, save
from parity.vision import CASES, LARGE, NATIVE, SMALL, TEXT_ONLY, WIDE, Outputs, Pair, draw, make_pair
from parity.vision import say_ours as ours
from parity.vision import say_theirs as theirs
from parity.vision_flips import flips
from torch import Tensor, nn

from beholder.checkpoint.files import load_into, load_tensors
from beholder.checkpoint.rename import rename
from beholder.checkpoint.rules import read_rules, write_rules
from beholder.pretrained.huggingface.checkpoint import fill, read_tensors, write_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.types import UserError

SAME = 1e-5
"""Relative to the largest value; float32."""
BFLOAT16_ERROR = 0.02
"""Root mean square of what bfloat16 changes, in units of the reference's own; measured 0.006 to
0.012, as much as it changes the reference."""


@pytest.fixture(params=CASES, scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield make_pair(CASES[request.param], tmp_path_factory.mktemp("vision"))


def sizes(pair: Pair) -> tuple[tuple[int, int], ...]:
    is_text = any(CASES[name] is pair.case for name in TEXT_ONLY)
    return (NATIVE,) if is_text else (NATIVE, WIDE, SMALL, LARGE)


@torch.no_grad()
def test_outputs_are_the_same_on_images_of_any_size(pair: Pair) -> None:
    """Smaller and larger than the tables, upright and wide; texts with padding and several ends."""
    for size in sizes(pair):
        inputs = draw(pair.case, size)
        assert worst(ours(pair.found.model, inputs), theirs(pair.reference, inputs)) <= SAME


def test_gradients_are_the_same(pair: Pair) -> None:
    """The reference's are saved in the place of its parameters, so that they bear the names of its file.

    What vanishes but for rounding (of a key's bias) is compared with what other parameters get.
    """
    inputs, reference, model = draw(pair.case, sizes(pair)[0]), deepcopy(pair.reference), deepcopy(pair.found.model)
    project(theirs(reference, inputs)).backward()
    project(ours(model.requires_grad_(True), inputs)).backward()
    with torch.no_grad():
        for value in reference.parameters():
            value.copy_(torch.zeros_like(value) if value.grad is None else value.grad)
    wanted = load_tensors(save(reference, pair.folder / "gradients") / "model.safetensors")
    learned, family = dict(model.named_parameters()), FAMILIES[pair.found.kind]
    given: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        grad = learned[name].grad if name in learned else None
        given[name] = torch.zeros_like(value) if grad is None else grad
    wanted = {name.removeprefix(family.prefix): value for name, value in rename(wanted, family.older).items()}
    written = write_rules(given, family.rules(pair.found.config))
    found = {name.removeprefix(family.prefix): value for name, value in written.items()}
    assert found.keys() == wanted.keys()
    peaks = {name: float(value.abs().max()) for name, value in wanted.items()}
    least = 1e-2 * sorted(peaks.values())[len(peaks) // 2]
    errors = {name: float((found[name] - wanted[name]).abs().max()) / max(peaks[name], least) for name in wanted}
    assert max(errors.values()) <= 1e-4, max(errors.items(), key=lambda item: item[1])
    silent = {name for name, peak in peaks.items() if peak == 0}
    assert all("position" in name or "pos_embed" in name for name in silent), silent  # MAE's tables are not trained


def test_every_tensor_is_read_and_written(pair: Pair) -> None:
    """Each of theirs by one rule, each of ours over NaN; none may be missing, and none too many."""
    family, config = FAMILIES[pair.found.kind], pair.found.config
    source, tensors = read_tensors(pair.folder)
    bare = {name.removeprefix(family.prefix): value for name, value in rename(tensors, family.older).items()}
    rules = [
        replace(rule, theirs=tuple(name.removeprefix(family.prefix) for name in rule.theirs))
        for rule in family.rules(config)
    ]
    named = [name for rule in rules for name in rule.theirs]
    assert len(named) == len(set(named)) and set(named) == bare.keys()
    model = family.build(config)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(torch.nan)
    load_into(model, read_rules(bare, rules, ignored=(), source=source), source)
    assert not [name for name, value in model.state_dict().items() if value.isnan().any()]
    for name in bare:
        with pytest.raises(UserError, match="lacks"):
            read_rules({one: bare[one] for one in bare if one != name}, rules, ignored=(), source=source)
    with pytest.raises(UserError, match=r"has unknown stray\.weight"):
        fill(family.build(config), family, config, {**tensors, "stray.weight": torch.zeros(1)}, source)


def test_norms_have_the_same_eps(pair: Pair) -> None:
    """As values, since outputs hardly show them; norms are known by their weights, which are random."""
    assert different_eps(pair, pair.found.model) == []


@torch.no_grad()
def test_bfloat16_is_near(pair: Pair) -> None:
    inputs = draw(pair.case, sizes(pair)[-1])
    rough = deepcopy(pair.found.model).bfloat16()
    narrow = deepcopy(inputs)
    object.__setattr__(narrow, "pixels", inputs.pixels.bfloat16())
    exact, found = theirs(pair.reference, inputs), ours(rough, narrow)
    for name, value in exact.items():
        error = (found[name].float() - value).square().mean().sqrt() / value.square().mean().sqrt()
        assert float(error) <= BFLOAT16_ERROR, (name, float(error))
    assert any(not torch.equal(found[name].float(), value) for name, value in exact.items())


@torch.no_grad()
def test_written_back_it_opens_in_transformers(pair: Pair) -> None:
    """With nothing missing and nothing over, the same outputs to the last bit, and what was told told again."""
    folder, found = pair.folder / "written", pair.found
    write_checkpoint(folder, found.kind, found.model, found.config)
    again, told = type(pair.reference).from_pretrained(folder, output_loading_info=True, **pair.case.opened_with)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"], told
    inputs = draw(pair.case, sizes(pair)[0])
    expected, outputs = theirs(pair.reference, inputs), theirs(again.eval(), inputs)
    for name, value in expected.items():
        assert torch.equal(outputs[name], value), name
    agree(FAMILIES[found.kind].write(found.config), pair.reference.config.to_dict())


@torch.no_grad()
def test_every_wrong_switch_is_caught(pair: Pair) -> None:
    """A model with one switch turned does not load, or speaks otherwise on some image; a small eps by its value."""
    source, tensors = read_tensors(pair.folder)
    inputs = [draw(pair.case, size) for size in sizes(pair)[:3]]
    expected, family = [theirs(pair.reference, one) for one in inputs], FAMILIES[pair.found.kind]
    missed, num_flips = [], 0
    for name, config in flips(pair.found.config):
        num_flips += 1
        try:
            model = family.build(config).eval()
            fill(model, family, config, tensors, source)
            is_same = all(worst(ours(model, one), said) <= SAME for one, said in zip(inputs, expected, strict=True))
        except (UserError, AssertionError):
            continue
        is_by_value = ".eps=" in name and not name.endswith(".eps=0.1")
        if is_same and not (is_by_value and different_eps(pair, model)):
            missed.append(name)
    assert missed == [] and num_flips >= 20, (missed, num_flips)


def worst(found: Outputs, wanted: Outputs) -> float:
    """The largest relative error of all outputs; infinite where they are others."""
    if found.keys() != wanted.keys() or any(found[name].shape != wanted[name].shape for name in wanted):
        return float("inf")
    errors = [relative_error(found[name], wanted[name]) for name in wanted]
    return max(errors) if all(error == error for error in errors) else float("inf")


def project(outputs: Outputs) -> Tensor:
    """A fixed random projection of all outputs."""
    generator = torch.Generator().manual_seed(7)
    weights = {name: torch.randn(outputs[name].shape, generator=generator) for name in sorted(outputs)}
    return torch.stack([(outputs[name] * weight).sum() for name, weight in weights.items()]).sum()


def different_eps(pair: Pair, model: nn.Module) -> list[str]:
    """Norms of `model` whose eps is not that of the reference's norm with the same weight."""
    norms = [module for module in pair.reference.modules() if isinstance(module, nn.LayerNorm)]
    wrong, num_norms = [], 0
    for name, norm in model.named_modules():
        if isinstance(norm, nn.LayerNorm):
            num_norms += 1
            twins = [one for one in norms if torch.equal(one.weight, norm.weight)]
            assert len(twins) == 1, name
            wrong += [name] * (twins[0].eps != norm.eps)
    assert num_norms == len(norms)
    return wrong


def agree(told: dict[str, Any], known: dict[str, Any]) -> None:
    """What we write of a configuration is what the reference had."""
    for key, value in told.items():
        if isinstance(value, dict) and key.endswith("_config"):
            value = dict(value)
            value.pop("projection_dim", None)  # which counts for a tower alone; the reference leaves a default there
            agree(value, known[key])
        elif key == "id2label":
            assert {int(number): name for number, name in value.items()} == known[key]
        elif key == "bos_token_id":
            assert value is None  # no tower reads it, and the reference's own outgrows small vocabularies
        else:
            assert known[key] == value, (key, value, known[key])


def published(kind: str, architecture: str, **values: Any) -> tuple[str, dict[str, Any]]:
    return architecture, {"model_type": kind, "architectures": [architecture], **values}


_LARGE_IMAGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
PUBLISHED = {
    "clip-vit-base-patch32": (published("clip", "CLIPModel", text_config={}, vision_config={}), 151_277_313),
    "clip-vit-large-patch14": (
        published(
            "clip", "CLIPModel", projection_dim=768, vision_config={**_LARGE_IMAGE, "patch_size": 14},
            text_config={"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        ),
        427_616_513,
    ),
    "siglip-base-patch16-224": (published("siglip", "SiglipModel", text_config={}, vision_config={}), 203_155_970),
    "vit-base-patch16-224": (published("vit", "ViTForImageClassification", num_labels=1000), 86_567_656),
    "dinov2-base": (published("dinov2", "Dinov2Model", image_size=518), 86_580_480),
    "dinov2-giant": (
        published(
            "dinov2", "Dinov2Model", image_size=518, hidden_size=1536, num_hidden_layers=40, num_attention_heads=24,
            use_swiglu_ffn=True,
        ),
        1_136_480_768,
    ),
    "dinov2-with-registers-base": (
        published("dinov2_with_registers", "Dinov2WithRegistersModel", image_size=518, patch_size=14), 86_583_552,
    ),
    "dinov3-vits16": (published("dinov3_vit", "DINOv3ViTModel", num_register_tokens=4), 21_596_544),
    "dinov3-vith16plus": (
        published(
            "dinov3_vit", "DINOv3ViTModel", num_register_tokens=4, hidden_size=1280, num_hidden_layers=32,
            num_attention_heads=20, intermediate_size=5120, use_gated_mlp=True, hidden_act="silu",
        ),
        840_592_640,
    ),
    "vit-mae-base": (published("vit_mae", "ViTMAEForPreTraining"), 111_907_840),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_as_many_numbers(name: str) -> None:
    import transformers

    (architecture, values), number = PUBLISHED[name]
    family = FAMILIES[values["model_type"]]
    with torch.device("meta"):
        model = family.build(family.read(values))
        config = transformers.AutoConfig.for_model(**values)
        reference = getattr(transformers, architecture)(config)
    counts = [sum(value.numel() for value in one.state_dict().values()) for one in (model, reference)]
    assert counts == [number, number]
