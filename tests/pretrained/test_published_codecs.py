"""Published codecs through rename rules: the same codes and the same picture, and no tensor left over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pretrained.taming import VQModel, as_llamagen

from beholder.checkpoint.files import save_tensors
from beholder.checkpoint.rules import read_rules, write_rules
from beholder.models.codebook import CodebookConfig
from beholder.models.codec import CodecConfig, ImageCodec
from beholder.models.conv_coder import ConvCoderConfig
from beholder.pretrained.published_codecs import IGNORED, NAMINGS, PUBLISHED, load_published
from beholder.types import UserError

SMALL = CodecConfig(
    "conv",
    CodebookConfig("learned", num_codes=50, width=6, is_unit=False),
    ConvCoderConfig(32, (1, 2, 3), 2, (2,), True, inner_width=10, patch_size=1),
)


def published(config: CodecConfig, device: str = "cpu") -> VQModel:
    """With random numbers everywhere, also where a fresh one has zeros and ones."""
    conv, book = config.conv, config.codebook
    with torch.device(device):
        model = VQModel(
            conv.width, conv.multipliers, conv.num_blocks, set(conv.attention_levels), conv.inner_width, book.width,
            book.num_codes, book.is_unit,
        ).eval()  # fmt: skip
    torch.manual_seed(0)
    for value in model.parameters() if device == "cpu" else ():
        torch.nn.init.normal_(value, std=0.1 if value.ndim == 4 else 0.5)
    return model


def named(model: VQModel, naming: str, num_levels: int) -> dict[str, torch.Tensor]:
    tensors = model.state_dict()
    return tensors if naming == "taming" else {as_llamagen(name, num_levels): one for name, one in tensors.items()}


@pytest.mark.parametrize("naming", sorted(NAMINGS))
@pytest.mark.parametrize("is_unit", [False, True])
def test_a_published_codec_gives_the_same_codes_and_pictures(naming: str, is_unit: bool, tmp_path: Path) -> None:
    config = replace(SMALL, codebook=replace(SMALL.codebook, is_unit=is_unit))
    model = published(config)
    tensors = {**named(model, naming, 3), "loss.logvar": torch.zeros(1)}
    save_tensors(tmp_path / "codec.safetensors", tensors)
    ours = load_published(tmp_path / "codec.safetensors", config, naming)
    pixels = torch.randn(2, 3, 20, 32).clamp(-1, 1)
    with torch.no_grad():
        wanted, codes = model(pixels)
        painted, quantised = ours(pixels)
    assert len(codes.unique()) > 5
    assert torch.equal(quantised.codes, codes)
    assert (painted - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("naming", sorted(NAMINGS))
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_published_sizes_have_a_place_for_every_tensor(name: str, naming: str) -> None:
    config = PUBLISHED[name]
    with torch.device("meta"):
        ours = ImageCodec(config).state_dict()
    theirs = named(published(config, "meta"), naming, 5)
    read = read_rules(theirs, NAMINGS[naming](config), ignored=IGNORED, source=Path("codec.safetensors"))
    assert {key: one.shape for key, one in read.items()} == {key: one.shape for key, one in ours.items()}
    assert sum(one.numel() for one in read.values()) == sum(one.numel() for one in theirs.values())


def test_what_is_read_can_be_written_again() -> None:
    theirs = named(published(SMALL), "taming", 3)
    rules = NAMINGS["taming"](SMALL)
    again = write_rules(read_rules(theirs, rules, ignored=(), source=Path("x")), rules)
    assert again.keys() == theirs.keys() and all(torch.equal(again[name], theirs[name]) for name in theirs)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    tensors = named(published(SMALL), "taming", 3)
    tensors.pop("decoder.up.0.block.1.conv1.weight")
    save_tensors(tmp_path / "codec.safetensors", tensors)
    with pytest.raises(UserError, match=r"lacks decoder\.up\.0\.block\.1\.conv1\.weight"):
        load_published(tmp_path / "codec.safetensors", SMALL)
    with pytest.raises(UserError, match="choose taming or llamagen"):
        load_published(tmp_path / "codec.safetensors", SMALL, "other")
