"""Sheets: many images as one picture, a PNG file. Small images are enlarged by a whole factor."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from vae_tutorial import _files

COLUMNS = 8
_SIDE = 64  # pixels of an image on the screen, at least about so many
_GAP = 2  # white pixels between images


def sheet(images: Tensor, columns: int = COLUMNS) -> Tensor:
    """Return images ``(N, C, H, W)`` side by side in rows, on white, as bytes ``(3, ...)``; values are clipped."""
    factor = max(1, round(_SIDE / max(images.shape[2:])))
    images = (images.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    high, wide = (size + _GAP for size in images.shape[2:])
    found = torch.full((3, _GAP + high * -(-len(images) // columns), _GAP + wide * columns), 255, dtype=torch.uint8)
    for place, image in enumerate(images):
        top, left = _GAP + high * (place // columns), _GAP + wide * (place % columns)
        found[:, top : top + high - _GAP, left : left + wide - _GAP] = image
    return found


def in_turn(*parts: Tensor, columns: int = COLUMNS) -> Tensor:
    """Return images so that a row of the first part stands above the same row of the second, and so on."""
    rows = zip(*(part.split(columns) for part in parts), strict=True)
    return torch.cat([_filled(row, columns) for group in rows for row in group])


def _filled(row, columns):
    blank = row.new_ones(columns - len(row), *row.shape[1:])
    return torch.cat((row, blank))


def write(path: Path, images: Tensor, columns: int = COLUMNS) -> None:
    """Write images ``(N, C, H, W)``, values in [0, 1], as one PNG file, atomically."""
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(sheet(images, columns).permute(1, 2, 0).numpy()).save(packed, "PNG")
    _files.write(path, packed.getvalue())
