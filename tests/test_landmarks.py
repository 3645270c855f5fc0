"""The yardstick against SciPy, NumPy's histograms, Pillow's files, draws, and the course's ledger."""

import io
import math
import re

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from PIL import Image
from sklearn.covariance import LedoitWolf

from vae_tutorial import _naive, data, evaluation, landmarks, ledger, likelihoods

LEVELS, DENSITIES = _naive.LEVELS, _naive.DENSITIES


def pictures(n, shape=(3, 5, 4), seed=0):
    """Bytes whose distribution differs from pixel to pixel, some of them constant."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.linspace(-0.6, 1.6, math.prod(shape)).view(shape)
    x = means + 0.15 * torch.randn(n, *shape, generator=generator)
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def colour():
    train, test = pictures(70), pictures(30, seed=1)
    return train, test, evaluation.landmarks(train, test)


def agrees(row, nats):
    """The mean and the standard error of the nats of each image."""
    nats = np.asarray(nats)
    assert row.nats == pytest.approx(nats.mean(), rel=1e-6, abs=1e-9)
    assert row.stderr == pytest.approx(scipy.stats.sem(nats), rel=1e-6, abs=1e-9)


@pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")
def test_the_ledgers_rows_come_out():
    train = data.load("mnist", "train")
    if train.name != "mnist":
        pytest.skip("the ledger is about MNIST, which is not here")
    found = evaluation.landmarks(train, data.test_binarization())
    wanted = {row.key: row for row in ledger.rows()}
    names = {"uniform": "all images equally likely", "shared": "one Bernoulli for all pixels"}
    for key, name in (names | {"independent": "a Bernoulli for each pixel"}).items():
        assert found[name].nats == pytest.approx(wanted[key].nats, abs=wanted[key].tolerance)
        assert found[name].stderr == pytest.approx(wanted[key].stderr, abs=1e-3)
    assert {row.compare_with for row in found.rows} == {"bernoulli"}


def test_histograms_against_numpy(colour):
    train, test, found = colour
    each, shared = np.zeros(len(test)), np.zeros(len(test))
    for c, i, j in np.ndindex(*test.shape[1:]):
        seen, asked = train[:, c, i, j].numpy(), test[:, c, i, j].numpy()
        counts = np.histogram(seen, bins=256, range=(-0.5, 255.5))[0] + 0.5
        each -= np.log(counts / counts.sum())[asked]
        counts = np.histogram(train[:, c].numpy(), bins=256, range=(-0.5, 255.5))[0] + 0.5
        shared -= np.log(counts / counts.sum())[asked]
    agrees(found["a histogram for each pixel"], each)
    agrees(found["a histogram for each channel"], shared)
    assert found["uniform over 256 levels"].nats == pytest.approx(60 * math.log(256))
    assert found["uniform over 256 levels"].bits == pytest.approx(8)
    assert found["uniform over 256 levels"].stderr == 0
    less = found["a histogram for each pixel, as a density"]
    assert less.nats == pytest.approx(each.mean() - 60 * math.log(255))
    assert (less.compare_with, less.stderr) == (DENSITIES, found["a histogram for each pixel"].stderr)


def test_parts_change_nothing(monkeypatch):
    """Large data are counted in parts: of pixels, and of images."""
    train, test = pictures(40, (1, 70, 70)), pictures(9, (1, 70, 70), seed=1)
    found = evaluation.landmarks(train, test)
    assert test[0].numel() > 4096
    counts = np.stack([np.bincount(column, minlength=256) for column in train.flatten(1).T.numpy()]) + 0.5
    nats = -np.take_along_axis(np.log(counts / (40 + 128)), test.flatten(1).T.numpy().astype(int), 1).sum(0)
    agrees(found["a histogram for each pixel"], nats)
    assert len(_naive._parts(train)) == 1
    monkeypatch.setattr(_naive, "_parts", lambda x: x.split(7))
    again = evaluation.landmarks(train, test)
    np.testing.assert_allclose([row[1:4] for row in again.rows], [row[1:4] for row in found.rows], rtol=1e-12)


def test_gaussians_against_scipy(colour):
    train, test, found = colour
    x, y = train.numpy() / 255, test.numpy() / 255
    mean, var = x.mean(0), x.var(0)
    assert var.min() == 0  # the floor is in use
    nats = -scipy.stats.norm.logpdf(y, mean, math.sqrt(var.mean())).sum((1, 2, 3))
    agrees(found["the mean image, one variance"], nats)
    floored = np.sqrt(np.maximum(var, 1 / 255**2))
    agrees(
        found["the mean image, a variance for each pixel"], -scipy.stats.norm.logpdf(y, mean, floored).sum((1, 2, 3))
    )
    assert math.isnan(found["the mean image, one variance"].bits)
    shared = likelihoods.Gaussian("shared", floor=1e-12)  # what a VAE pays whose decoder draws the mean image
    with torch.no_grad():
        shared.tenth_of_logvar.fill_(math.log(var.mean()) / 10)
        agrees(found["the mean image, one variance"], -shared.log_prob(test.double() / 255, torch.from_numpy(mean)))


def test_untrained_is_a_decoder_of_zeros(colour):
    _, test, found = colour
    with torch.no_grad():
        for name, key, density in (("discretized_logistic", LEVELS, False), ("gaussian_shared", DENSITIES, True)):
            likelihood = likelihoods.get(name)
            nothing = torch.zeros(likelihood.channels * 3, 5, 4, dtype=torch.float64)
            row = found[f"untrained {name}"]
            agrees(row, -likelihood.log_prob(test.double() / 255, nothing))
            assert row.compare_with == key
            assert math.isnan(row.bits) == density


def test_the_scale_of_the_mean_image_is_the_best():
    """Against a search by another method over the logistic's own distribution function."""
    train, test = pictures(70, (1, 5, 4)), pictures(30, (1, 5, 4), seed=1)
    mean = train.numpy().mean(0) / 255

    def costs(scale, x):
        inner = scipy.stats.logistic.cdf((np.arange(255)[:, None, None, None] + 0.5) / 255, mean, scale)
        masses = np.diff(inner, axis=0, prepend=0, append=1)  # (256, 1, H, W)
        return -np.log(np.take_along_axis(masses, x.numpy().astype(int), 0)).sum((1, 2, 3))

    best = min(np.geomspace(0.05, 1, 400), key=lambda scale: costs(scale, train).mean())
    row = evaluation.landmarks(train, test)["the mean image, one logistic scale"]
    assert row.nats == pytest.approx(costs(best, test).mean(), rel=1e-3)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_files_against_pillow(tmp_path, channels, mode):
    x = pictures(6, (channels, 9, 7)).flip(1)  # some pixels are transparent, and keep their colours
    found, sizes = evaluation.landmarks(x), {"PNG": [], "WebP, lossless": []}
    for image in x:
        pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
        picture = Image.fromarray(pixels)
        assert picture.mode == mode
        for name, options in (("PNG", {"optimize": True}), ("WebP, lossless", {"lossless": True, "exact": True})):
            file = tmp_path / f"a.{name[:4].lower()}"
            picture.save(file, **options)
            sizes[name].append(file.stat().st_size)
            assert (np.array(Image.open(file).convert(mode)) == pixels).all()  # nothing is lost
    for name, each in sizes.items():
        agrees(found[name], 8 * math.log(2) * np.array(each))
        assert found[name].bits == pytest.approx(8 * np.mean(each) / (channels * 63))
    assert found["PNG, as a density"].nats == pytest.approx(found["PNG"].nats - channels * 63 * math.log(255))


