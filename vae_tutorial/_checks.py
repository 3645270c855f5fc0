"""Every "must be ...; got ..." that several modules share. Skip this file when you read for the VAE.

``images`` is the gate: the input of ``fit``, ``elbo``, ``encode``, ``evaluation``, ``plotting`` and the explorers
passes through it. It converts what it can; otherwise its error says what to do.
"""

import math
import numbers
import operator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vae_tutorial._mapped import Mapped

_HOW = "use data.binarize(images) or images / 255"


def whole(name, value, least=1):
    """Return a whole number as an int: Python's, NumPy's, or a float without a fraction. Raises ValueError."""
    number = isinstance(value, numbers.Real | np.number) and not isinstance(value, bool)
    if number and math.isfinite(value) and value == int(value) >= least:
        return int(value)
    raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")


def amount(name, value, least=0.0):
    """Return a finite number of at least ``least`` as a float. Raises ValueError."""
    if isinstance(value, numbers.Real | np.number) and least <= value < math.inf:
        return float(value)
    raise ValueError(f"{name} must be a number of at least {least:g}; got {value!r}")


def sizes(name, values):
    """Return the sizes of layers or images as a tuple of int. Raises ValueError unless all are at least 1."""
    try:
        values = tuple(operator.index(value) for value in values)
    except TypeError:
        raise ValueError(f"{name} must be made of whole numbers of at least 1; got {values!r}") from None
    if not all(value >= 1 for value in values):
        raise ValueError(f"{name} must be made of whole numbers of at least 1; got {joined(values)}")
    return values


def path(name, value):
    """Return a path with ``~`` expanded. Raises ValueError for what is no path and for an unknown ``~user``."""
    try:
        return Path(value.decode() if isinstance(value, bytes) else value).expanduser()
    except (TypeError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} must be the path of a file; got {value!r} ({error})") from None


def joined(shape):
    return ", ".join(map(str, shape))


def tensor(x, name="x"):
    """Return a tensor, NumPy array, picture of PIL, ``data.Images``, or a list of such, as one tensor.

    A picture becomes ``(1, C, H, W)``, a list of pictures ``(N, C, H, W)``. Raises TypeError for anything else, and
    says what is accepted, ValueError for masked values and for a list whose parts have different shapes.
    """
    if isinstance(x, torch.Tensor):
        return x
    if isinstance(getattr(x, "images", x), Mapped):
        name = name if isinstance(x, Mapped) else f"{name}.images"
        raise TypeError(
            f"{name} are {len(x):,} images in a file, and memory is to hold all that come here. Pass a part, "
            f"{name}[:1000], or one after the other: for part in {name}.split(1000)"
        )
    if isinstance(x, np.ndarray | np.generic):
        if not (np.issubdtype(x.dtype, np.number) or x.dtype == np.bool_):
            raise TypeError(f"{name} is a NumPy array of {x.dtype}; expected numbers")
        if np.ma.is_masked(x):
            raise ValueError(
                f"{name} has {np.ma.count_masked(x):,} masked values, and what is under a mask is no data. For impute "
                f"make them NaN, {name}.filled(numpy.nan); elsewhere fill them in, or leave out their rows"
            )
        return torch.from_numpy(np.array(x))  # a copy: arrays may be read-only or have negative strides
    if isinstance(getattr(x, "images", None), torch.Tensor):  # what data.load returns
        return x.images
    if hasattr(x, "getbands"):
        return _picture(x, name).unsqueeze(0)
    if isinstance(x, DataLoader):
        raise TypeError(f"{name} is a DataLoader; pass one tensor: torch.cat([batch[0] for batch in loader])")
    if isinstance(x, Dataset):
        raise TypeError(f"{name} is a {type(x).__name__}; pass one tensor: torch.stack([item[0] for item in dataset])")
    if isinstance(x, list | tuple) and len(x):
        return _stacked(x, name)
    what = f"an empty {type(x).__name__}" if isinstance(x, list | tuple) else f"a {type(x).__name__}"
    raise TypeError(f"{name} is {what}; expected a tensor, such as train.images of train = data.load()")


