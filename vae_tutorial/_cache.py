"""Files of images that need not fit into memory: written image by image, found again, and checked.

Such a file is a safetensors file, which other programs can open too: ``images``, uint8 ``(N, C, H, W)``, and ``about``,
a JSON text as bytes: labels, names, and which rows are test images. The metadata of its head hold the recipe by which
it was made, and SHA-256 checksums: of training images, of test images, and of all the rest.
"""

import contextlib
import glob
import hashlib
import json
import math
import os
import secrets
import time

import numpy as np
import torch

from vae_tutorial._mapped import HEAD, DataError, File, Mapped

FORMAT = "vae_tutorial images 1"
_BLOCK = 2**22  # bytes read at once to compute checksums
_MEND = "Delete it, or give cache= another path"


class Writer:
    """Writes such a file image by image, under a temporary name until it is whole. Raises DataError where it cannot."""

    def __init__(self, path, shape, recipe):
        self.path, self.shape, self.recipe = path, tuple(shape), recipe
        self._sums, self._test, self._count, self._brightest = (hashlib.sha256(), hashlib.sha256()), [], 0, 0

    def __enter__(self):
        # A unique name: two processes that write the same file do not disturb each other.
        self._part = self.path.with_name(f".{self.path.name[:60]}.{os.getpid()}-{secrets.token_hex(4)}.part")
        with self._explained():
            self._remove_remains()
            self._file = open(self._part, "xb")  # __exit__ closes it
            self._file.seek(HEAD)
        return self

    def append(self, pixels, in_test):
        """Write images, uint8 ``(n, C, H, W)``; ``in_test``: which of them are test images."""
        pixels = np.ascontiguousarray(pixels)
        with self._explained():
            self._file.write(pixels.data)
        for image, test in zip(pixels, in_test, strict=True):
            self._sums[int(test)].update(image.data)
        self._test += [self._count + int(place) for place in np.flatnonzero(in_test)]
        self._count += len(pixels)
        self._brightest = max(self._brightest, int(pixels.max(initial=0)))

    def finish(self, about):
        """Write what else is known of the images, and the head; give the file its name, and return :func:`read`."""
        shape, about = (self._count, *self.shape), json.dumps({**about, "test": self._test}).encode()
        known = {"format": FORMAT, "recipe": json.dumps(self.recipe), "brightest": str(self._brightest)}
        known |= {name: digest.hexdigest() for name, digest in zip(("train", "test"), self._sums, strict=True)}
        known["about"] = _seal(known, about)
        with self._explained():
            self._file.write(about)
            self._file.seek(0)
            self._file.write(_head(known, shape, len(about)))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.path)
        return read(self.path, self.recipe, check=False)

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # closing writes what is left, for which a full disk has no room
            self._file.close()
        self._part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self):
        try:
            yield
        except OSError as error:
            raise DataError(
                f"could not write the cache {self.path} ({error.strerror or error}); nothing is left of it. "
                "Give cache= a path in a folder that exists, on a disk with room"
            ) from error

    def _remove_remains(self):
        # A killed process leaves its temporary file. One that has not grown for ten minutes is stale.
        for remains in self.path.parent.glob(f".{glob.escape(self.path.name[:60])}.*.part"):
            if time.time() - remains.stat().st_mtime > 600:
                remains.unlink(missing_ok=True)


def read(path, recipe, check=True):
    """Return training images, test images (None where there are none) and ``about``, from a file that fits the recipe.

    Raises DataError for a file of another kind or another recipe, and, with ``check``, where a checksum is wrong.
    """
    try:
        with open(path, "rb") as file:
            known, shape, about = _described(file)
            _compare(path, json.loads(known["recipe"]), json.loads(json.dumps(recipe)))
            in_test = np.zeros(shape[0], dtype=bool)
            in_test[about["test"]] = True
            if check and _sums(file, in_test, math.prod(shape[1:])) != [known["train"], known["test"]]:
                raise ValueError("the checksum of its pixels is wrong")
        opened = File(path, tuple(shape[1:]), int(known["brightest"]))
    except OSError as error:
        raise DataError(f"the cache {path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the cache {path} is damaged ({error}). {_MEND}") from error
    train, test = (torch.from_numpy(np.flatnonzero(in_test == part)) for part in (False, True))
    return Mapped(opened, train, known["train"]), Mapped(opened, test, known["test"]) if len(test) else None, about


def _head(known, shape, length):
    """The first bytes of a file: the length of the JSON text in 8 bytes, and the text, padded with spaces."""
    end = math.prod(shape)
    text = {
        "__metadata__": known,
        "images": {"dtype": "U8", "shape": list(shape), "data_offsets": [0, end]},
        "about": {"dtype": "U8", "shape": [length], "data_offsets": [end, end + length]},
    }
    return (HEAD - 8).to_bytes(8, "little") + json.dumps(text).encode().ljust(HEAD - 8)


def _seal(known, about):
    """The SHA-256 of all but the pixels: of ``about`` and of the metadata, which hold the pixels' own checksums."""
    others = {name: value for name, value in known.items() if name != "about"}
    return hashlib.sha256(about + json.dumps(others, sort_keys=True).encode()).hexdigest()


def _described(file):
    """Return the metadata, the shape and ``about``. Raises ValueError, KeyError or TypeError where they are damaged."""
    start = file.read(HEAD)
    if FORMAT[:-1].encode() not in start:
        raise DataError(
            f"{file.name} is there already, and no cache of vae_tutorial; it stays as it is. Give cache= another path"
        )
    text = json.loads(start[8:])
    known, shape, (length,) = text["__metadata__"], text["images"]["shape"], text["about"]["shape"]
    if known["format"] != FORMAT:
        raise DataError(f"the cache {file.name} has another format, {known['format']!r}. {_MEND}")
    size, expected = os.fstat(file.fileno()).st_size, HEAD + math.prod(shape) + length
    if size != expected:
        raise ValueError(f"it has {size:,} bytes instead of {expected:,}")
    file.seek(expected - length)
    about = file.read()
    if _head(known, shape, length) != start or _seal(known, about) != known["about"]:
        raise ValueError("the checksum of its head is wrong")
    return known, shape, json.loads(about)


def _compare(path, found, wanted):
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        what = "; ".join(f"{name}: {found.get(name)} there, {wanted.get(name)} here" for name in differing)
        raise DataError(f"the cache {path} was made otherwise ({what}). {_MEND}")


def _sums(file, in_test, size):
    """The SHA-256 of the training and of the test images, read once from the first pixel on."""
    sums = hashlib.sha256(), hashlib.sha256()
    file.seek(HEAD)
    for part in np.array_split(in_test, max(1, len(in_test) * size // _BLOCK)):
        pixels = memoryview(file.read(len(part) * size))
        for place, test in enumerate(part.tolist()):
            sums[test].update(pixels[place * size : (place + 1) * size])
    return [digest.hexdigest() for digest in sums]