def test_a_format_that_pillow_cannot_write_has_no_row(monkeypatch):
    names = {row.model for row in evaluation.landmarks(pictures(6, (2, 9, 7))).rows}
    assert {"xz of all", "a histogram for each pixel"} <= names
    assert not {"PNG", "WebP, lossless", "PNG, as a density"} & names
    monkeypatch.setattr(_naive.features, "check", lambda name: False)
    names = {row.model for row in evaluation.landmarks(pictures(6)).rows}
    assert "PNG" in names
    assert "WebP, lossless" not in names


def test_archives():
    noise = torch.randint(0, 256, (50, 1, 30, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    row = evaluation.landmarks(noise)["xz of all"]
    assert 8 <= row.bits < 8.05  # noise cannot be compressed
    assert math.isnan(row.stderr)
    same = noise[:1].expand(50, -1, -1, -1)
    assert evaluation.landmarks(same)["xz of all"].nats < row.nats / 25  # it sees that the images are equal
    ink = (noise < 128).float()
    assert 1 <= evaluation.landmarks(ink)["xz of all, packed in bits"].bits < 1.05


def test_black_and_white_against_scipy(tmp_path):
    train, test = ((pictures(n, (1, 30, 25), seed) > 127).float() for n, seed in ((60, 0), (40, 1)))
    found = evaluation.landmarks(train, test)
    each = (train.double().sum(0).numpy() + 0.5) / 61
    agrees(found["a Bernoulli for each pixel"], -scipy.stats.bernoulli.logpmf(test.numpy(), each).sum((1, 2, 3)))
    one = (train.double().sum().item() + 0.5) / (train.numel() + 1)
    agrees(found["one Bernoulli for all pixels"], -scipy.stats.bernoulli.logpmf(test.numpy(), one).sum((1, 2, 3)))
    assert found["all images equally likely"].bits == pytest.approx(1)
    sizes = []
    for image in test[:, 0]:
        Image.fromarray((255 * image).byte().numpy()).convert("1").save(tmp_path / "a.png", optimize=True)
        sizes.append((tmp_path / "a.png").stat().st_size)
    agrees(found["PNG of 1 bit"], 8 * math.log(2) * np.array(sizes))
    assert str(evaluation.landmarks(train.bool(), test.bool())) == str(found)


def test_grey_images_cost_what_their_binarizations_cost_on_average():
    train, test = pictures(60, (1, 6, 5)), pictures(40, (1, 6, 5), seed=1)
    found = evaluation.landmarks(train, test)
    generator = torch.Generator().manual_seed(0)
    drawn = [evaluation.landmarks(train, data.binarize(test, generator)) for _ in range(100)]
    for row in drawn[0].rows[1:]:
        nats = [each[row.model].nats for each in drawn]
        error = (
            np.std(nats) if "PNG" in row.model or "xz" in row.model else scipy.stats.sem(nats)
        )  # of one draw, of none
        assert abs(found[row.model].nats - np.mean(nats)) < 4 * error
        assert found[row.model].compare_with == "bernoulli"
    assert "bernoulli" not in {row.compare_with for row in evaluation.landmarks(pictures(9)).rows}  # not for colours


def test_bytes_and_fractions_cost_the_same(colour):
    train, test, found = colour
    again = evaluation.landmarks(train.double() / 255, test.double() / 255)
    assert [row.model for row in again.rows] == [row.model for row in found.rows]
    np.testing.assert_allclose([row[1:4] for row in again.rows], [row[1:4] for row in found.rows], rtol=1e-9)


def test_floats_count_as_the_nearest_level():
    train, test = pictures(60), pictures(40, seed=1)
    found = evaluation.landmarks(train, test)
    shifted = ((x / 255 - 0.4 / 255).clamp(0, 1) for x in (train, test))
    names = [row.model for row in found.rows if row.compare_with == LEVELS]
    again = evaluation.landmarks(*shifted)
    assert [again[name] for name in names if name[:2] != "xz"] == [found[name] for name in names if name[:2] != "xz"]
    assert again["the mean image, one variance"] != found["the mean image, one variance"]


@pytest.fixture(scope="module")
def wine():
    from sklearn.datasets import load_wine

    x = load_wine().data
    return x[::2], x[1::2]


def test_a_table_against_scipy(wine):
    train, test = wine
    found = evaluation.landmarks(train, test)
    nats = -scipy.stats.norm.logpdf(test, train.mean(0), train.std(0)).sum(1)
    agrees(found["a Gaussian for each column"], nats)
    normal = scipy.stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    agrees(found["one Gaussian, all covariances"], -normal.logpdf(test))
    assert found["one Gaussian, all covariances"].nats < found["a Gaussian for each column"].nats


def test_a_tables_nats_are_in_its_units(wine):
    units = np.geomspace(1e-3, 1e4, wine[0].shape[1])
    found, scaled = evaluation.landmarks(*wine), evaluation.landmarks(*(units * x for x in wine))
    for row, other in zip(found.rows, scaled.rows, strict=True):
        assert other.nats - row.nats == pytest.approx(np.log(units).sum())
        assert other.stderr == pytest.approx(row.stderr)


@pytest.mark.parametrize("rows", [slice(0, 20), slice(None)], ids=["few rows", "a column that is a sum"])
def test_a_covariance_that_cannot_be_inverted_is_shrunk(wine, rows):
    train, test = (np.column_stack([x, x[:, 0] + x[:, 1]])[:, :13] for x in wine)
    if rows == slice(None):
        train, test = (np.column_stack([x, x[:, 0] + x[:, 1]]) for x in wine)
    train = train[rows]
    row = evaluation.landmarks(train, test)["one Gaussian, all covariances, shrunk"]
    mean, sd = train.mean(0), train.std(0)
    covariance = LedoitWolf(assume_centered=True).fit((train - mean) / sd).covariance_
    normal = scipy.stats.multivariate_normal(mean, covariance * np.outer(sd, sd))
    agrees(row, -normal.logpdf(test))


def test_a_table_of_zeros_and_ones_is_black_and_white():
    x = (torch.rand(40, 9, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    found = evaluation.landmarks(x)
    each = (x.sum(0).double().numpy() + 0.5) / 41
    agrees(found["a Bernoulli for each pixel"], -scipy.stats.bernoulli.logpmf(x.numpy(), each).sum(1))
    assert "PNG of 1 bit" not in {row.model for row in found.rows}
    assert str(evaluation.landmarks(x.bool())) == str(found)


def test_it_says_what_was_fitted_and_measured(colour):
    train, _, found = colour
    assert found.about == "Nats per image of 3 x 5 x 4, D = 60; mean over 30 images, fitted on 70."
    alone = evaluation.landmarks(train)
    assert "mean over 70 images, in sample" in alone.about
    assert alone["a histogram for each pixel"].nats < found["a histogram for each pixel"].nats  # too good
    assert evaluation.landmarks(torch.randn(5, 2)).about.startswith("Nats per row of 2, D = 2; mean over 5 rows")


def test_many_images_are_written_as_files_in_part(monkeypatch):
    x = pictures(20, (1, 5, 4))
    monkeypatch.setattr(_naive, "FILES", 8)
    found = evaluation.landmarks(x)
    assert found.about.endswith("; files of 8 of them.")
    sizes = []
    for image in x[torch.tensor([0, 3, 5, 8, 11, 14, 16, 19])]:
        Image.fromarray(image[0].numpy()).save(file := io.BytesIO(), "png", optimize=True)
        sizes.append(len(file.getvalue()))
    agrees(found["PNG"], 8 * math.log(2) * np.array(sizes))


def test_the_table_is_markdown_and_a_frame(colour):
    _, _, found = colour
    about, blank, head, rule, *lines = str(found).splitlines()
    assert (about, blank) == (found.about, "")
    assert len({len(line) for line in (head, rule, *lines)}) == 1
    assert set(rule) == set("| -:")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    frame = found.to_frame()
    assert [cell[0] for cell in cells] == list(frame.index) == [row.model for row in found.rows]
    assert len(set(frame.index)) == len(frame)
    for row, (_, nats, stderr, bits, compare) in zip(found.rows, cells, strict=True):
        assert float(nats.replace(",", "")) == pytest.approx(row.nats, abs=0.051)
        assert (stderr == "") == math.isnan(row.stderr)
        assert (bits == "") == math.isnan(row.bits)
        assert compare == row.compare_with
    assert frame.loc["PNG", "nats"] == found["PNG"].nats
    lines = [re.findall(r">([^<]*)</t[hd]>", line) for line in found._repr_html_().split("<tr>")[2:]]
    kinds = list(dict.fromkeys(row.compare_with for row in found.rows))  # each has a heading, then its rows
    assert [line[0] for line in lines if len(line) == 1] == [f"compare with {kind}" for kind in kinds]
    assert [tuple(line) for line in lines if len(line) > 1] == [(row.model, *row.said()) for row in found.rows]
    with pytest.raises(KeyError, match="no landmark 'GIF'; there are 'uniform over 256 levels'"):
        found["GIF"]


def test_images_on_disk_are_read_as_far_as_memory_goes(monkeypatch, tmp_path, colour):
    train, test, found = colour
    kept, _ = data.from_arrays(train, split=0, cache=tmp_path / "train.cache")
    assert isinstance(kept.images, data.Mapped)
    for images in (kept, kept.images):
        again = evaluation.landmarks(images, test)
        assert again.about == found.about
        np.testing.assert_array_equal([row[1:4] for row in again.rows], [row[1:4] for row in found.rows])
    assert evaluation.landmarks(train, kept)["PNG"] == evaluation.landmarks(train)["PNG"]
    monkeypatch.setattr(landmarks, "_VALUES", 60 * 11)
    part = evaluation.landmarks(kept, test)
    assert part.about.endswith("mean over 30 images, fitted on 11 of 70.")
    rows = torch.linspace(0, 69, 11).round().long()
    assert part["PNG"] == found["PNG"]
    assert part["a histogram for each pixel"] == evaluation.landmarks(train[rows], test)["a histogram for each pixel"]


GREY = torch.rand(5, 1, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((GREY[:0],), ValueError, r"images must have shape \(N, C, H, W\), or \(N, D\) for a table, with N >= 2; got"),
        ((GREY[:1],), ValueError, r"N >= 2; got \(1, 1, 4, 4\)"),
        ((GREY[:, 0],), ValueError, r"the channel axis is missing: images.unsqueeze\(1\)"),
        ((torch.rand(7),), ValueError, r"got \(7\)"),
        ((torch.rand(7, 0),), ValueError, r"got \(7, 0\)"),
        ((GREY, GREY[:1]), ValueError, "test must have shape"),
        ((GREY, torch.rand(5, 3, 4, 4)), ValueError, "test must be of the shape of images, 1 x 4 x 4 each; got 3 x 4"),
        ((torch.full((3, 1, 4, 4), math.nan),), ValueError, "images ranges from nan to nan"),
        ((2 * GREY + 1,), ValueError, r"pixels must lie in \[0, 1\]"),
        ((GREY, 2 * GREY + 1), ValueError, "test ranges from"),
        ((torch.randint(0, 255, (3, 1, 4, 4)),), ValueError, "images has dtype torch.int64"),
        (((GREY > 0.5).byte(),), ValueError, "holds only bytes of 0 and 1"),
        (((GREY > 0.5).float(), GREY), ValueError, "images holds only zeros and ones, but test does not"),
        ((torch.randint(0, 9, (5, 3)),), ValueError, r"a table must be floating: images.float\(\)"),
        ((torch.tensor([[1.0, 2], [math.nan, 3], [2, math.inf]]),), ValueError, "NaN or infinity in column 0, 1"),
        (
            (torch.tensor([[1.0, 0.1], [2, 0.1], [4, 0.1]]),),
            ValueError,
            "images is constant in column 1, whose density",
        ),
        (
            (torch.tensor([[1, 1e6], [2, 1e6 + 1e-8], [4, 1e6]], dtype=torch.float64),),
            ValueError,
            "constant in column 1",
        ),  # rounding
        (("images",), TypeError, "images is a str"),
        ((None,), TypeError, "images is a NoneType"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluation.landmarks(*arguments)
