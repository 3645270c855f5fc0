"""The files behind ``data.from_folder``: which there are, what became of each, and what was left out and why."""

import collections
import hashlib
import os
import stat
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from vae_tutorial import _bars, _checks, _pictures
from vae_tutorial._mapped import DataError
from vae_tutorial._pictures import LeftOut

_TOGETHER = 256  # files that are decoded before their images are stored
_NAMED = 3  # file names in a message


class Source:
    """The images of a folder: ``chunks()`` decodes them; ``labels``, ``files`` and ``summary()`` are known afterwards.

    Arguments as those of ``data.from_folder``. Raises ValueError where they are unusable, and DataError for a folder
    that is missing or holds no file.
    """

    warnings = ()

    dtype = np.uint8

    def __init__(self, path, size, channels, cache=None):
        self.shape, self.root = _shape(size, channels), Path(os.path.realpath(_checks.path("path", path)))
        self.name = self.root.name or str(self.root)
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "not there"
            raise DataError(f"path must be a folder of images; {path} is {found}")
        if cache is not None and self.root in _checks.path("cache", cache).resolve().parents:
            raise ValueError(f"cache={str(cache)!r} lies in the folder of images, {path}; give it a path outside")
        self._left_out, self._notes = collections.defaultdict(list), collections.Counter()
        self._found = sorted(self._listing())  # (name below the folder, bytes, time of change in ns)
        self.files, self.labels, self.classes = [], [], []
        self._expect(self._found)

    def __len__(self):
        return len(self._found)

    def recipe(self):
        """Return what must be the same for stored images to be these, as plain values."""
        digest = hashlib.sha256(repr(self._found).encode()).hexdigest()[:16]
        size = " x ".join(map(str, self.shape[1:]))
        files = f"{len(self):,} whose names, sizes and times have SHA-256 {digest}"
        return {"size": size, "channels": self.shape[0], "files": files}

    def chunks(self):
        """Yield images, uint8 ``(n, C, H, W)``, and the SHA-256 of each one's file. Raises DataError if there is none.

        As many threads decode as torch uses.
        """
        names = [name for name, *_ in self._found]
        bar = _bars.bar(None, "image", desc=self.name, total=len(names))
        with bar, ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for start in range(0, len(names), _TOGETHER):
                part = names[start : start + _TOGETHER]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow's, of large pictures and odd metadata
                    decoded = list(pool.map(self._decoded, part))
                bar.update(len(part))
                images = [found for name, found in zip(part, decoded, strict=True) if self._noted(name, found)]
                if images:
                    yield np.stack([pixels for pixels, *_ in images]), [digest for _, digest, _ in images]
        self._expect(self.files)
        self._warn_if_dark()
        folders = [name.partition("/")[0] if "/" in name else "." for name in self.files]
        number = {folder: n for n, folder in enumerate(sorted({*folders}))}
        self.classes, self.labels = [] if [*number] == ["."] else [*number], [number[folder] for folder in folders]

    def summary(self):
        """Return how many images there are, what was done to them, and what was left out and why."""
        done = ", ".join(f"{self._notes[note]:,} {note}" for note in _pictures.NOTES if self._notes[note])
        size = " x ".join(map(str, self.shape))
        what = "image" if len(self.files) == 1 else "images"
        return f"{len(self.files):,} {what} of {size} ({done or 'none had to be changed'}){self._losses()}"

    def _warn_if_dark(self):
        """Warn where no picture of 16 bits uses more than an eighth of them."""
        count = self._notes[_pictures.DEEP]
        if count and self._notes[_pictures.DARK] == count:
            warnings.warn(
                f"{self.root}: no value of its pictures of 16 bits ({count:,}) reaches 8,192 of 65,535, as where 12 "
                "bits are kept in 16; they come out nearly black. Multiply the values by 16 for 12 bits, by 64 for 10",
                UserWarning,
                stacklevel=2,
            )

    def _expect(self, files):
        if not files:
            raise DataError(f"{self.root} holds no image that can be read{self._losses() or '; it has no files'}")

    def _losses(self):
        total = sum(map(len, self._left_out.values()))
        each = (f"{len(names):,} {why} ({named(names)})" for why, names in sorted(self._left_out.items()))
        return f"; {total:,} left out: {', '.join(each)}" if total else ""

    def _listing(self):
        """Yield the ordinary files, which may be links to others in the folder; hidden ones do not count."""

        def unreadable(error):
            self._left_out["unreadable"].append(Path(error.filename).relative_to(self.root).as_posix())

        for folder, folders, names in os.walk(self.root, onerror=unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # os.walk passes them by
            for path in (Path(folder, name) for name in (*links, *names) if not name.startswith(".")):
                below = path.relative_to(self.root).as_posix()
                try:
                    if path.is_symlink() and not path.resolve(strict=True).is_relative_to(self.root):
                        self._left_out["linked from outside the folder"].append(below)
                    elif not stat.S_ISREG((status := path.stat()).st_mode):  # reading a pipe would wait for ever
                        self._left_out["no ordinary file"].append(below)
                    else:
                        yield below, status.st_size, status.st_mtime_ns
                except (OSError, RuntimeError):  # RuntimeError: a circle of links, up to Python 3.12
                    self._left_out["unreadable"].append(below)

    def _decoded(self, name):
        """Return pixels, the SHA-256 of the file, and notes; or why there are none."""
        try:
            with open(self.root / name, "rb") as file:
                pixels, notes = _pictures.read(file, self.shape)
                file.seek(0)
                digest = hashlib.sha256()
                while block := file.read(2**20):
                    digest.update(block)
                return pixels, digest.digest(), notes
        except LeftOut as why:
            return why
        except PermissionError:
            return LeftOut("unreadable")
        except Exception:  # Pillow fails in many ways on bytes that are no picture
            return LeftOut("broken" if _pictures.is_named_as_one(name) else "no image")

    def _noted(self, name, found):
        """Keep what became of a file; return whether it is an image."""
        if isinstance(found, LeftOut):
            self._left_out[str(found)].append(name)
            return False
        self.files.append(name)
        self._notes.update(found[2])
        return True


def _shape(size, channels):
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size must be a number, or height and width; got {size!r}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 3 for colours, or 1 for grey; got {channels!r}")
    return (int(channels), *_checks.sizes("size", pair))


def named(names):
    """The first few of some names, as text that any terminal can show."""
    first = ", ".join(name if name.isprintable() else ascii(name) for name in names[:_NAMED])
    return first + (", ..." if len(names) > _NAMED else "")
