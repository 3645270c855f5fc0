"""The arrays behind ``data.from_arrays``: what may be in them, and what is done to them. Nothing is done in silence."""

import hashlib

import numpy as np
import torch

from vae_tutorial import _checks

_TOGETHER = 1000  # rows that are converted at once
_ROUNDING = 1e-3  # of a column's spread: float32 must be finer than that
_NAMED = 5  # columns in a message
_ONE_HOT = "make one column of 0 and 1 for each of their values (pandas.get_dummies(frame)), or leave them out"


class ColumnWarning(UserWarning):
    """A column of a table says nothing, or would lose digits."""


class Source:
    """The rows of an array, images or vectors: ``chunks()`` gives them, with the SHA-256 of each.

    ``x``, ``labels``: as ``data.from_arrays`` takes them. ``warnings``: what is odd about a table's columns.
    Raises TypeError and ValueError as ``data.from_arrays`` does.
    """

    name, files = "arrays", ()

    def __init__(self, x, labels):
        x, columns = _array(x)
        self.warnings, self._steps, self._axes = [], [], None
        if not len(x):
            raise ValueError(f"x holds nothing: its shape is {x.shape}")
        self._x = self._vectors(x, columns) if x.ndim == 2 else self._images(x)
        self.dtype = np.uint8 if x.dtype == np.uint8 else np.float32
        self.shape = next(self.chunks(together=1))[0].shape[1:]
        self.labels, self.classes = _labels(labels, len(x))

    def __len__(self):
        return len(self._x)

    def recipe(self):
        """Return what must be the same for stored images to be these, as plain values. Reads all values once."""
        digest = hashlib.sha256(repr((self.labels, self.classes)).encode())
        for rows, _ in self.chunks():
            digest.update(rows.data)
        shape = " x ".join(map(str, (len(self), *self.shape)))
        return {"x": f"{shape} whose values and labels have SHA-256 {digest.hexdigest()[:16]}"}

    def chunks(self, together=_TOGETHER):
        """Yield rows, uint8 or float32 ``(n, C, H, W)`` or ``(n, D)``, and the SHA-256 of each."""
        for start in range(0, len(self), together):
            rows = np.asarray(self._x[start : start + together])
            rows = rows[:, None] if rows.ndim == 3 else rows if self._axes is None else rows.transpose(self._axes)
            rows = np.ascontiguousarray(rows, dtype=self.dtype)
            yield rows, [hashlib.sha256(row.data).digest() for row in rows]

    def summary(self):
        """Return how many rows there are, and what was done to them."""
        size, kind = " x ".join(map(str, self.shape)), "row" if len(self.shape) == 1 else "image"
        done = "".join(f", {step}" for step in self._steps)
        return f"{len(self):,} {kind}{'s' * (len(self) > 1)} of {size} ({np.dtype(self.dtype).name}{done})"

    def _images(self, x):
        if x.ndim not in (3, 4) or 0 in x.shape:
            raise ValueError(f"x must be (N, H, W), (N, C, H, W), (N, H, W, 3) or (N, D); got {x.shape}")
        n, height, width = x.shape[:3]
        last = (width in (1, 3, 4) and n == height > width) or (width in (3, 4) and height > 8)
        if x.ndim == 3 and (last or n == 3):
            mend = "; three grey ones: x[:, None]" if n == 3 else ""
            raise ValueError(f"x has shape {x.shape}, as a single picture; several are (N, H, W) or (N, H, W, 3){mend}")
        if x.ndim == 3:
            self._steps.append("an axis for the single channel was put in")
        elif x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
            self._axes = (0, 3, 1, 2)
            self._steps.append("the channels were last and came first")
        elif x.shape[1] not in (1, 3):
            mend = "; leave out the transparency: x[..., :3]" if x.shape[3] == 4 else ""
            raise ValueError(f"x must have 1 or 3 channels, as (N, C, H, W) or (N, H, W, 3); got {x.shape}{mend}")
        low, high = (0, 0) if x.dtype.kind == "f" else (x.min(), x.max())
        if x.dtype.kind in "iu" and low >= 0 and high == 1:
            raise ValueError(
                f"x holds {x.dtype} of 0 and 1 alone, nearly black as levels of 255; if 1 is white, pass floating "
                "values: x.astype(np.float32), of torch x.float()"
            )
        if x.dtype.kind in "iu" and x.dtype != np.uint8:
            mend = "x.astype(np.uint8)" if low >= 0 and high <= 255 else "bring them to [0, 1], as floating values"
            raise ValueError(f"x holds {x.dtype} from {low} to {high}; pixels are uint8, or floating in [0, 1]: {mend}")
        if x.dtype.kind == "f":
            if np.isnan(x.min()):
                bad = np.flatnonzero(np.isnan(x).reshape(len(x), -1).any(1))
                raise ValueError(f"x has NaN in {len(bad):,} of {len(x):,} images, the first of them x[{bad[0]}]")
            _checks.unit_interval(torch.tensor([x.min(), x.max()], dtype=torch.float64), "x")
        if x.dtype not in (np.uint8, np.float32):
            self._steps.append(f"from {x.dtype}")
        return x

    def _vectors(self, x, columns):
        names = [repr(name) for name in (range(x.shape[1]) if columns is None else columns)]
        if x.dtype.kind in "iu":
            mend = "x.reshape(-1, 1, H, W)" + ("" if x.dtype == np.uint8 else ".astype(np.uint8)")
            raise ValueError(
                f"x holds {x.dtype} in rows; for quantities pass x.astype(np.float32); for flat images of bytes {mend}"
            )
        if x.shape[1] == 0:
            raise ValueError(f"x has no columns: its shape is {x.shape}")
        wrong = ~np.isfinite(x)
        if wrong.any():
            raise ValueError(
                f"x has NaN or infinity in {wrong.any(1).sum():,} of {len(x):,} rows, in "
                f"{wrong.any(0).sum()} of {len(names)} columns: {_some(names, wrong.any(0), wrong.sum(0))}. Fill the "
                "gaps, or leave out the rows, x[np.isfinite(x).all(1)], or the columns"
            )
        with np.errstate(over="ignore"):
            found = x.astype(np.float32)
        if not np.isfinite(found).all():
            large = _some(names, ~np.isfinite(found).all(0))
            raise ValueError(f"x has values beyond float32 in columns {large}; divide them, or take logarithms")
        if x.dtype != np.float32:
            self._steps.append(f"from {x.dtype}")
        constant, spread = x.min(0) == x.max(0), x.astype(np.float64).std(0)
        if constant.any() and len(x) > 1:
            self.warnings.append(f"x has columns that are constant: {_some(names, constant)}; leave them out")
        if x.dtype == np.float64:
            coarse = ~constant & (np.abs(x - found).max(0) > _ROUNDING * spread)
            if coarse.any():
                self.warnings.append(
                    f"float32 has too few digits for columns {_some(names, coarse)}, whose values are large and "
                    "close together; subtract their means: x - x.mean(0)"
                )
        return found


