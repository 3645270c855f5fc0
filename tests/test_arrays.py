"""Arrays and tables: what is taken, what is done to it, and what is refused and named."""

import numpy as np
import pandas as pd
import pytest
import torch

from vae_tutorial import data


def bytes_(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def floats(*shape):
    return np.random.default_rng(0).random(shape)


def whole(x, labels=None):
    """All rows, as one ``Images``."""
    return data.from_arrays(x, labels, split=0)[0]


@pytest.mark.parametrize(
    ("x", "expected", "said"),
    [
        (
            bytes_(30, 9, 7),
            lambda x: x[:, None],
            "30 images of 1 x 9 x 7 (uint8, an axis for the single channel was put in)",
        ),
        (bytes_(30, 3, 9, 7), lambda x: x, "30 images of 3 x 9 x 7 (uint8)"),
        (bytes_(30, 1, 9, 7), lambda x: x, "30 images of 1 x 9 x 7 (uint8)"),
        (bytes_(30, 9, 7, 3), lambda x: x.transpose(0, 3, 1, 2), "(uint8, the channels were last and came first)"),
        (bytes_(30, 9, 7, 1), lambda x: x.transpose(0, 3, 1, 2), "(uint8, the channels were last and came first)"),
        (floats(30, 3, 9, 7), lambda x: x.astype(np.float32), "(float32, from float64)"),
        (floats(30, 3, 9, 7).astype(np.float32), lambda x: x, "30 images of 3 x 9 x 7 (float32)"),
        (bytes_(30, 1, 9, 7) > 99, lambda x: x.astype(np.float32), "(float32, from bool)"),
        (floats(30, 4) * 1e6 - 5e5, lambda x: x.astype(np.float32), "arrays: 30 rows of 4 (float32, from float64)"),
        (bytes_(30, 9, 7)[:, ::-1], lambda x: x[:, None], "30 images of 1 x 9 x 7"),
    ],
)
@pytest.mark.parametrize(
    "kind", [np.asarray, lambda x: torch.from_numpy(np.array(x)), list], ids=["NumPy", "torch", "list"]
)
def test_images_and_vectors(x, expected, said, kind, capsys):
    found = whole(kind(x))
    assert np.array_equal(found.images.numpy(), expected(x))
    assert found.images.is_contiguous()
    assert found.labels.tolist() == [0] * 30
    assert said in capsys.readouterr().out


def test_the_split_is_by_the_values_of_a_row():
    x = floats(200, 3)
    train, test = data.from_arrays(np.concatenate([x, x]), np.arange(400) % 200, split=0.3)
    assert len(train) + len(test) == 400
    assert not {*train.labels.tolist()} & {*test.labels.tolist()}  # each row twice, on one side
    assert torch.equal(train.images, torch.from_numpy(x.astype(np.float32))[train.labels])
    later, _ = data.from_arrays(np.concatenate([floats(5, 3) + 1, x]), [-1] * 5 + [*range(200)], split=0.3)
    assert {*train.labels.tolist()} <= {*later.labels.tolist()}
    reseeded, _ = data.from_arrays(x, np.arange(200), split=0.3, seed=1)
    assert {*reseeded.labels.tolist()} != {*train.labels.tolist()}


def test_a_data_frame():
    frame = pd.DataFrame({"height": [1.5, 2.5, 3.5], "count": [1, 2, 3], "known": [True, False, True]})
    assert whole(frame).images.tolist() == [[1.5, 1, 1], [2.5, 2, 0], [3.5, 3, 1]]
    nullable = frame.astype({"count": "Int64", "height": "Float64", "known": "boolean"})
    assert torch.equal(whole(nullable).images, whole(frame).images)


def test_labels():
    x = floats(4, 2)
    found = whole(x, ["b", "a", "b", "c"])
    assert (found.labels.tolist(), found.classes) == ([1, 0, 1, 2], ("a", "b", "c"))
    for labels in ([3, 1, 4, 1], np.array([3.0, 1, 4, 1]), torch.tensor([3, 1, 4, 1]), pd.Series([3, 1, 4, 1])):
        found = whole(x, labels)
        assert (found.labels.tolist(), found.classes) == ([3, 1, 4, 1], ())
    categories = pd.Series(["x", "y", "x", "x"], dtype="category")
    assert whole(x, categories).classes == ("x", "y")
    for labels, message in (
        ([1, 2], r"labels must be \(4,\), one for each row of x; got \(2,\)"),
        ([[1], [2], [3], [4]], r"got \(4, 1\)"),
        ([0.5, 1, 2, 3], r"labels must be whole numbers or text; got 0\.5"),
        (["a", None, "b", "c"], "labels must be whole numbers or text; got None"),
        ([1, np.nan, 2, 3], "labels must be whole numbers or text"),
    ):
        with pytest.raises(ValueError, match=message):
            whole(x, labels)
    with pytest.raises(ValueError, match=r"labels has 1 masked values; fill them in: labels\.filled\(value\)"):
        whole(floats(4, 2), np.ma.masked_equal([0, 1, 2, -999], -999))


def with_gaps(frame=False):
    x = floats(10, 4)
    x[[2, 5], 1] = np.nan
    x[5, 3] = np.inf
    return pd.DataFrame(x, columns=["age", "mass", "time", "cost"]) if frame else x


def test_nan_is_named_by_rows_and_columns():
    with pytest.raises(
        ValueError, match=r"NaN or infinity in 2 of 10 rows, in 2 of 4 columns: 1 \(2\), 3 \(1\)\. Fill"
    ):
        data.from_arrays(with_gaps())
    with pytest.raises(ValueError, match=r"in 2 of 4 columns: 'mass' \(2\), 'cost' \(1\)"):
        data.from_arrays(with_gaps(frame=True))
    with pytest.raises(ValueError, match=r"'a' \(1\)"):
        data.from_arrays(pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1, 2]}))
    x = floats(10, 1, 5, 5)
    x[[3, 7], 0, 1, 1] = np.nan
    with pytest.raises(ValueError, match=r"x has NaN in 2 of 10 images, the first of them x\[3\]"):
        data.from_arrays(x)
    assert len(whole(with_gaps()[np.isfinite(with_gaps()).all(1)])) == 8  # what it says to do