def _picture(x, name):
    if x.mode not in ("1", "L", "RGB"):
        how = 'picture.convert("L") for grey, or "RGB"'
        if x.mode[0] in "IF":  # convert would not divide them by their range
            how = 'Image.fromarray((np.asarray(picture) * (255 / top)).round().astype("uint8")), with top the largest '
            how += "possible value: 65535 for 16 bits, 4095 for 12, 1 for values from 0 to 1"
        raise TypeError(f"{name} is a picture of mode {x.mode}; convert it: {how}")
    pixels = torch.from_numpy(np.array(x))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _stacked(x, name):
    if all(isinstance(part, numbers.Real) for part in x):
        return torch.tensor(x)
    if all(isinstance(part, list) for part in x):
        try:
            return torch.tensor(x)  # nested lists of numbers
        except (TypeError, ValueError):
            pass
    parts = [_picture(part, name) if hasattr(part, "getbands") else tensor(part, name) for part in x]
    if isinstance(x, tuple) and len(x) == 2 and parts[1].ndim == 1 and parts[0].ndim > 1:
        raise TypeError(f"{name} is a pair, images and labels; pass the images alone: images, labels = {name}")
    if any(part.shape != parts[0].shape for part in parts):
        shapes = joined(sorted({str(tuple(part.shape)) for part in parts})[:3])
        raise ValueError(f"{name} is a list whose parts have different shapes, {shapes}; resize them to one")
    return torch.stack(parts)


def double(x):
    """Return x in float64: on its own device, or on the CPU where the device has none, as Apple's GPU."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def unit_interval(x, name="x"):
    """Raise ValueError unless ``x`` is a floating tensor with every value in [0, 1]."""
    if not x.is_floating_point():
        mend = "images.to(torch.uint8) if these are 0 to 255" if x.dtype not in (torch.uint8, torch.bool) else _HOW
        raise ValueError(f"{name} has dtype {x.dtype}; expected floating values in [0, 1]: {mend}")
    low, high = (v.item() for v in x.detach().aminmax()) if x.numel() else (0.0, 1.0)
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        mend = "leave out Normalize, or undo it" if low < 0 else "divide bytes by 255"
        raise ValueError(f"{name} ranges from {low:g} to {high:g}; pixels must lie in [0, 1] ({mend})")


def grey_levels(x, name="x"):
    """Raise ValueError where bytes are only 0 and 1: as grey levels, 1 of 255 is nearly black."""
    if x.dtype == torch.uint8 and x.numel() and (x.brightest if isinstance(x, Mapped) else x.max()) == 1:
        raise ValueError(
            f"{name} holds only bytes of 0 and 1, which as grey levels from 0 to 255 are nearly black. "
            f"If the images are black and white, pass floating values: {name}.float()"
        )


def of_vectors(model):
    """Whether the model is of vectors ``(N, D)``, such as the rows of a table, and not of images."""
    return len(getattr(model, "image_shape", None) or ()) == 1


def values(x, model, name="x"):
    """Raise ValueError unless ``x`` has floating values that the model can take: in [0, 1], or for vectors finite."""
    if not of_vectors(model):
        unit_interval(x, name)
        return
    if not x.is_floating_point():
        raise ValueError(f"{name} has dtype {x.dtype}; the columns of a table are floating: {name}.float()")
    wrong = x.isfinite().logical_not()
    if wrong.any():
        rows, columns = wrong.any(1), wrong.any(0).nonzero().flatten().tolist()
        raise ValueError(
            f"{name} has values that are NaN or infinite in {int(rows.sum())} of {len(x)} rows, columns "
            f"{joined(columns[:10])}; leave such rows out, {name}[{name}.isfinite().all(1)], or fill them in"
        )
    model.likelihood.check(x, name)


def images(x, model=None, name="x", *, keep_bytes=False, divide=False):
    """The gate: validate images ``(N, C, H, W)``, every value of them, and return a tensor that ``model`` can take.

    Floating images come out in the dtype of the model's weights, bool as 0.0 and 1.0. Bytes are refused, since a
    Bernoulli likelihood wants them binarized and others divided; with ``keep_bytes`` they stay as they are, with
    ``divide`` they are divided by 255. Raises TypeError for what is no tensor and cannot be made one, ValueError for
    values outside [0, 1], NaN, integers, and for a shape or device that is not the model's. A model of vectors takes
    ``(N, D)`` of any finite values.
    """
    x = tensor(x, name)
    if model is not None:
        shape(x, model, name)
        if not keep_bytes:  # a training moves its images to the device itself
            device(x, model, name)
    if x.dtype == torch.bool:
        x = x.float()
    like = None if model is None else next(model.parameters(), None)
    if of_vectors(model):
        x = x.to(like.dtype) if like is not None and x.is_floating_point() else x
        values(x, model, name)
        return x
    grey_levels(x, name)
    if x.dtype == torch.uint8 and keep_bytes:
        return x
    if x.dtype == torch.uint8 and divide:
        x = x / 255
    unit_interval(x, name)
    if x.numel() and 0 < x.max() <= 1 / 255 + 1e-6:
        raise ValueError(f"the brightest pixel of {name} is {x.max():.5f} of 1; was it divided by 255 twice?")
    if not divide and model is not None and getattr(model.likelihood, "sees_pixels", False):
        model.likelihood.check(x, name)
    return x if like is None or not like.is_floating_point() else x.to(like.dtype)


def shape(x, model, name="x"):
    """Raise ValueError unless ``x`` is at least one image of the model's ``image_shape``."""
    wanted = getattr(model, "image_shape", None)
    if wanted is None:  # a user-defined model, which may take any shape
        return
    wanted = tuple(wanted)
    if x.ndim == 1 + len(wanted) and tuple(x.shape[1:]) == wanted and len(x):
        return
    mend = ""
    if tuple(x.shape) == wanted:
        mend = f"; a single {'row' if of_vectors(model) else 'image'} needs a batch axis: {name}.unsqueeze(0)"
    elif of_vectors(model):
        mend = f"; rows are vectors: {name}.flatten(1)" if math.prod(x.shape[1:]) == wanted[0] != x.shape[-1] else ""
    elif tuple(x.shape[1:]) == wanted[1:] and wanted[0] == 1:
        mend = f"; the channel axis is missing: {name}.unsqueeze(1)"
    elif x.ndim == 2 and x.shape[1] == math.prod(wanted):
        mend = f"; unflatten them: {name}.reshape(-1, {joined(wanted)})"
    elif x.ndim == 4 and tuple(x.shape[1:]) == (*wanted[1:], wanted[0]):
        mend = f"; the channels come first here: {name}.permute(0, 3, 1, 2)"
    raise ValueError(f"{name} must have shape (B, {joined(wanted)}) with B >= 1; got ({joined(x.shape)}){mend}")


