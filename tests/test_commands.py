"""The commands on a folder of images and on a table: what they write, opened again by others; and what they refuse."""

import contextlib
import csv
import io
import math
import os
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vae_tutorial import _bars, _files, cli, data, evaluation, likelihoods, models, training
from vae_tutorial.cli import _options, _tables, sample

SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32), "large": (3, 64, 64)}
SMALL = {"grey": ["--channels", "4", "8"], "colour": ["--channels", "4", "4", "8"], "large": ["--channels", *"4448"]}
LIKELIHOODS = {"grey": "bernoulli", "colour": "discretized_logistic", "large": "gaussian_shared"}


def blobs(shape, count, seed):
    """Bytes ``(count, C, H, W)``: a round blob at a random place on black, each channel with its own brightness."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    y, x = np.mgrid[:height, :width] / height
    places = rng.uniform(0.2, 0.8, (count, 2, 1, 1))
    blob = np.clip(3 - 12 * np.hypot(y - places[:, 0], x - places[:, 1]), 0, 1)[:, None]
    return (255 * blob * rng.uniform(0.3, 1, (count, channels, 1, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each shape, with two classes; one name is not English."""
    root = tmp_path_factory.mktemp("images")
    for number, (name, shape) in enumerate(SHAPES.items()):
        for place, pixels in enumerate(blobs(shape, 44, number)):
            path = root / name / ("left", "größer")[place % 2] / f"{place:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.transpose(1, 2, 0).squeeze()).save(path)
    return root


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    height = rng.normal(170, 10, 120)
    columns = {"height": height, "weight": height - 100 + rng.normal(0, 5, 120), "temperature": rng.normal(310, 1, 120)}
    path = tmp_path_factory.mktemp("table") / "people.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def train(folders, name, *options):
    channels, size, _ = SHAPES[name]
    command = ["train", "--images", str(folders / name), "--size", str(size), "--split", "0.25", "--epochs", "1"]
    command += ["--likelihood", LIKELIHOODS[name], *SMALL[name], *(["--grey"] if channels == 1 else [])]
    assert cli.main([*command, *map(str, options)]) == 0


@pytest.fixture(scope="module", params=SHAPES)
def made(request, folders, tmp_path_factory):
    """The name of a shape, the file of a model that was trained on it, and what the command said."""
    file, said = tmp_path_factory.mktemp("model") / "model.safetensors", io.StringIO()
    with contextlib.redirect_stdout(said):
        train(folders, request.param, "--out", file)
    return request.param, file, said.getvalue()


@pytest.fixture(scope="module")
def of_table(table, tmp_path_factory):
    file, said = tmp_path_factory.mktemp("model") / "people.safetensors", io.StringIO()
    command = ["train", "--table", str(table), "--likelihood", "gaussian_learned", "--split", "0.2"]
    with contextlib.redirect_stdout(said):
        assert cli.main([*command, "--epochs", "40", "--batch-size", "8", "--lr", "3e-3", "--out", str(file)]) == 0
    return file, said.getvalue()


def loaded(folders, name, split):
    channels, size, _ = SHAPES[name]
    return data.from_folder(folders / name, size=size, channels=channels, split=split)


def picture(path):
    with Image.open(path) as found:
        assert (found.format, found.mode) == ("PNG", "RGB")
        return np.asarray(found)


def tiles(path, shape, columns):
    """The images of a sheet, bytes ``(rows, columns, C, H, W)``, read off by their places."""
    channels, height, width = shape
    factor = max(1, round(64 / width))
    found = picture(path)
    rows = (found.shape[0] - 2) // (factor * height + 2)
    assert found.shape == (2 + rows * (factor * height + 2), 2 + columns * (factor * width + 2), 3)
    places = [
        2 + np.arange(n * (factor * s + 2)).reshape(n, -1)[:, : factor * s : factor]
        for n, s in ((rows, height), (columns, width))
    ]
    cut = found[places[0].reshape(-1, 1), places[1].reshape(1, -1)]
    return cut.reshape(rows, height, columns, width, 3).transpose(0, 2, 4, 1, 3)[:, :, :channels]


