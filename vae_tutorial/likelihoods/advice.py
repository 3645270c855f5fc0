"""Which likelihood fits these images, or this table."""

from __future__ import annotations

from typing import Any, NamedTuple

from vae_tutorial import _checks
from vae_tutorial.data import Mapped
from vae_tutorial.likelihoods import _kinds
from vae_tutorial.likelihoods.columns import named

_LOOKED_AT = 1 << 24  # values of images in a file


class Suggestion(NamedTuple):
    """``name``: of a likelihood that fits. ``why``. ``others``: names, each with when it is the better choice."""

    name: str
    why: str
    others: dict[str, str]

    def __str__(self):
        first = f"likelihood={self.name!r}: {self.why}."
        return "\n".join((first, *(f"{name!r}: {when}." for name, when in self.others.items())))


def suggest(images: Any) -> Suggestion:
    """Return which likelihood fits these images or rows of a table, why, and when to take another; nothing is trained.

    ``images``: ``(N, C, H, W)``, bytes or floating in [0, 1], as ``training.fit`` takes them, in memory or in a file;
    or vectors ``(N, D)`` of any range. ``print`` of the answer gives 2 to 4 lines. Grey images with fewer than 70 % of
    their pixels between black and white (8 levels from both, or more) are taken as probabilities, as MNIST's are; with
    more, as photographs. Raises ValueError for other shapes, NaN, and images of another range.
    """
    images = getattr(images, "images", images)
    x = images[:: 1 + images.numel() // _LOOKED_AT] if isinstance(images, Mapped) else _checks.tensor(images, "images")
    if x.ndim not in (2, 4) or not x.numel():
        raise ValueError(f"images must have shape (N, C, H, W), or (N, D) for a table; got ({_checks.joined(x.shape)})")
    return _for_table(x) if x.ndim == 2 else _for_images(_checks.images(x, None, "images", keep_bytes=True))


_TWO = "no, the density of values that are 0 or 1 says nothing"
_LEVELS = "for probabilities of the 256 levels, whose nats can be compared and compressed"


def _for_images(x):
    found = _kinds.kind(x)
    if found == "black and white":
        each = "channel of each pixel" if x.shape[1] > 1 else "pixel"
        return Suggestion(
            "bernoulli", f"black and white, so that each {each} has one probability", {"gaussian_shared": _TWO}
        )
    if found == "probabilities":
        rest = 1 - _kinds.between(x)
        how = "fit draws bytes anew for each batch" if x.element_size() == 1 else "data.binarize(images) draws them"
        return Suggestion(
            "bernoulli",
            f"{rest:.0%} of the pixels are nearly black or white, and the rest can pass for the probability that a "
            f"pixel is on ({how})",
            {"continuous_bernoulli": "for the grey values themselves, a density", "discretized_logistic": _LEVELS},
        )
    what = "colours" if found == "colours" else f"grey photographs ({_kinds.between(x):.0%} of the pixels between)"
    levels = "mixture_of_logistics" if found == "colours" else "discretized_logistic"
    others = {levels: _LEVELS, "bernoulli": "no, unless black and white is what you want: data.binarize(images)"}
    if x.is_floating_point() and (x * 255 - (x * 255).round()).abs().max() > 0.01:
        others[levels] = "no, these are no multiples of 1/255, and would be rounded to them"
    return Suggestion(
        "gaussian_shared",
        f"{what}; one variance is learned for all pixels, and pictures come soon. Its nats are those of a density",
        others,
    )


def _for_table(x):
    x = x.double()
    if not x.isfinite().all():
        bad = x.isfinite().logical_not().any(0)
        raise ValueError(f"images has NaN or infinite values in {named(bad)}; leave such rows out, or fill them in")
    zeros_and_ones = ((x == 0) | (x == 1)).all(0)
    if zeros_and_ones.all():
        return Suggestion("bernoulli", f"zeros and ones in all {x.shape[1]} columns", {"gaussian_learned": _TWO})
    constant = x.amax(0) == x.amin(0)
    whole = (x == x.round()).all(0) & ~zeros_and_ones & ~constant
    why = "a table; one variance is learned for each column, as a share of the column's own, and nats are in its units"
    odd = [f"{named(constant)} constant (leave out)"] if constant.any() else []
    odd += [f"{named(zeros_and_ones & ~constant)} of zeros and ones"] if (zeros_and_ones & ~constant).any() else []
    odd += [f"{named(whole)} of whole numbers (counts or categories)"] if whole.any() else []
    others = {"gaussian_per_pixel": "where the noise of a column differs from row to row"}
    if odd:
        why += f". But {'; '.join(odd)}: few values have a density as high as its floor lets it be"
        others["bernoulli"] = "for columns of zeros and ones alone; make them of categories, one for each value"
    return Suggestion("gaussian_learned", why, others)