def device(x, model, name="x"):
    """Raise ValueError where ``x`` and the model are on different devices."""
    here = next(model.parameters()).device
    if x.device != here:
        raise ValueError(f"{name} is on {x.device}, the model on {here}; move one of them: {name}.to({str(here)!r})")


def training_images(x, name, model):
    """Validate the images of ``fit``: uint8 stays uint8. What the likelihood does not fit is an error.

    Images in a file stay there; what 16 MB of them hold, evenly spread, stands for all.
    """
    x = some = x.images if isinstance(getattr(x, "images", None), Mapped) else x
    if isinstance(x, Mapped):
        shape(x, model, name)
        grey_levels(x, name)
        some = x[:: 1 + (x.numel() >> 24)]
    else:
        x = some = images(x, model, name, keep_bytes=True)
    check = getattr(model.likelihood, "check", None)  # a likelihood of the reader's own may have none
    if check is not None:
        check(some, name)
    return x


def trainable(model, average):
    """Raise ValueError for a model without a weight to train, and for an average of another model."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model has no weight to train: requires_grad is False for all; call model.requires_grad_()")
    if average is None:
        return
    if not isinstance(average, torch.optim.swa_utils.AveragedModel):
        raise TypeError(f"average must be a torch.optim.swa_utils.AveragedModel; got a {type(average).__name__}")
    if [p.shape for p in average.module.parameters()] != [p.shape for p in model.parameters()]:
        raise ValueError("average must be an average of this model; their weights have different shapes")