def _array(x):
    """Return a NumPy array, and the names of a DataFrame's columns or None."""
    if hasattr(x, "columns") and hasattr(x, "dtypes"):
        odd = {name: kind for name, kind in x.dtypes.items() if getattr(kind, "kind", "O") not in "iufb"}
        if odd:
            named = ", ".join(f"{name!r} ({kind})" for name, kind in [*odd.items()][:_NAMED])
            named += f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
            raise TypeError(f"not all columns of x are numbers: {named}; {_ONE_HOT}")
        return x.to_numpy(dtype=np.float64, na_value=np.nan), list(x.columns)
    if isinstance(x, np.ndarray) and x.dtype.kind not in "iufb":
        mend = f". Text and categories are no numbers: {_ONE_HOT}" if x.dtype.kind in "OSUV" else ""
        raise TypeError(f"x is an array of {x.dtype}; expected numbers{mend}")
    if not isinstance(x, np.ndarray) or np.ma.isMaskedArray(x):
        x = _checks.tensor(x, "x").detach().cpu()
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()
    return x, None


def _some(names, which, counts=None):
    """The first few names of those for which ``which`` holds, with their counts if there are any."""
    places = np.flatnonzero(which)
    first = [names[place] + (f" ({counts[place]:,})" if counts is not None else "") for place in places[:_NAMED]]
    return ", ".join(first) + (f" and {len(places) - _NAMED} more" if len(places) > _NAMED else "")


def _labels(labels, count):
    """Return labels as whole numbers, and the names of classes, to which they point where they are text."""
    if labels is None:
        return [0] * count, []
    found = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if np.ma.is_masked(labels):
        raise ValueError(f"labels has {np.ma.count_masked(labels):,} masked values; fill them in: labels.filled(value)")
    if found.shape != (count,):
        raise ValueError(f"labels must be ({count},), one for each row of x; got {found.shape}")
    if found.dtype.kind == "f" and (np.isfinite(found) & (found == np.round(found))).all():
        found = found.astype(np.int64)
    if found.dtype.kind in "iub":
        return found.astype(np.int64).tolist(), []
    if not all(isinstance(label, str) for label in found.tolist()):
        odd = next(label for label in found.tolist() if not isinstance(label, str))
        raise ValueError(f"labels must be whole numbers or text; got {odd!r}")
    classes, numbers = np.unique(found.astype(str), return_inverse=True)
    return numbers.tolist(), classes.tolist()
