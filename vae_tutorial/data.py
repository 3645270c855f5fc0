"""Images to learn from: MNIST, Fashion-MNIST, and scikit-learn's digits as a stand-in where neither can be had."""

import hashlib
import os
import queue
import socket
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["DataError", "Images", "StandInWarning", "binarize", "load", "test_binarization"]

_TORCHVISION = {"mnist": "MNIST", "fashion": "FashionMNIST"}
NAMES = (*_TORCHVISION, "digits")
SPLITS = ("train", "test")
# The official contents of the unpacked files: size in bytes and SHA-256. torchvision checks the downloads only.
_OFFICIAL = {
    "train-images-idx3-ubyte": (47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
# A mirror that says nothing for so long counts as out of reach.
_PATIENCE_SECONDS = 5.0
_unreachable = set()  # data sets whose download failed in this process: asked once, not in every cell


class DataError(RuntimeError):
    """The images that were asked for are damaged, or cannot be had."""


class StandInWarning(UserWarning):
    """Other images than those asked for were loaded."""


@dataclass(frozen=True)
class Images:
    """``images``: uint8 ``(N, 1, 28, 28)``. ``labels``: int64 ``(N,)``. ``name``: of what was really loaded."""

    images: torch.Tensor
    labels: torch.Tensor
    name: str
    split: str

    def __len__(self):
        return len(self.images)


def load(name="mnist", split="train", *, root=None, device="cpu", strict=False):
    """Return the images and labels of a data set as :class:`Images` on ``device``.

    ``name``: ``"mnist"``, ``"fashion"`` or ``"digits"``. ``split``: ``"train"`` or ``"test"``.
    ``root``: the folder that holds ``MNIST/raw`` or ``FashionMNIST/raw``; else ``$VAE_TUTORIAL_DATA``; else a cache
    folder of the user's. What is not there is downloaded to it by torchvision, checksums verified.
    Where that cannot be done, scikit-learn's digits stand in, with one warning; with ``strict=True`` it is an error.

    Raises ValueError for an unknown name or split, DataError for damaged files (whatever ``strict`` says: a file that
    is there but wrong is never passed over) and for a torchvision that does not fit its torch.
    """
    _one_of("name", name, NAMES)
    _one_of("split", split, SPLITS)
    if name != "digits":
        root = find_root(root)
        try:
            _ensure(name, root)
        except _Unavailable as reason:
            if strict:
                raise DataError(f"{name} is not in {root} and could not be downloaded: {reason}") from None
            _warn_once(name, root, reason)
            name = "digits"
    images, labels = _digits(split) if name == "digits" else _read(name, split, root)
    return Images(images.to(device), labels.to(device), name, split)


def binarize(images, generator=None):
    """Return black-and-white images: each pixel is on with its grey value as the probability.

    ``images``: uint8 in 0..255, or floating in [0, 1]; any shape. Returns 0.0 and 1.0 as float32, the same shape.
    ``generator``: a ``torch.Generator`` on the images' device, for a result that can be repeated.
    Raises ValueError for values outside [0, 1].
    Source: Salakhutdinov and Murray (2008); drawn anew for each batch in training, as Burda et al. (2016) do.
    """
    if images.dtype == torch.uint8:
        # A draw from 0..254 is below v in v cases of 255: the probability v / 255, to within 3e-10.
        draw = torch.randint(0, 255, images.shape, dtype=torch.uint8, generator=generator, device=images.device)
        return (draw < images).float()
    check_unit_interval(images, "images")
    return (torch.rand(images.shape, generator=generator, device=images.device) < images).float()


def test_binarization(name="mnist", *, root=None, device="cpu", strict=False):
    """Return the ledger's test images: the test set binarized once and for all, float32 ``(N, 1, 28, 28)``.

    The arguments are those of :func:`load`. The draw is the same on every machine and device, and for every release
    of torch and NumPy: it comes from NumPy's ``RandomState``, whose stream is frozen (NEP 19).
    """
    grey = load(name, "test", root=root, strict=strict).images.numpy()
    draw = np.random.RandomState(2016).randint(0, 255, size=grey.shape, dtype=np.uint8)
    return torch.from_numpy(draw < grey).float().to(device)


test_binarization.__test__ = False  # its name begins like a test's, but pytest must not collect it


def check_unit_interval(x, name="x"):
    """Raise ValueError unless ``x`` is a floating tensor with every value in [0, 1]."""
    if not x.is_floating_point():
        raise ValueError(
            f"{name} has dtype {x.dtype}; expected floating values in [0, 1]: use data.binarize(images) or images / 255"
        )
    low, high = (v.item() for v in x.aminmax()) if x.numel() else (0.0, 1.0)
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise ValueError(f"{name} ranges from {low:g} to {high:g}; pixels must lie in [0, 1] (divide bytes by 255)")


class _Unavailable(Exception):
    pass


def _one_of(argument, value, known):
    if value not in known:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, known))}; got {value!r}")


def find_root(root):
    if root is None:
        root = os.environ.get("VAE_TUTORIAL_DATA")
    if not root:
        from platformdirs import user_cache_dir

        root = user_cache_dir("vae_tutorial", appauthor=False)
    return Path(root).expanduser()