def as_bytes(images):
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def test_the_same_model_as_from_python(made, folders):
    name, file, said = made
    train_images, test = loaded(folders, name, 0.25)
    torch.manual_seed(0)
    sizes = {"channels": tuple(map(int, SMALL[name][1:])), "latent_dim": 20 if name == "grey" else 32}
    model = models.ConvVAE(likelihood=LIKELIHOODS[name], image_shape=SHAPES[name], **sizes)
    history = training.fit(model, train_images, epochs=1, test=test)
    kept = models.load(file)
    assert kept.architecture == model.architecture
    assert all(torch.equal(value, kept.state_dict()[n]) for n, value in model.state_dict().items())
    elbo = float(re.search(r"test ELBO: (-?[\d.]+) \+- [\d.]+ nats per image", said)[1])
    assert elbo == pytest.approx(history["test_elbo"][-1], abs=0.006)
    bits = float(re.search(r"(-?[\d.]+)(?: \+- [\d.]+)? bits per dimension", said)[1])
    size = math.prod(SHAPES[name])
    assert bits == pytest.approx(-elbo / size / math.log(2) + (math.log2(255) if name == "large" else 0), abs=6e-4)


def test_landmarks_beside_the_result(made, folders):
    name, _, said = made
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("|")]
    nats = [float(cells[1].replace(",", "")) for cells in lines[2:]]
    assert nats == sorted(nats, reverse=True)
    named = {cells[0]: value for cells, value in zip(lines[2:], nats, strict=True)}
    elbo = float(re.search(r"test ELBO: (-?[\d.]+)", said)[1])
    assert named.pop("THIS ConvVAE") == pytest.approx(-elbo, abs=0.06)
    train_images, test = loaded(folders, name, 0.25)
    word = {"grey": "bernoulli", "colour": "discretized", "large": "gaussian"}[name]
    rows = evaluation.landmarks(train_images, test).rows
    assert named == {row.model: pytest.approx(row.nats, abs=0.06) for row in rows if row.compare_with.startswith(word)}
    assert len(named) >= 4
    average = {"grey": "a Bernoulli for each pixel", "colour": "the mean image, one logistic scale"}
    average = average.get(name, "the mean image, one variance")
    assert (f"That is more than {average} costs" in said) == (-elbo > named[average])


def test_the_picture_beside_the_model(made, folders):
    name, file, said = made
    _, test = loaded(folders, name, 0.25)
    columns = min(12, len(test))
    originals, reconstructed, samples = tiles(file.with_suffix(".png"), SHAPES[name], columns)
    chosen = torch.linspace(0, len(test) - 1, columns, dtype=torch.float64).long()
    assert np.array_equal(originals, test.images[chosen].numpy())
    model = models.load(file)
    with torch.no_grad():
        mean = model.likelihood.mean(model.decode(model.encode(test.images[chosen] / 255)[0]))
    assert np.array_equal(reconstructed, as_bytes(mean))
    assert samples.std() > 0
    assert f"{file.with_suffix('.png')} has rows of originals, reconstructions, samples" in said


