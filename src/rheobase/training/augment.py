"""Augmentation of training images: random shifts by whole pixels.

Every image is moved by its own (dy, dx), each uniform on -p ... p; what moves in from outside is 0.
Not modelled: rotation, scaling, shifts by fractions of a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def shift_images(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Images `[B, C, H, W]`, or the rows of grey ones `[B, H, W]`, each shifted by up to `pixels` either way.

    Raises:
        ValueError: If the inputs are no images, or the shift is as large as they are.

    >>> shift_images(torch.ones(2, 1, 4, 4), 1, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 4, 4])
    """
    if images.dim() == 3 and images.shape[2] > 1:
        return shift_images(images.unsqueeze(1), pixels, generator).squeeze(1)
    if images.dim() != 4:
        raise ValueError(
            f"augment_pixels: got inputs of shape {tuple(images.shape)}, wanted images [B, C, H, W], or "
            "their rows [B, H, W]; set it to 0 for other data"
        )
    batch, _, height, width = images.shape
    if pixels >= min(height, width):
        raise ValueError(
            f"augment_pixels: got {pixels} px for images of {height} x {width} px, wanted less than that"
        )
    start = torch.randint(0, 2 * pixels + 1, (2, batch, 1), generator=generator)
    rows = (start[0] + torch.arange(height))[:, :, None]  # shape: [B, H, 1]
    columns = (start[1] + torch.arange(width))[:, None, :]  # shape: [B, 1, W]
    padded = functional.pad(images, (pixels,) * 4)
    sample = torch.arange(batch)[:, None, None]
    return padded[sample, :, rows, columns].movedim(-1, 1).contiguous()
