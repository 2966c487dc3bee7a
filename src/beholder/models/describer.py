"""A vision backbone and a language model that reads what it says: the whole that captions and answers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.names import Names
from beholder.models.seen import SeenTokens
from beholder.models.vision_language import VisionLanguage


class Describer(nn.Module):
    """The two, side by side: images are seen once, and then spoken of. With `names` also part by part."""

    def __init__(self, vision: SeenTokens, speaker: VisionLanguage, names: Names | None = None) -> None:
        super().__init__()
        config = speaker.config
        seen = (vision.width, vision.num_tokens)
        assert seen == (config.seen_width, config.seen_tokens), f"the speaker reads {config}, what is seen is {seen}"
        self.vision, self.speaker, self.names = vision, speaker, names

    def see(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B S C"]:
        """What the speaker reads of each image."""
        return self.vision(pixels)
