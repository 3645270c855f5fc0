"""Images in a file instead of in memory. Skip it when you read for the VAE.

``_cache`` writes and checks such a file. This module imports no other of the package, so that ``_checks`` can know it.
"""

from __future__ import annotations

import collections
import hashlib
import math
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

HEAD = 4096  # bytes before the first pixel
_AHEAD = 2  # batches that are read, or on their way to a GPU, while one is in use


class DataError(RuntimeError):
    """The images that were asked for are damaged or not available."""


class Mapped:
    """Images in a file, read as they are asked for: uint8 ``(N, C, H, W)``. Memory holds only the batches in use.

    What ``data.from_folder`` and ``data.from_arrays`` give with ``cache=``; ``training.fit`` takes it as a tensor. An
    index of the first axis gives a tensor on ``device``: ``images[:1000]``, ``images[torch.tensor([3, 5])]``. Raises
    DataError where the file has become shorter.
    """

    dtype = torch.uint8

    def __init__(self, file, rows, digest, device="cpu"):
        self._file, self._rows = file, rows
        self.digest, self.device = digest, torch.device(device)  # SHA-256 of the pixels, in hexadecimal
        self.shape = torch.Size((len(rows), *file.shape))

    ndim = property(lambda self: len(self.shape))
    is_cuda = property(lambda self: self.device.type == "cuda")
    brightest = property(lambda self: self._file.brightest)  # of all images in the file

    def __len__(self):
        return len(self._rows)

    def __repr__(self):
        return f"Mapped({self._file.path}, shape={tuple(self.shape)}, device={str(self.device)!r})"

    def __getitem__(self, rows) -> Tensor:
        if isinstance(rows, tuple):
            raise TypeError("images in a file are indexed by their first axis alone: images[rows][:, channel]")
        return self._read(self._rows[rows.cpu() if isinstance(rows, Tensor) else rows]).to(self.device)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return ``self[index]``, as a tensor's method of this name does; ``dim`` is 0."""
        if dim != 0:
            raise ValueError(f"dim must be 0, the axis of the images; got {dim}")
        return self[index]

    def numel(self) -> int:
        """Return the number of pixels."""
        return math.prod(self.shape)

    def to(self, device: str | torch.device) -> Mapped:
        """Return the same images, which arrive on another device."""
        return Mapped(self._file, self._rows, self.digest, device)

    def subset(self, rows) -> Mapped:
        """Return some of the images, still in the file. ``rows``: a slice or an index tensor."""
        chosen = self._rows[rows]
        digest = hashlib.sha256(self.digest.encode() + chosen.numpy().tobytes()).hexdigest()
        return Mapped(self._file, chosen, digest, self.device)

    def split(self, size: int):
        """Yield the images as tensors of at most ``size`` images, in order."""
        return self.batches(torch.arange(len(self)).split(size))

    def batches(self, order):
        """Yield the images of each index tensor; the next is read, and travels to a GPU, while one is in use."""
        order, coming = [rows.cpu() for rows in order], collections.deque()
        stream = torch.cuda.Stream(self.device) if self.is_cuda else None
        with ThreadPoolExecutor(1) as reader:
            for rows in order:
                coming.append(reader.submit(self._send, rows, stream))
                if len(coming) > _AHEAD:
                    yield _arrived(*coming.popleft().result())
            while coming:
                yield _arrived(*coming.popleft().result())

    def _send(self, rows, stream):
        pixels = self._read(self._rows[rows], pinned=self.is_cuda)
        if stream is None:
            return pixels.to(self.device), None
        with torch.cuda.stream(stream):
            return pixels.to(self.device, non_blocking=True), stream.record_event()

    def _read(self, rows, pinned=False):
        found = torch.empty(*rows.shape, *self.shape[1:], dtype=torch.uint8, pin_memory=pinned)
        pixels, size = memoryview(found.view(-1).numpy()), math.prod(self.shape[1:])
        for place, row in enumerate(rows.flatten().tolist()):
            self._file.read(pixels[place * size : (place + 1) * size], row * size)
        return found


def _arrived(pixels, event):
    if event is not None:
        stream = torch.cuda.current_stream(pixels.device)
        stream.wait_event(event)
        pixels.record_stream(stream)  # its memory is free for others only after this stream's work, too
    return pixels


def batches(images, order):
    """Yield ``images.index_select(0, rows)`` for each index tensor of ``order``, from memory or from a file."""
    if isinstance(images, Mapped):
        return images.batches(order)
    return (images.index_select(0, rows) for rows in order)


class File:
    """An open file of images. It is read by system calls: the pages of a memory map would count as resident memory."""

    def __init__(self, path, shape, brightest):
        self.path, self.shape, self.brightest = path, shape, brightest
        self._file, self._lock = open(path, "rb", buffering=0), threading.Lock()  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def read(self, into, start):
        if hasattr(os, "preadv"):
            count = os.preadv(self._file.fileno(), [into], HEAD + start)
        else:  # Windows
            with self._lock:
                self._file.seek(HEAD + start)
                count = self._file.readinto(into)
        if count != len(into):
            raise DataError(f"{self.path} has become shorter while it was in use. Delete it and make it anew")
