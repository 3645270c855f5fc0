"""Training and test images from a source, ``_folder`` or ``_arrays``: split by what they hold, in memory or a file."""

import contextlib
import hashlib
import sys

import numpy as np
import torch

from vae_tutorial import _cache, _checks


def make(source, split, seed, cache):
    """Return the arguments of two ``data.Images``, to train on and to test on, and print a summary.

    With a ``split`` of 0 the second is None. Raises ValueError where one of the two would have no image, and for
    arguments that are unusable, DataError as the source and the cache do.
    """
    split, seed = _checks.amount("split", split), _checks.whole("seed", seed, -(2**63))
    if split >= 1:
        raise ValueError(f"split is the share of test images, from 0 to below 1, such as 0.1; got {split}")
    if cache is None:
        where, found = "", _decoded(source, _Memory(len(source), source.shape, source.dtype), split, seed)
    else:
        cache, recipe = _recipe(source, split, seed, cache)
        if cache.exists():
            where, found = f", found in {cache}", _cache.read(cache, recipe)
        else:
            where = f", kept in {cache}"
            found = _decoded(source, _cache.Writer(cache, source.shape, recipe), split, seed)
    train, test, about = found
    count = 0 if test is None else len(test)
    _say(f"{source.name}: {about['summary']}; {len(train):,} to train on, {count:,} to test on{where}")
    in_test = torch.zeros(len(about["labels"]), dtype=torch.bool)
    in_test[about["test"]] = True
    first = {"images": train, "split": "train", **_described(source, about, ~in_test)}
    return first, None if test is None else {"images": test, "split": "test", **_described(source, about, in_test)}


def _described(source, about, chosen):
    labels, files = torch.tensor(about["labels"], dtype=torch.int64)[chosen], np.array(about["files"], dtype=object)
    files = tuple(files[chosen.numpy()]) if len(files) else ()
    return {"labels": labels, "name": source.name, "files": files, "classes": tuple(about["classes"])}


def _recipe(source, split, seed, cache):
    """Return the path of the cache, and what must be the same for what it holds to be used."""
    if source.dtype != np.uint8:
        mend = "; for images in [0, 1] pass (x * 255).round().astype(np.uint8)" if len(source.shape) == 3 else ""
        raise ValueError(f"cache= keeps images of bytes, and x holds {np.dtype(source.dtype)}: leave it out{mend}")
    return _checks.path("cache", cache).absolute(), source.recipe() | {"split": split, "seed": seed}


def _decoded(source, keeper, split, seed):
    """Pass all images of the source to the keeper; return what it makes of them."""
    counts = np.zeros(2, dtype=int)  # of training and of test images
    with keeper, contextlib.closing(source.chunks()) as chunks:
        for rows, digests in chunks:
            in_test = np.array([_is_test(digest, split, seed) for digest in digests])
            keeper.append(rows, in_test)
            counts += (~in_test).sum(), in_test.sum()
        _expect_both(counts, split, source)
        about = {"labels": source.labels, "files": source.files, "classes": source.classes}
        return keeper.finish({**about, "summary": source.summary()})


def _is_test(digest, split, seed):
    """A share of ``split`` of all digests: the same ones for ever, whatever else is there."""
    number = int.from_bytes(hashlib.sha256(b"%d %s" % (seed, digest)).digest()[:8], "big")
    return number < split * 2**64


def _expect_both(counts, split, source):
    train, test = counts
    if train and (test or not split):
        return
    if sum(counts) == 1:
        raise ValueError(
            f"{source.name}: {source.summary()}; a single one cannot be split. Give more, or split=0 to train on it"
        )
    missing, mend = ("train", "a smaller split") if test else ("test", "a larger split, split=0 for no test images")
    raise ValueError(
        f"{source.name}: {source.summary()}; none of them is left to {missing} on with split={split}. Each one's "
        f"contents decide, so that the same image twice stays on one side. Give more images, {mend}, or another seed"
    )


class _Memory:
    """Keeps rows in memory, as ``_cache.Writer`` keeps them in a file."""

    def __init__(self, most, shape, dtype):
        self._train, self._count, self._test, self._flags = np.empty((most, *shape), dtype), 0, [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def append(self, rows, in_test):
        """Keep rows ``(n, ...)``; ``in_test``: which of them are test rows."""
        end = self._count + int((~in_test).sum())
        self._train[self._count : end], self._count = rows[~in_test], end
        self._test.append(rows[in_test])
        self._flags.append(in_test)

    def finish(self, about):
        """Return training rows, test rows (None where there are none) and ``about``."""
        train, test = torch.from_numpy(self._train[: self._count]), torch.from_numpy(np.concatenate(self._test))
        about = {**about, "test": np.flatnonzero(np.concatenate(self._flags)).tolist()}
        return train, test if len(test) else None, about


def _say(line):
    coding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(line.encode(coding, "backslashreplace").decode(coding), flush=True)
