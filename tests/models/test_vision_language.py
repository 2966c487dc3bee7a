"""Truths of a language model that sees, of both fusions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from beholder.inference.beams import BeamConfig, search_beams
from beholder.inference.generate import GenerationConfig, generate
from beholder.models.gpt import GPT, GPTConfig
from beholder.models.lvm import llama_trunk
from beholder.models.vision_language import VisionLanguage, VisionLanguageConfig, WithImages
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.resampler import ResamplerConfig
from beholder.types import UserError

V, SEEN, WIDTH = 40, 5, 12
LANGUAGE = GPTConfig(V, None, context_length=64, trunk=llama_trunk(24, 2, 2))
RESAMPLER = ResamplerConfig(3, 1, AttentionConfig(2, head_width=8, biases=()))
CONFIGS = {
    "linear": VisionLanguageConfig("linear", WIDTH, SEEN, LANGUAGE),
    "gated": VisionLanguageConfig("gated", WIDTH, SEEN, LANGUAGE),
    "gated, resampled": VisionLanguageConfig("gated", WIDTH, SEEN, LANGUAGE, resampler=RESAMPLER),
    "linear, pointing": VisionLanguageConfig("linear", WIDTH, SEEN, LANGUAGE, points=True),
    "gated, pointing": VisionLanguageConfig("gated", WIDTH, SEEN, LANGUAGE, points=True),
}
each = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))


def built(config: VisionLanguageConfig) -> VisionLanguage:
    torch.manual_seed(0)
    model = VisionLanguage(config).eval()
    for value in model.parameters():  # gates too
        nn.init.normal_(value, std=0.3)
    return model


def places(model: VisionLanguage, image: int) -> list[int]:
    """What stands in a row for its image of that number."""
    count = model.places_per_image
    return [V + image * (count + 1) + one for one in range(count)]


def briefly(model: VisionLanguage, image: int) -> int:
    """What stands there for one that is shown briefly."""
    return V + image * (model.places_per_image + 1) + model.places_per_image


def images_of(*shape: int) -> Tensor:
    return torch.randn(*shape, SEEN, WIDTH, generator=torch.Generator().manual_seed(5))


@each
class TestSeeing:
    def test_what_comes_before_an_image_does_not_know_of_it(self, config: VisionLanguageConfig) -> None:
        model, images = built(config), images_of(1, 2)
        row = torch.tensor([[1, 2, *places(model, 0), 3, *places(model, 1), 4]])
        second = row.tolist()[0].index(places(model, 1)[0])
        told = model(row, images)
        other = model(row, torch.stack([images[:, 0], images[:, 1] + 1], dim=1))
        assert torch.equal(told[:, :second], other[:, :second])
        assert not torch.allclose(told[:, -1], other[:, -1])

    def test_each_row_sees_its_own_images(self, config: VisionLanguageConfig) -> None:
        model, images = built(config), images_of(2, 1)
        row = torch.tensor([[1, *places(model, 0), 3, 4]])
        both = model(row.expand(2, -1), images)
        for one in range(2):
            assert torch.allclose(both[one : one + 1], model(row, images[one : one + 1]), atol=1e-5)

    def test_reading_on_equals_reading_at_once_beside_padding_too(self, config: VisionLanguageConfig) -> None:
        model, images = built(config), images_of(2, 2)
        prompts = [[1, briefly(model, 0), 7, 8, *places(model, 1), 9], [2, *places(model, 0), 3]]
        wrote = generate(WithImages(model, images), prompts, GenerationConfig(6))
        for prompt, seen, new in zip(prompts, images, wrote, strict=True):
            row = list(prompt)
            for token in new:
                scores = model(torch.tensor([row]), seen[None])[0, -1]
                assert int(scores.argmax()) == token
                row.append(token)

    def test_beams_go_on_with_their_own_images(self, config: VisionLanguageConfig) -> None:
        model, images = built(config), images_of(2, 1)
        prompts = [[1, *places(model, 0), 7], [1, *places(model, 0), 7]]
        both = search_beams(WithImages(model, images), prompts, BeamConfig(3, 5))
        for one in range(2):
            alone = search_beams(WithImages(model, images[one : one + 1]), prompts[:1], BeamConfig(3, 5))
            assert both[one] == alone[0]

    def test_a_place_without_an_image_is_told(self, config: VisionLanguageConfig) -> None:
        model = built(config)
        row = torch.tensor([[1, *places(model, 0), *places(model, 1)]])
        with pytest.raises(UserError, match="places for 2 images and 1 are given"):
            model(row, images_of(1, 1))

    def test_text_alone_is_read_without_images(self, config: VisionLanguageConfig) -> None:
        model, row = built(config), torch.tensor([[1, 2, 3]])
        assert model(row).shape == (1, 3, V)

    def test_what_is_seen_counts_in_units_of_its_spread(self, config: VisionLanguageConfig) -> None:
        model, images = built(config), images_of(4, 1)
        row = torch.tensor([[1, *places(model, 0), 3]])
        model.measure(images.flatten(0, 1))
        one = model(row.expand(4, -1), images)
        model.measure(7 + 3 * images.flatten(0, 1))
        assert torch.allclose(one, model(row.expand(4, -1), 7 + 3 * images), atol=1e-4)


def test_one_linear_map_makes_words_of_what_was_seen() -> None:
    model, images = built(CONFIGS["linear"]), images_of(1, 1)
    row = torch.tensor([[1, *places(model, 0), 2]])
    fusion: Any = model.fusion
    seen = images[0, 0] @ fusion.project.weight.T + fusion.project.bias
    words = model.language.embed.tokens.weight
    rows = torch.cat([words[1:2], seen, words[2:3]])[None]
    x = model.language.trunk(rows)[-1]
    assert torch.allclose(model(row, images), model.language.logits(x), atol=1e-5)


@pytest.mark.parametrize("name", ["gated", "gated, resampled"])
def test_with_shut_gates_the_language_model_is_what_it_was(name: str) -> None:
    torch.manual_seed(0)
    language = GPT(LANGUAGE).eval()
    model = VisionLanguage(CONFIGS[name]).eval()  # gates are shut at first
    told = model.language.load_state_dict(language.state_dict(), strict=False)
    assert not told.unexpected_keys and all("looks" in one for one in told.missing_keys)
    row = torch.tensor([[1, 2, 3, 4]])
    assert torch.equal(model(row, images_of(1, 1)), language(row))
    fusion: Any = model.fusion
    with_mark = torch.cat([language.embed.tokens.weight[1:2], fusion.mark[None], language.embed.tokens.weight[2:3]])
    x = language.trunk(with_mark[None])[-1]
    assert torch.allclose(model(torch.tensor([[1, V, 2]]), images_of(1, 1)), language.logits(x), atol=1e-6)


def test_a_word_of_a_gated_text_looks_at_the_last_image_before_it_alone() -> None:
    model, images = built(CONFIGS["gated"]), images_of(1, 2)
    direct = replace(CONFIGS["gated"], language=replace(LANGUAGE, trunk=replace(LANGUAGE.trunk, depth=1)))
    model = built(direct)  # one block: nothing passes on what earlier words saw
    row = torch.tensor([[V, 3, V + 2, 4]])
    first_changed = torch.stack([images[:, 0] + 1, images[:, 1]], dim=1)
    told, other = model(row, images), model(row, first_changed)
    assert not torch.allclose(told[:, 1], other[:, 1])
    looked = model.language.trunk.looks[0]
    seen: list[Tensor] = []
    looked.register_forward_hook(lambda _, __, out: seen.append(out))
    model(row, images), model(row, first_changed)
    assert torch.equal(seen[0][:, 3], seen[1][:, 3])


def test_an_image_that_is_shown_briefly_is_its_summary() -> None:
    model, images = built(CONFIGS["linear"]), images_of(1, 2)
    row = torch.tensor([[1, briefly(model, 0), 5, *places(model, 1), 2]])
    others = images.clone()
    others[:, 0, 1:] += 1  # what is not the summary
    assert torch.equal(model(row, images), model(row, others))
    others[:, 0, 0] += 1
    assert not torch.allclose(model(row, images), model(row, others))


@pytest.mark.parametrize("name", ["linear", "gated"])
class TestToldWords:
    def models(self, name: str) -> tuple[VisionLanguage, VisionLanguage]:
        """The same, with and without a pointer whose gates are open."""
        plain, pointing = built(CONFIGS[name]), built(CONFIGS[f"{name}, pointing"])
        pointing.load_state_dict(plain.state_dict(), strict=False)
        told: Any = pointing.told
        for value in told.parameters():
            nn.init.zeros_(value)
        nn.init.constant_(told.openness, 50.0)
        return plain, pointing

    def test_they_are_raised_after_them_and_no_other_word_as_much(self, name: str) -> None:
        plain, pointing = self.models(name)
        row = torch.tensor([[1, 2, briefly(plain, 0), 3, 4, briefly(plain, 1), 5, *places(plain, 2), 6]])
        gain = (pointing(row, images_of(1, 3)) - plain(row, images_of(1, 3)))[0]
        assert (gain[:5] == 0).all()  # what is being said of a part is not told yet
        rows = plain.head_weight.detach()
        raised = [rows @ rows[word] / rows[word].square().sum() for word in (3, 4, 5)]
        strength = nn.functional.softplus(torch.zeros(()))
        assert torch.allclose(gain[5], strength * (raised[0] + raised[1]), atol=1e-4)
        assert torch.allclose(gain[6], strength * (raised[0] + raised[1]), atol=1e-4)
        assert torch.allclose(gain[-1], strength * (raised[0] + raised[1] + raised[2]), atol=1e-4)

    def test_words_about_whole_images_are_not_told(self, name: str) -> None:
        plain, pointing = self.models(name)
        row = torch.tensor([[1, *places(plain, 0), 3, 4, *places(plain, 1), 6]])
        assert torch.equal(pointing(row, images_of(1, 2)), plain(row, images_of(1, 2)))

    def test_gates_that_are_shut_change_nothing(self, name: str) -> None:
        plain, pointing = self.models(name)
        told: Any = pointing.told
        nn.init.constant_(told.openness, -200.0)
        row = torch.tensor([[1, briefly(plain, 0), 3, *places(plain, 1), 6]])
        assert torch.allclose(pointing(row, images_of(1, 2)), plain(row, images_of(1, 2)))