def test_constant_columns_are_named_in_a_warning():
    frame = pd.DataFrame(floats(20, 8), columns=[*"abcdefgh"])
    frame[["b", "g"]] = 7.0
    with pytest.warns(data.ColumnWarning, match=r"columns that are constant: 'b', 'g'; leave them out") as caught:
        assert whole(frame).images.shape == (20, 8)
    assert caught[0].filename == __file__ or caught[0].filename.endswith("test_arrays.py")
    frame[[*"abcdefgh"]] = 7.0
    with pytest.warns(data.ColumnWarning, match=r"constant: 'a', 'b', 'c', 'd', 'e' and 3 more"):
        whole(frame)


def test_columns_that_float32_would_round_are_named_in_a_warning():
    x = floats(50, 3)
    x[:, 1] = 1.7e9 + np.arange(50)  # seconds since 1970
    with pytest.warns(data.ColumnWarning, match=r"float32 has too few digits for columns 1, .*x - x\.mean\(0\)"):
        found = whole(x).images
    assert len(found[:, 1].unique()) < 5
    assert len(whole(x - x.mean(0)).images[:, 1].unique()) == 50  # what it says to do


FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"], "kind": pd.Categorical([1, 2, 1])})


def test_categories_are_refused_with_what_to_do():
    with pytest.raises(
        TypeError, match=r"not all columns of x are numbers: 'colour' \(\w+\), 'kind' \(category\); make one"
    ):
        data.from_arrays(FRAME)
    assert whole(pd.get_dummies(FRAME)).images.shape == (3, 5)  # what it says to do
    with pytest.raises(
        TypeError, match=r"x is an array of object; expected numbers\. Text and categories.*get_dummies"
    ):
        data.from_arrays(FRAME.to_numpy())
    with pytest.raises(TypeError, match=r"'when' \(datetime64"):
        data.from_arrays(pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2021-01-01"])}))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            bytes_(5, 9, 9).astype(np.int64),
            ValueError,
            r"x holds int64 from \d+ to \d+; pixels are .*x\.astype\(np\.uint8\)",
        ),
        (bytes_(5, 9, 9).astype(np.int64) * 9, ValueError, "bring them to \\[0, 1\\]"),
        (bytes_(5, 784), ValueError, r"x holds uint8 in rows; .*flat images of bytes x\.reshape\(-1, 1, H, W\)$"),
        (
            np.arange(20).reshape(5, 4),
            ValueError,
            r"x holds int64 in rows; for quantities pass x\.astype\(np\.float32\)",
        ),
        (bytes_(5, 1, 9, 9) % 2, ValueError, r"x holds uint8 of 0 and 1 alone.*x\.astype\(np\.float32\)"),
        (bytes_(5, 9, 9).astype(np.int64) % 2, ValueError, r"x holds int64 of 0 and 1 alone.*x\.astype\(np\.float32\)"),
        (
            floats(5, 9, 9) * 255,
            ValueError,
            r"x ranges from .* to 25\d.*; pixels must lie in \[0, 1\] \(divide bytes by 255\)",
        ),
        (floats(5, 9, 9) - 1, ValueError, "leave out Normalize, or undo it"),
        *(
            (bytes_(*shape), ValueError, r"x has shape .*, as a single picture; several are \(N, H, W\) or")
            for shape in ((64, 64, 3), (64, 48, 3), (28, 28, 1), (8, 8, 3), (8, 8, 4), (3, 64, 64))
        ),
        (bytes_(5, 9, 9, 4), ValueError, r"x must have 1 or 3 channels.*leave out the transparency: x\[\.\.\., :3\]"),
        (bytes_(5, 2, 9, 9), ValueError, r"x must have 1 or 3 channels.*got \(5, 2, 9, 9\)$"),
        (bytes_(5), ValueError, r"x must be \(N, H, W\), .*got \(5,\)"),
        (bytes_(2, 2, 2, 2, 2), ValueError, r"got \(2, 2, 2, 2, 2\)"),
        (bytes_(5, 0, 9), ValueError, r"got \(5, 0, 9\)"),
        (floats(0, 4), ValueError, r"x holds nothing: its shape is \(0, 4\)"),
        (floats(4, 0), ValueError, r"x has no columns"),
        (floats(4, 2) * 1e300, ValueError, "x has values beyond float32 in columns 0, 1; divide them"),
        (floats(4, 2) + 1j, TypeError, "x is an array of complex128; expected numbers"),
        (np.ma.masked_less(floats(9, 2), 0.5), ValueError, r"x has \d+ masked values.*x\.filled\(numpy\.nan\)"),
        ("photos", TypeError, "x is a str; expected a tensor"),
        ([], TypeError, "x is an empty list"),
        (floats(1, 4), ValueError, "arrays: 1 row of 4 .*a single one cannot be split"),
        (np.ones((50, 1, 5, 5), np.float32) / 2, ValueError, "the same image twice stays on one side"),
    ],
)
def test_what_is_refused_and_what_would_do(x, error, message):
    with pytest.raises(error, match=message):
        data.from_arrays(x)


def test_a_memory_mapped_array_goes_into_a_cache_by_parts(tmp_path):
    np.save(tmp_path / "x.npy", bytes_(2500, 8, 8, 3))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    train, test = data.from_arrays(x, np.arange(2500), cache=tmp_path / "cache")
    for part in (train, test):
        assert np.array_equal(part.images[:].numpy(), x[part.labels.numpy()].transpose(0, 3, 1, 2))
