"""Images to learn from: MNIST, Fashion-MNIST, scikit-learn's digits as their stand-in, and the reader's own.

Behind the last: ``_folder`` finds files, ``_pictures`` reads one, ``_arrays`` checks arrays, ``_pairs`` splits them,
``_cache`` writes them to a file, ``_mapped`` reads that file.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae_tutorial import _arrays, _checks, _download, _folder, _pairs
from vae_tutorial._arrays import ColumnWarning
from vae_tutorial._emoji import emoji_sheet
from vae_tutorial._mapped import DataError, Mapped

__all__ = [
    "ColumnWarning",
    "DataError",
    "Images",
    "Mapped",
    "StandInWarning",
    "binarize",
    "emoji_sheet",
    "from_arrays",
    "from_folder",
    "load",
    "test_binarization",
]

NAMES = (*_download.FOLDERS, "digits")
SPLITS = ("train", "test")
_told = set()  # data sets for which the stand-in was announced in this process: once, not in every cell


class StandInWarning(UserWarning):
    """Other images than those asked for were loaded."""


@dataclass(frozen=True)
class Images:
    """``images``: uint8 ``(N, 1, 28, 28)``. ``labels``: int64 ``(N,)``. ``name``: of what was really loaded.

    From a reader's own data also: uint8 ``(N, C, H, W)``, in memory or as :class:`Mapped`; floating images; a table,
    float32 ``(N, D)``. ``files``: the path of each image below its folder. ``classes``: names of the labels.
    """

    images: Any  # a Tensor, or a Mapped, which is like one
    labels: Tensor
    name: str
    split: str
    files: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __len__(self):
        return len(self.images)


def load(
    name: Literal["mnist", "fashion", "digits"] = "mnist",
    split: Literal["train", "test"] = "train",
    *,
    root: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
    strict: bool = False,
) -> Images:
    """Return the images and labels of a data set as :class:`Images` on ``device``.

    ``name``: ``"mnist"``, ``"fashion"`` or ``"digits"``. ``split``: ``"train"`` or ``"test"``.
    ``root``: the folder that holds ``MNIST/raw`` or ``FashionMNIST/raw``; else ``$VAE_TUTORIAL_DATA``; else the user's
    cache folder. What is not there is downloaded to it, from torchvision's mirrors, checksums verified.
    Where that cannot be done, scikit-learn's digits stand in, with one warning; with ``strict=True`` it is an error.

    Raises ValueError for an unknown name or split, DataError for damaged files (whatever ``strict`` says: a file that
    is there but wrong is never ignored) and for a torchvision that does not fit its torch.
    """
    _one_of("name", name, NAMES)
    _one_of("split", split, SPLITS)
    if name != "digits":
        dataset = _torchvision_class(name)
        try:
            root = _download.find_root(root)
            _download.ensure(name, root, dataset.mirrors, dataset.resources)
        except _download.Unavailable as reason:
            if strict:
                raise DataError(str(reason)) from None
            _warn_once(name, reason)
            name = "digits"
    images, labels = _digits(split) if name == "digits" else _read(name, split, root)
    return Images(images.to(device), labels.to(device), name, split)


def from_folder(
    path: str | os.PathLike,
    size: int | tuple[int, int] = 64,
    channels: int = 3,
    split: float = 0.1,
    seed: int = 0,
    cache: str | os.PathLike | None = None,
) -> tuple[Images, Images | None]:
    """Return the pictures of a folder and of its sub-folders, to train on and to test on, and say what was done.

    Each becomes uint8 ``(channels, *size)``: turned upright as its EXIF says, put on white where it is transparent, the
    short side resized with antialiasing, the long one cropped to its centre; of an animation the first frame. Colour
    profiles are not applied. Pictures are in the order of their paths; first-level sub-folders are the ``classes``
    (``"."``: beside them). Hidden files do not count; what is broken or no picture is left out and named.

    ``size``: a number, or height and width. ``channels``: 3, or 1 for grey. ``split``: the share to test on; with 0 the
    second is None. A hash of the file and ``seed`` decides: a picture stays on its side when others are added, and is
    never on both. ``cache``: a file to keep the images in, outside the folder. They are then read batch by batch
    (:class:`Mapped`), never all in memory, and found again by the next call, which reads that file once to check it.

    Raises ValueError for unusable arguments, and where all images fall to one side; DataError for a folder without
    images, a cache that cannot be written, is damaged, or was made otherwise: of other files, sizes, or a split.
    """
    return _own(_folder.Source(path, size, channels, cache), split, seed, cache)


def from_arrays(
    x: Any, labels: Any = None, split: float = 0.1, seed: int = 0, cache: str | os.PathLike | None = None
) -> tuple[Images, Images | None]:
    """Return images, or the rows of a table, to train on and to test on, and say what was done.

    ``x``: NumPy, torch or a DataFrame. Images ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` with C of 1 or 3,
    bytes or floating in [0, 1]; they become ``(N, C, H, W)``, uint8 or float32. Or vectors ``(N, D)``, floating, of any
    finite range; they become float32. ``labels``: ``(N,)``, whole numbers, or text, whose values are the ``classes``.
    ``split``, ``seed``, ``cache``: as in :func:`from_folder`, by the values of a row; a cache is for bytes alone.

    Warns (:class:`ColumnWarning`) of columns that are constant, or too finely spaced for float32. Raises TypeError for
    what is no number, such as categories; ValueError for NaN (named by rows and columns), masked values, whole numbers
    that are not bytes, other shapes, a single picture, and where all rows fall to one side; DataError for a cache.
    """
    source = _arrays.Source(x, labels)
    for odd in source.warnings:
        warnings.warn(odd, ColumnWarning, stacklevel=2)
    return _own(source, split, seed, cache)


def binarize(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return black-and-white images: each pixel is on with its grey value as the probability.

    ``images``: uint8 in 0..255, or floating in [0, 1]; any shape. Returns 0.0 and 1.0 as float32, the same shape.
    ``generator``: a ``torch.Generator`` on the images' device, for a reproducible result.
    Raises ValueError for values outside [0, 1], and for bytes of 0 and 1 alone: they are black and white already.
    Source: Salakhutdinov and Murray (2008); drawn anew for each batch in training, as Burda et al. (2016) do.
    """
    images = _checks.tensor(images, "images")
    if images.dtype == torch.uint8:
        _checks.grey_levels(images, "images")
        return binarize_bytes(images, generator)
    _checks.unit_interval(images, "images")
    return (torch.rand(images.shape, generator=generator, device=images.device) < images).float()


def binarize_bytes(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """What :func:`binarize` does with bytes, without reading their values, which would synchronize with a GPU."""
    # A draw from 0..254 is below v in v cases of 255: the probability v / 255, to within 3e-10.
    draw = torch.randint(0, 255, images.shape, dtype=torch.uint8, generator=generator, device=images.device)
    return (draw < images).float()


def test_binarization(
    name: Literal["mnist", "fashion", "digits"] = "mnist",
    *,
    root: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
    strict: bool = False,
) -> Tensor:
    """Return the ledger's test images: the test set binarized once and for all, float32 ``(N, 1, 28, 28)``.

    The arguments are those of :func:`load`. The draw is the same on every machine and device, and for every release
    of torch and NumPy: it comes from NumPy's ``RandomState``, whose stream is frozen (NEP 19).
    """
    grey = load(name, "test", root=root, strict=strict).images.numpy()
    draw = np.random.RandomState(2016).randint(0, 255, size=grey.shape, dtype=np.uint8)
    return torch.from_numpy(draw < grey).float().to(device)


test_binarization.__test__ = False  # ty: ignore[missing-attribute]  # its name begins like a test's, but pytest must not collect it


def _own(source, split, seed, cache):
    train, test = _pairs.make(source, split, seed, cache)
    return Images(**train), None if test is None else Images(**test)


def _one_of(argument, value, known):
    if value not in known:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, known))}; got {value!r}")


def _torchvision_class(name):
    try:
        import torchvision.datasets
    except ImportError as error:
        raise DataError(f"torchvision is needed to load {name!r}: pip install torchvision ({error})") from error
    except (RuntimeError, AttributeError) as error:  # raised by a torchvision that was built for another torch
        raise DataError(
            f"torchvision does not fit torch {torch.__version__} ({str(error).splitlines()[0]}). Install the pair that "
            "belongs together: pip uninstall -y torch torchvision, then pip install torch torchvision"
        ) from error
    return getattr(torchvision.datasets, _download.FOLDERS[name])


def _read(name, split, root):
    try:
        for file in _download.raw_files(name, root):
            if file.name.startswith("train" if split == "train" else "t10k"):
                _check_contents(name, root, file)
        read = _torchvision_class(name)(root, train=split == "train", download=False)
    except PermissionError as error:
        raise DataError(f"the files of {name!r} in {root} cannot be read ({error})") from error
    except DataError:
        raise
    except Exception as error:  # torchvision fails in many ways on bytes that are no image file
        raise _damaged(name, root, f"{type(error).__name__}: {error}") from error
    images, labels = read.data.unsqueeze(1), read.targets
    if images.shape[1:] != (1, 28, 28) or images.dtype != torch.uint8 or len(images) == 0:
        raise _damaged(name, root, f"images are {images.dtype} {tuple(read.data.shape)}, not uint8 (N, 28, 28)")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() > 9:
        raise _damaged(name, root, f"{len(images)} images, but labels {tuple(labels.shape)} in {set(labels.tolist())}")
    return images, labels.long()


def _check_contents(name, root, file):
    size, digest = _download.OFFICIAL[file.name]  # a file of another size may be a user's own subset
    digest = _download.FASHION[file.name] if name == "fashion" else digest
    if file.stat().st_size == size and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise _damaged(name, root, f"{file.name} does not have the official SHA-256")


def _damaged(name, root, what):
    folder = root / _download.FOLDERS[name] / "raw"
    return DataError(f"the files of {name!r} in {folder} are damaged ({what}). Delete them to download them again")


def _digits(split):
    """scikit-learn's 1,797 digits of 8 x 8, enlarged to 20 x 20 and padded to 28 x 28, as MNIST's are."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) / bunch.images.max()
    large = F.pad(F.interpolate(small, size=20, mode="bicubic").clamp(0, 1), (4, 4, 4, 4))
    chosen = (torch.arange(len(large)) % 5 == 4) == (split == "test")  # every fifth is a test image
    return (large * 255).round().to(torch.uint8)[chosen], torch.from_numpy(bunch.target).long()[chosen]


def _warn_once(name, reason):
    if name not in _told:
        _told.add(name)
        warnings.warn(
            f"{reason}. scikit-learn's digits stand in: real, "
            "but only 1,797, so numbers differ from the book's. Set VAE_TUTORIAL_DATA to a folder that has the files.",
            StandInWarning,
            stacklevel=3,
        )
