"""The files of checkpoints: written atomically, and read without executing anything in them."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
import zipfile

import torch

from vae_tutorial import _checks

FORMAT = "vae_tutorial checkpoint 2"
OLDER = "vae_tutorial checkpoint 1"  # cannot be resumed, as it has no settings to compare; its weights can be loaded
_TRIES = 6  # attempts to rename, over 3 seconds: on Windows a virus scanner may lock the file for a moment


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or is damaged, of another model or training, or no checkpoint of ours.

    ``history``: where a training ended with this error, what it had recorded, as a :class:`History`; else None.
    """

    history = None


class Writer:
    """Writes the checkpoints of one training to one file: atomically, and never over another training's."""

    def __init__(self, path, resumed):
        self.path = _checks.path("checkpoint", path)
        try:
            self.path = self.path.resolve()  # a symlink is kept, and its target is replaced
            if not self.path.parent.is_dir() or self.path.is_dir():
                raise ValueError(f"checkpoint must be the path of a file in a folder that exists; got {str(path)!r}")
            self.own = self._found()
            if self.own and not self.path.is_file():
                raise ValueError(f"checkpoint must be an ordinary file, not a device or a pipe; got {str(path)!r}")
            if self.own and (resumed is None or not self.path.samefile(_checks.path("resume", resumed))):
                raise CheckpointError(
                    f"{path} exists already. To continue it, pass resume={str(path)!r} as well. To start afresh, "
                    "delete it or give another name"
                )
            self._remove_remains()
            with self._beside() as beside:  # a read-only folder fails now, not after the first epoch
                beside.touch()
        except OSError as error:
            raise CheckpointError(f"cannot write checkpoints to {path} ({_first_line(error)})") from error

    def write(self, saved):
        """Replace the file by a new snapshot that was read back. On failure: CheckpointError; the old file stays."""
        if self._found() != self.own:
            raise CheckpointError(
                f"{self.path} was changed by another process while this training ran; give each training its own file"
            )
        try:
            # To a temporary file first: a full disk or a kill at any moment leaves the last checkpoint intact.
            with self._beside() as beside:
                with open(beside, "xb") as file:
                    torch.save(saved, file)
                    file.flush()
                    os.fsync(file.fileno())
                read(beside)
                _replace(beside, self.path)
            self.own = self._found()
        except (OSError, RuntimeError) as error:
            kept = f"the one of epoch {len(saved['rows']) - 1} is still there" if self.own else "there is none yet"
            raise CheckpointError(
                f"could not write the checkpoint {self.path} ({_first_line(error)}); {kept}"
            ) from error

    def _found(self):
        if not self.path.exists():
            return None
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextlib.contextmanager
    def _beside(self):
        # A unique name: two trainings in one folder never write to the same temporary file.
        beside = self.path.with_name(f"{self._prefix()}{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    def _prefix(self):
        return f".{self.path.name[:60]}."

    def _remove_remains(self):
        # A killed process leaves its temporary file. One that is ten minutes old is stale.
        for remains in self.path.parent.glob(f"{glob.escape(self._prefix())}*.part"):
            if time.time() - remains.stat().st_mtime > 600:
                remains.unlink(missing_ok=True)


def _replace(beside, path):
    for attempt in range(_TRIES):
        try:
            os.replace(beside, path)
            return
        except PermissionError:
            if attempt == _TRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)


def read(path, formats=(FORMAT,)):
    """Return a checkpoint's contents. Raises CheckpointError for a missing or damaged file or another format."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes a checksum of each part, but does not verify it
            if (part := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {part} is wrong")
        saved = torch.load(path, map_location="cpu", weights_only=True)  # tensors and plain values; never runs code
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except Exception as error:  # torch.load fails in many ways on bytes that are no checkpoint
        raise CheckpointError(
            f"{path} is damaged, or not a checkpoint of vae_tutorial ({_first_line(error)}). Nothing was loaded"
        ) from error
    found = saved.get("format") if isinstance(saved, dict) else None
    if found == OLDER and OLDER not in formats:
        raise CheckpointError(
            f"{path} is from an older version, which did not record its images and seed, so that no training can "
            "resume from it. training.load_checkpoint loads its weights"
        )
    if found not in formats:
        raise CheckpointError(f"{path} is not a checkpoint of vae_tutorial: its format is {found!r}, not {FORMAT!r}")
    return saved


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
