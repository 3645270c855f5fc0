"""The images of a set that are nearest to given ones: has a model learned, or only stored its training images?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vae_tutorial import _checks

__all__ = ["NearestImages", "nearest_images"]

PIECE = 2**23  # pixels that are compared at a time, and distances that are held
_SPARE = 8  # candidates beyond k: float32 may order two nearly equal distances wrongly


class NearestImages(NamedTuple):
    """For each of N images the k nearest, nearest first: ``distance`` ``(N, k)`` and ``index`` ``(N, k)``."""

    distance: Tensor
    index: Tensor


@torch.no_grad()
def nearest_images(images: Tensor, among: Tensor, k: int = 1) -> NearestImages:
    """Return the ``k`` images of ``among`` that are nearest to each of ``images``, as :class:`NearestImages`.

    ``images``: ``(N, C, H, W)``, ``among``: ``(M, C, H, W)`` with M >= k, both floating in [0, 1] or uint8, which is
    divided by 255, also as ``data.load`` returns them. The distance is Euclidean over grey values, float64: between
    black-and-white images its square counts the pixels that differ. An image that is in ``among`` has distance 0.
    Compare samples with test images: where samples are nearer to the training images, these were memorized. Look at the
    pairs too, since a digit moved by a pixel is far away. Time grows with N * M; memory is bounded.
    Raises TypeError and ValueError for what are no images, for two shapes and for a k that is too large.
    Source: Theis, van den Oord and Bethge (2016), section 4.1, for what the distance does not see.
    """
    images, among, k = _bytes_or_unit(images, "images"), _bytes_or_unit(among, "among"), _checks.whole("k", k)
    if images.shape[1:] != among.shape[1:] or images.ndim < 2:
        raise ValueError(
            "images and among must be images of one shape, (N, C, H, W); "
            f"got ({_checks.joined(images.shape)}) and ({_checks.joined(among.shape)})"
        )
    if k > len(among):
        raise ValueError(f"k must be at most the {len(among)} images of among; got {k}")
    most = max(1, PIECE // max(1, images[:1].numel()))
    parts = [_nearest(images[first : first + 1000], among, k, most) for first in range(0, len(images), 1000)]
    return NearestImages(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _bytes_or_unit(images, name):
    images = getattr(images, "images", images)  # what data.load returns
    if hasattr(images, "index_select") and not isinstance(images, Tensor):  # images in a file, which stay there
        return images
    return _checks.images(images, None, name, keep_bytes=True)


def _flat(images, dtype=torch.float32):
    return images.flatten(1).to(dtype).div_(255) if images.dtype == torch.uint8 else images.flatten(1).to(dtype)


def _nearest(images, among, k, most):
    x = _flat(images)  # (n, P)
    best = x.new_zeros(len(x), 0)
    index = torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
    for first in range(0, len(among), most):
        y = _flat(among[first : first + most]).to(x.device)  # (m, P)
        square = y.square().sum(1) - 2 * x @ y.T  # (n, m): the distance's square, less that of x itself
        best = torch.cat([best, square], 1)
        here = torch.arange(first, first + len(y), device=x.device).expand(len(x), -1)
        index = torch.cat([index, here], 1)
        best, chosen = best.topk(min(k + _SPARE, best.shape[1]), largest=False)
        index = index.gather(1, chosen)
    # Differences of large numbers lose digits: the few that are left are compared pixel by pixel.
    index = index.sort(1).values
    exact = [
        (_flat(among[rows], torch.float64).to(images.device) - row.double()).square().sum(1)
        for rows, row in zip(index.to(among.device), _flat(images, torch.float64), strict=True)
    ]
    found = torch.stack(exact).sqrt().sort(stable=True, dim=1)
    return found.values[:, :k], index.gather(1, found.indices)[:, :k]
