"""Pictures to the codes of a tokenizer and back, as a model of visual sentences reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from beholder.models.codec import ImageCodec
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device
from beholder.tokenizers.pixels import PixelConfig, fit

_AT_ONCE = 32


class PictureCodes:
    """A codec on a device, and the squares that it was trained on."""

    def __init__(self, codec: Part, device: Device) -> None:
        assert isinstance(codec.model, ImageCodec), codec.kind
        self.codec = codec.model.to(device.torch_device)
        self.device = device.torch_device
        self.side = codec.config.image_size
        places = self.side // codec.config.stride
        self.grid = (places, places)
        self.num_codes = codec.model.num_codes
        self._pixels = PixelConfig(self.side, fit="shortest", crop=self.side)

    @property
    def points(self) -> Float[Tensor, "K d"]:
        """What each code stands for, as the codec's decoder reads it."""
        return self.codec.codebook.embed(torch.arange(self.num_codes, device=self.device)).detach()

    def square(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "S S 3"]:
        """The middle of the picture: its shorter side becomes the codec's, what is longer is cut."""
        return np.ascontiguousarray(fit(image, self._pixels))

    def squares(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "B S S 3"]:
        """Of each picture."""
        return np.stack([self.square(image) for image in images])

    @torch.inference_mode()
    def encode(self, squares: UInt8[np.ndarray, "B S S 3"]) -> Int[np.ndarray, "B codes"]:
        """Codes row by row. In single precision, whatever the device prefers: a rounded value may be another code."""
        found = []
        for first in range(0, len(squares), _AT_ONCE):
            pixels = torch.from_numpy(np.array(squares[first : first + _AT_ONCE])).to(
                self.device
            )  # mapped files are read-only
            codes = self.codec.encode(pixels.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1)
            found.append(codes.flatten(1).cpu().numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def decode(self, codes: Int[np.ndarray, "B codes"]) -> UInt8[np.ndarray, "B S S 3"]:
        """The pictures that those codes stand for."""
        painted = []
        for first in range(0, len(codes), _AT_ONCE):
            part = torch.from_numpy(np.asarray(codes[first : first + _AT_ONCE], np.int64)).to(self.device)
            pixels = self.codec.decode(part.unflatten(1, self.grid))
            painted.append(
                ((pixels.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
            )
        return np.concatenate(painted)
