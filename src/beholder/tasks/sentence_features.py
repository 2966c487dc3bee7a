"""What a model of visual sentences makes of each picture, read off inside its trunk."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8

from beholder.tasks.visual_sentences import VisualSentences
from beholder.tokenizers.sentences import write_sentences
from beholder.types import Outputs


@torch.inference_mode()
def see_sentences(speaker: VisualSentences, squares: UInt8[np.ndarray, "B S S 3"]) -> Outputs:
    """Each picture as a sentence of its own: its codes at the trunk's middle and last depths as two maps, and the mean
    of the last as the summary.

    The middle is read too because the last depths of a model that foretells turn to what comes next (iGPT: Chen et al.
    2020, ICML).
    """
    model, grammar, device = speaker.model, speaker.grammar, speaker.device
    tokens = torch.from_numpy(write_sentences(speaker.pictures.encode(squares)[:, None], grammar))
    depth = model.config.trunk.depth
    with device.autocast():
        seen = model.depths(tokens.to(device.torch_device), (max(1, depth // 2),))
    # B T D, of which the tokens that begin the sentence and open the picture are no part of it
    maps = tuple(one[:, 2:].float().transpose(1, 2).unflatten(2, grammar.grid) for one in seen)  # B D H W
    return Outputs(maps, maps[-1].mean((2, 3)))