def _torchvision_class(name):
    try:
        import torchvision.datasets
    except ImportError as error:
        raise DataError(f"torchvision is needed to load {name!r}: pip install torchvision ({error})") from error
    except (RuntimeError, AttributeError) as error:  # what a torchvision built for another torch fails with
        raise DataError(
            f"torchvision does not fit torch {torch.__version__} ({str(error).splitlines()[0]}). Install the pair that "
            "belongs together: pip uninstall -y torch torchvision, then pip install torch torchvision"
        ) from error
    return getattr(torchvision.datasets, _TORCHVISION[name])


def _raw_files(dataset, root):
    # torchvision's own list of resources names the files; without ".gz" they are the unpacked ones.
    folder = root / dataset.__name__ / "raw"
    return [folder / Path(resource).stem for resource, _ in dataset.resources]


def _ensure(name, root):
    """Download what is missing, beside its place first, so that a broken download leaves nothing behind."""
    dataset = _torchvision_class(name)
    files = _raw_files(dataset, root)
    if all(file.is_file() for file in files):
        return
    if (name, root) in _unreachable:
        raise _Unavailable("it was tried before in this process")
    patience = socket.getdefaulttimeout()
    try:
        _reach(dataset.mirrors)
        root.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(_PATIENCE_SECONDS)  # torchvision sets none: a stalled download would hang for ever
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            dataset(folder, download=True)
            files[0].parent.mkdir(parents=True, exist_ok=True)
            for new, file in zip(_raw_files(dataset, Path(folder)), files, strict=True):
                new.replace(file)
    except (OSError, RuntimeError) as error:  # out of reach, refused, a read-only folder, a full disk, a bad checksum
        _unreachable.add((name, root))
        raise _Unavailable(f"{type(error).__name__}: {error}") from error
    finally:
        socket.setdefaulttimeout(patience)


def _reach(mirrors):
    # In threads, because looking up a host's name can hang for minutes and obeys no timeout.
    answers = queue.SimpleQueue()

    def ask(mirror):
        try:
            with urllib.request.urlopen(urllib.request.Request(mirror, method="HEAD"), timeout=_PATIENCE_SECONDS):
                answers.put(True)
        except urllib.error.HTTPError:
            answers.put(True)  # it refuses this request, but somebody is there: the download will tell
        except (OSError, ValueError):
            answers.put(False)

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    try:
        reached = any(answers.get(timeout=_PATIENCE_SECONDS) for _ in mirrors)
    except queue.Empty:
        reached = False
    if not reached:
        raise ConnectionError(f"none of {', '.join(mirrors)} answered within {_PATIENCE_SECONDS:g} s")


def _read(name, split, root):
    dataset = _torchvision_class(name)
    if name == "mnist":
        prefix = "train" if split == "train" else "t10k"
        for file in _raw_files(dataset, root):
            if file.name.startswith(prefix):
                _check_contents(name, root, file)
    try:
        read = dataset(root, train=split == "train", download=False)
    except Exception as error:  # torchvision fails in many ways on bytes that are no image file
        raise _damaged(name, root, f"{type(error).__name__}: {error}") from error
    images, labels = read.data.unsqueeze(1), read.targets
    if images.shape[1:] != (1, 28, 28) or images.dtype != torch.uint8 or len(images) == 0:
        raise _damaged(name, root, f"images are {images.dtype} {tuple(read.data.shape)}, not uint8 (N, 28, 28)")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() > 9:
        raise _damaged(name, root, f"{len(images)} images, but labels {tuple(labels.shape)} in {set(labels.tolist())}")
    return images, labels.long()


def _check_contents(name, root, file):
    # A file of the official size must have the official contents. A smaller one may be somebody's own selection:
    # its form is checked when it is read.
    size, digest = _OFFICIAL[file.name]
    if file.stat().st_size == size and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise _damaged(name, root, f"{file.name} does not have the official SHA-256")


def _damaged(name, root, what):
    folder = root / _TORCHVISION[name] / "raw"
    return DataError(f"the files of {name!r} in {folder} are damaged ({what}). Delete them to download them again")


def _digits(split):
    """scikit-learn's 1,797 digits of 8 x 8, enlarged to 20 x 20 in a frame of 28 x 28 as MNIST's are."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) / bunch.images.max()
    large = F.pad(F.interpolate(small, size=20, mode="bicubic").clamp(0, 1), (4, 4, 4, 4))
    chosen = torch.arange(len(large)) % 5 == 4  # every fifth is a test image
    chosen = chosen if split == "test" else ~chosen
    return (large * 255).round().to(torch.uint8)[chosen], torch.from_numpy(bunch.target).long()[chosen]


def _warn_once(name, root, reason):
    if ("told", name) not in _unreachable:
        _unreachable.add(("told", name))
        warnings.warn(
            f"{name} is not in {root} and could not be downloaded ({reason}). scikit-learn's digits stand in: real, "
            "but 1,797 only, so numbers differ from the book's. Set VAE_TUTORIAL_DATA to a folder that has the files.",
            StandInWarning,
            stacklevel=3,
        )
