"""The files behind ``data.load``: where they are, what they must contain, and how they are downloaded.

Skip it when you read for the VAE. It needs no torch, so that the doctor can check the files where torch is broken.
"""

import gzip
import hashlib
import http.client
import os
import queue
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

FOLDERS = {"mnist": "MNIST", "fashion": "FashionMNIST"}  # torchvision's names of the data sets and of their folders
# MNIST's official contents, unpacked: size in bytes and SHA-256.
OFFICIAL = {
    "train-images-idx3-ubyte": (47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
FASHION = {  # SHA-256 of Fashion-MNIST's, which have the same names and sizes
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_SILENCE = 5.0  # timeout in seconds: a mirror that sends nothing for this long is skipped
_START, _RATE = 20.0, 20_000  # time limit of a file: _START seconds, and one more for each _RATE bytes received
_LARGEST = 50_000_000  # bytes: the compressed files are all smaller
_failed = set()  # (name, root) whose download failed in this process: not retried in every cell


class Unavailable(Exception):
    """The files are not there, and could not be downloaded."""


def find_root(root=None):
    """Return the folder of all data sets: ``root``, else ``$VAE_TUTORIAL_DATA``, else the user's cache folder.

    Raises Unavailable where ``~`` cannot be expanded: HOME is not set and the system does not know the user, or
    ``~somebody`` does not exist. Raises ValueError for what is no path.
    """
    from platformdirs import user_cache_dir

    root = root or os.environ.get("VAE_TUTORIAL_DATA")
    try:
        return Path(root or user_cache_dir("vae_tutorial", appauthor=False)).expanduser()
    except RuntimeError:  # from either of the two
        what = f"folder for data, {os.fspath(root)}," if root else "user's cache folder"
        raise Unavailable(f"the {what} lies in an unknown home folder") from None
    except TypeError:
        raise ValueError(f"root must be the path of a folder; got {root!r}") from None


def raw_files(name, root):
    """Return the paths of a data set's four files."""
    return [root / FOLDERS[name] / "raw" / file for file in OFFICIAL]


def ensure(name, root, mirrors, resources):
    """Download the files of a data set unless they are there. Raises Unavailable where that fails.

    ``resources``: pairs of a packed file's name and its MD5, as torchvision lists them. Files are written to a
    temporary folder and moved into place together, so that a broken download leaves nothing behind.
    """
    files = raw_files(name, root)
    try:
        if all(file.is_file() for file in files):
            return
        if (name, root) in _failed:
            raise ConnectionError("it was tried before in this process")
        mirrors = list(mirrors)
        first, *others = sorted(resources, key=lambda resource: OFFICIAL[Path(resource[0]).stem])
        content = _fetch(mirrors, *first)  # the smallest: shows whether a mirror answers, before anything is written
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            Path(folder, Path(first[0]).stem).write_bytes(content)
            for resource, md5 in others:
                Path(folder, Path(resource).stem).write_bytes(_fetch(mirrors, resource, md5))
            files[0].parent.mkdir(parents=True, exist_ok=True)
            for file in files:
                Path(folder, file.name).replace(file)
    except (OSError, ValueError) as error:  # no network, a read-only folder, a full disk, an invalid path
        _failed.add((name, root))
        reason = f"{type(error).__name__}: {error}"
        raise Unavailable(f"{name} is not in {root} and could not be downloaded ({reason})") from error


def _fetch(mirrors, resource, md5):
    """The decompressed content of a file from the first mirror that has it; mirrors that fail are dropped."""
    failures = []
    while mirrors:
        try:
            packed = _receive(mirrors[0] + resource)
            if hashlib.md5(packed, usedforsecurity=False).hexdigest() == md5:
                return gzip.decompress(packed)
            reason = f"{resource} has a wrong checksum"
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
        failures.append(f"{mirrors.pop(0)}: {reason}")
    raise ConnectionError("; ".join(failures))


def _receive(url):
    """Download a URL, within a time limit, and return its bytes."""
    from tqdm.auto import tqdm

    parts, given_up = queue.SimpleQueue(), threading.Event()

    def receive():
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "pytorch/vision"})
            with urllib.request.urlopen(request, timeout=_SILENCE) as answer:
                while (part := answer.read1(2**16)) and not given_up.is_set():
                    parts.put(part)
            parts.put(None)
        except Exception as error:
            parts.put(error)

    # A thread, because urlopen's timeout covers neither the DNS lookup nor headers that arrive slowly.
    threading.Thread(target=receive, daemon=True).start()
    start, content = time.monotonic(), bytearray()
    with tqdm(desc=url.rpartition("/")[2], unit="B", unit_scale=True, leave=False, disable=None) as bar:
        try:
            while (part := parts.get(timeout=_SILENCE)) is not None:
                if isinstance(part, Exception):
                    raise part
                content += part
                bar.update(len(part))
                seconds = time.monotonic() - start
                if seconds > _START + len(content) / _RATE or len(content) > _LARGEST:
                    raise TimeoutError(f"given up after {len(content):,} bytes in {seconds:.0f} s")
        except queue.Empty:
            raise TimeoutError(f"no data received within {_SILENCE:g} s") from None
        finally:
            given_up.set()
    return bytes(content)