def test_sampling(made, tmp_path, monkeypatch):
    name, file, _ = made
    monkeypatch.setattr(sample, "_AT_ONCE", 20)  # else 500
    model = models.load(file)
    for option, to, seed in (([], "s.png", 0), (["--seed", "5"], "s.npz", 5)):
        assert cli.main(["sample", str(file), "--n", "11", "--to", str(tmp_path / to), *option]) == 0
        expected = model.sample(11, torch.Generator().manual_seed(seed))
        if to == "s.npz":
            found = np.load(tmp_path / to)["x"]
            assert np.array_equal(found, expected.numpy())
        else:
            found = tiles(tmp_path / to, SHAPES[name], 8).reshape(16, *SHAPES[name])
            assert np.array_equal(found[:11], as_bytes(expected))
            assert (found[11:] == 255).all()  # no image there
    assert cli.main(["sample", str(file), "--n", "27", "--mean", "--to", str(tmp_path / "m.npz")]) == 0
    found = torch.from_numpy(np.load(tmp_path / "m.npz")["x"])
    z = torch.randn(20, model.latent_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(found[:20], model.likelihood.mean(model.decode(z)))
    assert len(found) == 27


def test_reconstructing(made, folders, tmp_path):
    name, file, _ = made
    whole, _ = loaded(folders, name, 0)
    model = models.load(file)
    command = ["reconstruct", str(file), "--images", str(folders / name), "--n", "10", "--to"]
    assert cli.main([*command, str(tmp_path / "r.npz")]) == 0
    found = np.load(tmp_path / "r.npz")
    chosen = [0, 4, 9, 14, 19, 23, 28, 33, 38, 43]
    assert found["files"].tolist() == [whole.files[place] for place in chosen]
    x = whole.images[chosen] / 255
    with torch.no_grad():
        mean = model.likelihood.mean(model.decode(evaluation.encode(model, x)[0]))
    assert np.array_equal(found["x"], x.numpy())
    assert np.allclose(found["reconstruction"], mean.numpy(), atol=1e-6)
    assert cli.main([*command, str(tmp_path / "r.png")]) == 0
    seen = tiles(tmp_path / "r.png", SHAPES[name], 8)  # 8 originals, their reconstructions, 2 originals, theirs
    assert np.array_equal(seen[0], as_bytes(x[:8]))
    assert np.array_equal(seen[2, :2], as_bytes(x[8:]))
    assert np.abs(seen[1].astype(int) - as_bytes(mean[:8])).max() <= 1
    assert np.abs(seen[3, :2].astype(int) - as_bytes(mean[8:])).max() <= 1


def test_encoding(made, folders, tmp_path):
    name, file, _ = made
    whole, _ = loaded(folders, name, 0)
    mu, logvar = evaluation.encode(models.load(file), whole.images)
    command = ["encode", str(file), "--images", str(folders / name), "--to"]
    assert cli.main([*command, str(tmp_path / "c.csv")]) == 0
    with open(tmp_path / "c.csv", encoding="utf-8", newline="") as opened:
        head, *rows = csv.reader(opened)
    latent = mu.shape[1]
    assert head == ["file", *(f"{part}_{j}" for part in ("mu", "logvar") for j in range(latent))]
    assert [row[0] for row in rows] == list(whole.files)
    assert "größer/01.png" in whole.files
    assert np.allclose(np.array([row[1:] for row in rows], float), torch.cat((mu, logvar), 1), atol=1e-6)
    assert cli.main([*command, str(tmp_path / "c.npz")]) == 0
    found = np.load(tmp_path / "c.npz")
    assert found["files"].tolist() == list(whole.files)
    assert np.allclose(found["mu"], mu, atol=1e-6)
    assert np.allclose(found["logvar"], logvar, atol=1e-6)


def test_evaluating(made, folders, capsys):
    name, file, _ = made
    command = ["evaluate", str(file), "--images", str(folders / name), "--count", "6", "--samples", "20"]
    assert cli.main([*command, "--proposal", "encoder"]) == 0
    said = capsys.readouterr().out
    whole, _ = loaded(folders, name, 0)
    images, model = whole.images[[0, 8, 17, 25, 34, 43]], models.load(file)
    generator = torch.Generator().manual_seed(0)
    x = data.binarize(images, generator) if model.likelihood.binary else images / 255
    generator.manual_seed(0)
    parts = evaluation.rate_distortion(model, x, samples=10, generator=generator)
    found = evaluation.log_marginal(model, x, 20, generator).summary()
    assert f"{file}, 6 of 44 images of {folders / name}, nats per image" in said
    assert f"ELBO {-parts.negative_elbo.value:.2f} ± {parts.negative_elbo.stderr:.2f} (rate {parts.rate}, " in said
    assert f"log p(x), encoder proposal: {found}" in said


def test_sizes_that_nobody_gave():
    def channels(*shape, name="conv"):
        return _options._defaults(name, shape).get("channels")

    sides = {28: 2, 32: 3, 48: 3, 64: 4, 96: 4, 128: 5, 8: 1, 6: 1}
    for side, halvings in sides.items():
        found = channels(3, side, side)
        assert len(found) == halvings
        assert found == (32, 64, 128, 256, 256)[:halvings]
        assert 3 <= side >> halvings <= 7
    assert channels(3, 32, 100) == (32, 64, 128)
    assert _options._defaults("conv", (1, 28, 28)) == {}  # those of models.ConvVAE
    assert _options._defaults("mlp", (3, 32, 32)) == {"latent_dim": 32}
    assert _options._defaults("mlp", (3, 31, 32)) == {}
    assert _options._defaults("mlp", (13,)) == {"latent_dim": 4, "hidden": (64,)}
    assert _options._defaults("mlp", (2,))["latent_dim"] == 2
    assert _options._defaults("mlp", (1000,))["latent_dim"] == 20
    assert "latent_dim" not in _options._defaults("autoencoder", (3, 64, 64))


def test_a_table_of_numbers(table, of_table, capsys, tmp_path):
    file, said = of_table
    model = models.load(file)
    assert model.columns == ("height", "weight", "temperature")
    assert model.image_shape == (3,)
    whole = pd.read_csv(table)
    x = torch.from_numpy(whole.to_numpy(np.float32))
    train_rows, test = data.from_arrays(whole, split=0.2)
    marginal = evaluation.landmarks(train_rows, test)["a Gaussian for each column"].nats
    elbo = float(re.search(r"test ELBO: (-?[\d.]+) \+- [\d.]+ nats per row", said)[1])
    assert -elbo < marginal
    assert "These are nats of a density in the table's own units" in said
    assert "That is more than a Gaussian for each column costs" not in said
    assert "| a Gaussian for each column " in said
    assert "| THIS MLPVAE " in said
    head, original, *_ = said.splitlines()[-4:]
    assert head == ",height,weight,temperature"
    assert np.allclose([float(value) for value in original.split(",")[1:]], test.images[0], rtol=1e-5)

    mu, logvar = evaluation.encode(model, x)
    with torch.no_grad():
        mean, drawn = model.likelihood.mean(model.decode(mu)), model.sample(5, torch.Generator().manual_seed(0))
    for command, expected in (
        (["reconstruct", str(file), "--table", str(table), "--n", "500"], mean),
        (["sample", str(file), "--n", "5"], drawn),
    ):
        to = tmp_path / f"{command[0]}.csv"
        assert cli.main([*command, "--to", str(to)]) == 0
        found = pd.read_csv(to)
        assert list(found.columns) == ["height", "weight", "temperature"]
        assert np.allclose(found, expected, rtol=1e-5)
    assert cli.main(["encode", str(file), "--table", str(table), "--to", str(tmp_path / "c.csv")]) == 0
    found = pd.read_csv(tmp_path / "c.csv")
    assert found["row"].tolist() == list(range(120))
    assert np.allclose(found.iloc[:, 1:], torch.cat((mu, logvar), 1), atol=1e-5)
    assert cli.main(["evaluate", str(file), "--table", str(table), "--samples", "50"]) == 0
    said = capsys.readouterr().out
    generator = torch.Generator().manual_seed(0)
    assert f"ELBO {-evaluation.rate_distortion(model, x, 10, generator).negative_elbo.value:.2f} ±" in said
    assert f"{file}, 120 of 120 rows of {table}, nats per row" in said


def test_a_table_from_numpy(table, tmp_path, capsys):
    values = pd.read_csv(table).to_numpy()
    np.save(tmp_path / "t.npy", values)
    command = [
        "--likelihood",
        "gaussian_learned",
        "--epochs",
        "1",
        "--hidden",
        "8",
        "--out",
        str(tmp_path / "m.safetensors"),
    ]
    assert cli.main(["train", "--table", str(tmp_path / "t.npy"), *command]) == 0
    assert models.load(tmp_path / "m.safetensors").columns == ("0", "1", "2")
    assert list(_tables.read(table)) == ["height", "weight", "temperature"]
    assert np.array_equal(_tables.read(tmp_path / "t.npy"), values)


@pytest.mark.parametrize("kind", [*SHAPES, "table"])
def test_a_likelihood_that_nobody_named(kind, folders, table, capsys):
    where = ["--table", str(table)] if kind == "table" else ["--images", str(folders / kind), "--size", "16"]
    grey = ["--grey"] if kind == "grey" else []
    assert cli.main(["train", *where, *grey, "--epochs", "1", "--latent-dim", "2"]) == 0
    said = capsys.readouterr().out
    if kind == "table":
        suggested = likelihoods.suggest(data.from_arrays(pd.read_csv(table))[0])
    else:
        suggested = likelihoods.suggest(data.from_folder(folders / kind, 16, 1 if grey else 3)[0])
    assert str(suggested) in said
    assert suggested.why in said


def test_a_table_of_zeros_and_ones(tmp_path, capsys):
    rng, file = np.random.default_rng(0), tmp_path / "m.safetensors"
    rows = (rng.random((90, 4)) < 0.3).astype(float)
    rows[:, 3] = rows[:, 0]
    pd.DataFrame(rows, columns=list("abcd")).to_csv(tmp_path / "t.csv", index=False)
    where = ["--table", str(tmp_path / "t.csv"), "--split", "0.3"]
    assert cli.main(["train", *where, "--epochs", "1", "--out", str(file)]) == 0
    said = capsys.readouterr().out
    assert "likelihood='bernoulli': zeros and ones in all 4 columns" in said
    assert "| a Bernoulli for each pixel " in said
    assert "| THIS MLPVAE " in said
    assert "bits per dimension, of 4." in said
    assert cli.main(["sample", str(file), "--to", str(tmp_path / "s.csv")]) == 0
    assert set(np.unique(pd.read_csv(tmp_path / "s.csv"))) <= {0, 1}


def test_three_images_are_too_few(tmp_path, capsys):
    for place in range(3):
        Image.new("L", (8, 8), 100 * place).save(tmp_path / f"{place}.png")
    command = ["train", "--images", str(tmp_path), "--size", "8", "--grey", "--epochs", "1", "--split"]
    assert {cli.main([*command, str(share / 10)]) for share in range(1, 10)} == {2}
    said = capsys.readouterr().err
    assert "none of them is left to test on" in said
    for counts in ("2 and 1", "1 and 2"):
        assert f"two and more are needed to train on and to test on; there are {counts}. See --split" in said


def test_an_autoencoder_of_ones_own_images(folders, tmp_path, capsys):
    file = tmp_path / "a.safetensors"
    where = ["--images", str(folders / "grey")]
    options = ["--size", "16", "--grey", "--model", "autoencoder", "--likelihood", "gaussian_shared", "--epochs", "1"]
    assert cli.main(["train", *where, *options, "--out", str(file)]) == 0
    said = capsys.readouterr().out
    assert "log p(x | z), not a bound" in said
    assert "THIS Autoencoder" not in said  # what is no bound on log p(x) stands beside no landmark
    assert "rows of originals, reconstructions (" in said
    assert cli.main(["encode", str(file), *where, "--to", str(tmp_path / "z.csv")]) == 0
    assert list(pd.read_csv(tmp_path / "z.csv")) == ["file", "z_0", "z_1"]
    assert cli.main(["reconstruct", str(file), *where, "--to", str(tmp_path / "r.png")]) == 0
    for command in (["sample", str(file), "--to", str(tmp_path / "s.png")], ["evaluate", str(file), *where]):
        assert cli.main(command) == 2
        assert "is an autoencoder" in capsys.readouterr().err
    assert not (tmp_path / "s.png").exists()


def test_data_sets_and_shipped_models(tmp_path, capsys):
    file = tmp_path / "digits.safetensors"
    command = ["train", "--dataset", "digits", "--epochs", "1", "--hidden", "8", "--average", "0.5"]
    assert cli.main([*command, "--out", str(file)]) == 0
    assert "THIS MLPVAE" in capsys.readouterr().out
    for model in (str(file), "mlp-2d"):
        to = str(tmp_path / f"{os.path.basename(model)}.csv")
        assert cli.main(["encode", model, "--dataset", "digits", "--to", to]) == 0
        assert len(pd.read_csv(to)) == len(data.load("digits", "test"))
        assert cli.main(["evaluate", model, "--dataset", "digits", "--count", "5", "--samples", "5"]) == 0
    assert models.load(file).epochs_trained == 1


def test_the_cache_gives_the_same_model(folders, tmp_path):
    files = [tmp_path / f"{n}.safetensors" for n in range(3)]
    cache = ["--cache", tmp_path / "images.cache"]
    for file, options in zip(files, ([], cache, cache), strict=True):
        train(folders, "colour", "--out", file, *options)
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


def test_nothing_is_overwritten_unless_told(made, folders, tmp_path, capsys):
    name, _, _ = made
    if name != "colour":
        return
    file = tmp_path / "m.safetensors"
    train(folders, name, "--out", file)
    first = {path: path.read_bytes() for path in tmp_path.iterdir()}
    command = [
        "train",
        "--images",
        str(folders / name),
        "--size",
        "32",
        "--likelihood",
        "gaussian_shared",
        *SMALL[name],
    ]
    command += ["--epochs", "1", "--out", str(file)]
    assert cli.main(command) == 2
    assert f"{file} exists already; give another name, or --overwrite to replace it" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == first
    file.rename(tmp_path / "other.safetensors")
    assert cli.main(command) == 2
    assert f"{file.with_suffix('.png')} exists already" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0
    assert (tmp_path / "m.png").read_bytes() != first[tmp_path / "m.png"]
    (tmp_path / "text.safetensors").write_text("no model")
    capsys.readouterr()
    assert cli.main([*command[:-1], str(tmp_path / "text.safetensors"), "--overwrite"]) == 2
    said, error = capsys.readouterr()
    assert "It is not overwritten" in error
    assert "ConvVAE" not in said  # it is seen before the training, not after it


def test_a_suffix_in_capitals_names_the_same_kind(folders, of_table, tmp_path):
    colour = tmp_path / "m.safetensors"
    models.save(models.ConvVAE(2, (4,), "gaussian_shared", (3, 32, 32)), colour)
    images = ["--images", str(folders / "colour")]
    for command, to, start in (
        (["sample", colour], "s.PNG", b"\x89PNG"),
        (["reconstruct", colour, *images], "r.Png", b"\x89PNG"),
        (["encode", colour, *images], "e.NPZ", b"PK"),
        (["sample", of_table[0]], "t.CSV", b"height,weight"),
    ):
        assert cli.main([*map(str, command), "--to", str(tmp_path / to)]) == 0
        assert (tmp_path / to).read_bytes().startswith(start)


def test_no_file_of_a_command_replaces_another_of_it(folders, table, of_table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(table.read_bytes())
    training = ["train", "--images", str(folders / "colour"), "--out", "m.safetensors"]
    for command, message in (
        ([*training, "--cache", "m.safetensors"], "--out and --cache are the same file, 'm.safetensors'"),
        ([*training, "--checkpoint", "./m.safetensors"], "--out and --checkpoint are the same file, 'm.safetensors'"),
        ([*training, "--checkpoint", "m.png"], "the picture beside --out and --checkpoint are the same file, 'm.png'"),
        (["encode", str(of_table[0]), "--table", "t.csv", "--to", "t.csv"], "--to and --table are the same file"),
        (["reconstruct", str(of_table[0]), "--table", "t.csv", "--to", "t.csv"], "--to and --table are the same file"),
    ):
        assert cli.main([*command, "--overwrite"]) == 2
        said, error = capsys.readouterr()
        assert message in error
        assert not said  # nothing was read or trained
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_bytes() == table.read_bytes()


def test_names_of_files_that_are_not_utf8_are_written_escaped(tmp_path):
    _tables.write(tmp_path / "c.csv", {"file": ["a\udcff.png"], "mu_0": [0.5]})
    assert (tmp_path / "c.csv").read_text("utf-8") == "file,mu_0\na\\udcff.png,0.5\n"


def mistakes(folders, table, models_of):
    """Command lines, and what is said of them."""
    images, people = ["--images", str(folders / "colour")], ["--table", str(table)]
    colour, of_table = models_of
    likelihood = ["--likelihood", "gaussian_shared"]
    return [
        (["train", *images, "--out", "m.pt"], "--out must end in .safetensors; got 'm.pt'"),
        (["train", *images, "--out", "no/m.safetensors"], "--out must lie in a folder that exists"),
        (["train", *images, "--split", "1"], "--split must be a share between 0 and 1"),
        (["train", *images, "--size", "0"], "size must be made of whole numbers of at least 1"),
        (["train", *images, *likelihood, "--hidden", "5"], "--hidden is not an option of --model conv"),
        (["train", *images, *likelihood, "--size", "16", "--channels", *"1234567"], "cannot be halved 7 times"),
        (["train", *images, "--likelihood", "bernoulli", "--size", "16"], "are in colour"),
        (["train", "--images", str(folders / "nowhere")], "must be a folder of images"),
        (["train", *people, "--model", "conv"], "--model conv is for images"),
        (["train", *people, "--size", "5"], "--size is for --images FOLDER"),
        (["train", *people, "--grey"], "--grey is for --images FOLDER"),
        (["train", *people, "--cache", "c"], "--cache is for --images FOLDER"),
        (["train", "--dataset", "digits", "--split", "0.5"], "--split is for --images FOLDER and --table FILE"),
        (["train", *people, "--likelihood", "discretized_logistic"], "is of grey levels"),
        (["sample", colour, "--to", "s.csv"], "--to must end in .png or .npz"),
        (["sample", of_table, "--to", "s.png"], "--to must end in .npz or .csv"),
        (["sample", colour, "--n", "1001", "--to", "s.png"], "--n must be at most 1,000 for a picture"),
        (["sample", colour, "--n", "0", "--to", "s.png"], "--n must be a whole number of at least 1; got 0"),
        (["sample", "nothing.safetensors", "--to", "s.png"], "there is no model"),
        (["sample", str(table), "--to", "s.png"], "is damaged, or no model of models.save"),
        (["encode", colour, *people, "--to", "c.csv"], "is a model of images (3, 32, 32), not of tables"),
        (["encode", colour, "--to", "c.csv"], "is a model of images (3, 32, 32); give --images FOLDER"),
        (["encode", of_table, *images, "--to", "c.csv"], "is a model of tables with 3 columns; give --table FILE"),
        (["encode", colour, *images, "--to", "c.txt"], "--to must end in .csv or .npz"),
        (["reconstruct", colour, "--images", str(table.parent), "--to", "r.png"], "holds no image that can be read"),
        (["evaluate", colour, *images, "--latent-dim", "3"], "--latent-dim is for a checkpoint"),
        (["evaluate", of_table, "--dataset", "digits"], "give --table FILE"),
    ]


def test_mistakes_are_told_in_one_line_and_leave_nothing(folders, table, of_table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = models.ConvVAE(2, (4,), "gaussian_shared", (3, 32, 32))
    (tmp_path / "models").mkdir()
    models.save(small, "models/colour.safetensors")
    for command, message in mistakes(folders, table, ("models/colour.safetensors", str(of_table[0]))):
        assert cli.main(command) == 2, command
        said = capsys.readouterr().err.strip()
        assert message in said, command
        assert "\n" not in said
        assert [path.name for path in tmp_path.iterdir()] == ["models"], command


def test_options_that_exclude_each_other(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "--images", "a", "--table", "b.csv"])
    assert "not allowed with argument" in capsys.readouterr().err


TABLES = {
    "a,b\n1,x\n2,y\n": "columns of t.csv are not numbers: 'b' (such as 'x'). Leave them out",
    "a,b\n1,True\n2,False\n": "are not numbers: 'b' (such as 'True')",
    "a,b,c,d,e,f,g\n" + "x,x,x,x,x,x,x\n" * 2: "'e' (such as 'x') and 2 more",
    "a,b\n1,\n2,3\n": "columns of t.csv have gaps, NaN or infinity: 'b' (1 of 2). Fill them in",
    "a,b\n1,inf\n2,3\n": "'b' (1 of 2)",
    "a,b\n": "holds no table: its shape is (0, 2)",
    "": "the first row of t.csv must name its columns; it is empty",
    "1,2\n3,4\n": "must name its columns; it holds numbers (1, 2)",
    "a;b\n1;2\n": "separates its columns by other marks than commas ('a;b')",
    ",a\n0,1\n1,2\n": "column 1 has none. Numbers of rows are no data: to_csv(index=False)",
    "a,a\n0,1\n1,2\n": "'a' is there twice",
    "a,b\n1,2,3\n4,5,6\n": "the rows of t.csv are longer than its first",
    "a,b\n\n  \n1,2,3\n4,5,6\n": "the rows of t.csv are longer than its first",
    "a,b\n1,2\n4,5,6\n": "cannot be read as CSV",
}


@pytest.mark.parametrize("text", TABLES)
def test_tables_that_are_none(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(text)
    assert cli.main(["train", "--table", "t.csv", "--likelihood", "gaussian_learned", "--epochs", "1"]) == 2
    assert TABLES[text] in capsys.readouterr().err


def test_files_that_are_no_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.csv").write_bytes("größe\n1\n2\n".encode("latin-1"))
    np.save("cube.npy", np.zeros((2, 3, 4)))
    np.save("text.npy", np.array([["a", "b"]]))
    np.save("code.npy", np.array([[print]], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01")
    for file, message in {
        "latin.csv": "cannot be read as CSV in UTF-8",
        "cube.npy": "must hold an array of (N, D); got (2, 3, 4)",
        "text.npy": "are not numbers: '0' (such as 'a')",
        "code.npy": "is damaged, or no array of numbers",
        "broken.npy": "is damaged, or no array of numbers",
        "missing.csv": "there is no table missing.csv",
        "table.xlsx": "--table must be a .csv or .npy file; got 'table.xlsx'",
    }.items():
        assert cli.main(["train", "--table", file, "--likelihood", "gaussian_learned", "--epochs", "1"]) == 2
        assert message in capsys.readouterr().err


def test_another_table(of_table, tmp_path, capsys):
    file, _ = of_table
    (tmp_path / "t.csv").write_text("weight,height,temperature\n60,170,310\n80,180,311\n")
    assert cli.main(["encode", str(file), "--table", str(tmp_path / "t.csv"), "--to", str(tmp_path / "c.csv")]) == 2
    assert "has the columns weight, height, temperature; " in capsys.readouterr().err
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("command", ["train", "sample", "reconstruct", "encode"])
def test_a_full_disk_leaves_nothing(command, folders, tmp_path, monkeypatch, capsys):
    model = tmp_path / "m.safetensors"
    models.save(models.ConvVAE(2, (4,), "gaussian_shared", (3, 32, 32)), model)
    there = [path.name for path in tmp_path.iterdir()]

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files, "write", full)
    images = ["--images", str(folders / "colour")]
    options = {
        "train": [
            *images,
            "--size",
            "16",
            "--likelihood",
            "gaussian_shared",
            "--epochs",
            "1",
            "--out",
            "o.safetensors",
        ],
        "sample": [str(model), "--to", "s.png"],
        "reconstruct": [str(model), *images, "--to", "r.png"],
        "encode": [str(model), *images, "--to", "c.csv"],
    }[command]
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, *options]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == there


def test_an_interrupted_training_keeps_its_last_epoch(folders, tmp_path, monkeypatch, capsys):
    run_epoch, calls = training.run_epoch, []

    def interrupted(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_epoch(*arguments, **named)

    monkeypatch.setattr(training, "run_epoch", interrupted)
    options = [
        "--size",
        "16",
        "--likelihood",
        "gaussian_shared",
        "--epochs",
        "9",
        "--out",
        str(tmp_path / "m.safetensors"),
    ]
    assert cli.main(["train", "--images", str(folders / "colour"), *options]) == 130
    assert models.load(tmp_path / "m.safetensors").epochs_trained == 2


def test_progress_is_shown_where_it_is_wanted(made, folders, tmp_path, monkeypatch):
    name, file, _ = made
    shown = []
    real = _bars.tqdm

    def watched(*arguments, **named):
        shown.append((named["unit"], named["disable"]))
        return real(*arguments, **{**named, "disable": True})

    monkeypatch.setattr(_bars, "tqdm", watched)
    commands = [
        ["sample", str(file), "--n", "3", "--to", str(tmp_path / "s.npz")],
        ["encode", str(file), "--images", str(folders / name), "--to", str(tmp_path / "c.npz")],
        ["reconstruct", str(file), "--images", str(folders / name), "--to", str(tmp_path / "r.npz")],
        [
            "evaluate",
            str(file),
            "--images",
            str(folders / name),
            "--count",
            "2",
            "--samples",
            "2",
            "--proposal",
            "encoder",
        ],
    ]
    for command in commands:
        assert cli.main(command) == 0
    assert shown.count(("batch", True)) == 4
    assert shown.count(("image", True)) == len(shown) - 4 >= 3  # of the folder
    shown.clear()
    monkeypatch.delenv("TQDM_DISABLE")
    assert cli.main([*commands[0], "--overwrite"]) == 0
    assert shown == [("batch", None)]  # in a terminal
