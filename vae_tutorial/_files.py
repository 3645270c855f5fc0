"""Atomic writing of files."""

import os
from pathlib import Path


def write(path, content):
    """Write bytes to a file atomically: to a temporary file in the same folder, which is then renamed."""
    path = Path(path).resolve()  # a symlink is kept, and its target is replaced
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
