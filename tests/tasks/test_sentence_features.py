"""What is read off inside a model of visual sentences belongs to one picture, at the depths that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentences import draw_block, save_codec, save_lvm

from beholder.models.lvm import LVM
from beholder.runtime.device import pick_device
from beholder.tasks.sentence_features import see_sentences
from beholder.tasks.visual_sentences import VisualSentences, open_sentences
from beholder.tokenizers.sentences import write_sentences

CPU = pick_device("cpu", 1)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> VisualSentences:
    folder = tmp_path_factory.mktemp("parts")
    return open_sentences(save_lvm(folder / "lvm", save_codec(folder / "codec", num_steps=30)), CPU)


def squares(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.stack([draw_block(generator) for _ in range(count)])


def test_there_are_two_depths_on_the_grid_of_codes(speaker: VisualSentences) -> None:
    outputs = see_sentences(speaker, squares(3))
    width = speaker.model.config.trunk.width
    assert [one.shape for one in outputs.maps] == [(3, width, 4, 4)] * 2 and outputs.summary.shape == (3, width)
    assert torch.allclose(outputs.summary, outputs.maps[1].mean((2, 3)))
    assert not torch.allclose(outputs.maps[0], outputs.maps[1])


def test_a_picture_is_seen_by_itself(speaker: VisualSentences) -> None:
    some = squares(4)
    together, alone = see_sentences(speaker, some), see_sentences(speaker, some[2:3])
    for one, other in zip(together.maps, alone.maps, strict=True):
        assert torch.allclose(one[2:3], other, atol=1e-5)


def test_the_last_depth_is_what_the_scores_are_made_of(speaker: VisualSentences) -> None:
    some = squares(2)
    tokens = torch.from_numpy(write_sentences(speaker.pictures.encode(some)[:, None], speaker.grammar))
    model = speaker.model
    assert isinstance(model, LVM)
    last = see_sentences(speaker, some).maps[-1].flatten(2).transpose(1, 2)  # B T D
    with torch.inference_mode():
        assert torch.allclose(model.gpt.logits(last), model(tokens)[:, 2:], atol=1e-5)


def test_the_middle_depth_is_what_a_trunk_cut_there_would_say(speaker: VisualSentences) -> None:
    some = squares(2)
    tokens = torch.from_numpy(write_sentences(speaker.pictures.encode(some)[:, None], speaker.grammar))
    model, blocks = speaker.model, speaker.model.gpt.trunk.blocks
    middle = see_sentences(speaker, some).maps[0].flatten(2).transpose(1, 2)
    model.gpt.trunk.blocks = blocks[: len(blocks) // 2]
    try:
        with torch.inference_mode():
            assert torch.allclose(model.depths(tokens)[-1][:, 2:], middle, atol=1e-5)
    finally:
        model.gpt.trunk.blocks = blocks
