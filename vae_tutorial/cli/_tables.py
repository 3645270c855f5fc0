"""Tables of numbers: read from CSV and NumPy files with the names of their columns, and written as such."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vae_tutorial import _files

_FEW = 5  # names in an error


def read(path: Path) -> pd.DataFrame:
    """Return a table of numbers, float64 ``(N, D)``, with the names of its D columns.

    ``path``: a ``.csv`` file, whose first row has the names, or a ``.npy`` file of ``(N, D)``, whose columns are called
    by their numbers, from 0. Raises ValueError for another kind of file, and names the columns that are not numbers
    or have gaps.
    """
    readers = {".csv": _from_csv, ".npy": _from_numpy}
    if path.suffix.lower() not in readers:
        raise ValueError(f"--table must be a .csv or .npy file; got {str(path)!r}")
    if not path.is_file():
        raise ValueError(f"there is no table {path}")
    frame = readers[path.suffix.lower()](path)
    if frame.empty:
        raise ValueError(f"{path} holds no table: its shape is {frame.shape}")
    _refuse(path, {n: c for n, c in frame.items() if c.dtype.kind not in "iuf"}, _foreign, *_NO_NUMBERS)
    values = frame.to_numpy(np.float64)
    gaps = {n: frame[n] for n, bad in zip(frame.columns, ~np.isfinite(values).all(0), strict=True) if bad}
    _refuse(path, gaps, lambda c: f"{(~np.isfinite(c)).sum()} of {len(c)}", *_GAPS)
    return pd.DataFrame(values, columns=[str(name) for name in frame.columns])


_NO_NUMBERS = "are not numbers", "Leave them out, or write one column of 0 and 1 for each of their values"
_GAPS = "have gaps, NaN or infinity", "Fill them in, or leave out those rows or columns"


def _from_csv(path):
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            _check_names(path, names := next(lines, []))
            first = next((row for row in lines if len(row) > 1 or "".join(row).strip()), [])  # pandas skips blank lines
            if len(first) > len(names):
                raise ValueError(f"the rows of {path} are longer than its first, which must name all columns")
        frame = pd.read_csv(path, encoding="utf-8-sig", low_memory=False, index_col=False)
    except (pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as CSV in UTF-8 ({str(error).strip()})") from None
    return frame


def _check_names(path, names):
    first = f"the first row of {path} must name its columns; "
    if not names:
        raise ValueError(f"{first}it is empty")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise ValueError(f"{path} separates its columns by other marks than commas ({names[0][:60]!r})")
    if all(map(_is_number, names)):
        raise ValueError(f"{first}it holds numbers ({', '.join(names)[:60]})")
    if not all(name.strip() for name in names):
        where = [name.strip() for name in names].index("")
        raise ValueError(f"{first}column {where + 1} has none. Numbers of rows are no data: to_csv(index=False)")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{first}{twice!r} is there twice")


def _from_numpy(path):
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged, or no array of numbers ({str(error).splitlines()[0]})") from None
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        raise ValueError(f"{path} must hold an array of (N, D); got {getattr(values, 'shape', 'several')}")
    return pd.DataFrame(values, columns=list(map(str, range(values.shape[1]))))


def _refuse(path, columns, said, what, mend):
    if columns:
        named = ", ".join(f"{name!r} ({said(column)})" for name, column in list(columns.items())[:_FEW])
        more = f" and {len(columns) - _FEW} more" if len(columns) > _FEW else ""
        raise ValueError(f"columns of {path} {what}: {named}{more}. {mend}")


def _foreign(column):
    odd = [value for value in column if not _is_number(value) or isinstance(value, bool | np.bool_)]
    return f"such as {str(odd[0])[:30]!r}" if odd else str(column.dtype)


def _is_number(text):
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def write(path: Path, columns: dict) -> None:
    """Write columns, a mapping from names to values, as CSV in UTF-8, atomically."""
    text = pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    _files.write(path, text.encode(errors="backslashreplace"))  # names of files may be no text


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write tensors, arrays and lists of text as one ``.npz`` file, which numpy.load reads without pickle."""
    packed, plain = io.BytesIO(), {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(packed, **plain)  # ty: ignore[invalid-argument-type]
    _files.write(path, packed.getvalue())
