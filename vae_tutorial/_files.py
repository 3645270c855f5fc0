"""Writing a file so that nobody ever sees half of it."""

import os
from pathlib import Path


def write(path, content):
    """Write bytes to a file atomically: beside its place first, under a name of this process's own, then moved."""
    path = Path(path).resolve()  # a link stays a link, and its target is replaced
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
