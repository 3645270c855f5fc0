"""Files of images: equal pixels back, the length that the ELBO promises, and nothing wrong in silence."""

import base64
import errno
import hashlib
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import nn

from vae_tutorial import compress, data, models, pretrained, training
from vae_tutorial.compress import files, stack, tables
from vae_tutorial.compress.coding import Coding
from vae_tutorial.compress.integers import IntegerNetwork
from vae_tutorial.compress.tables import FRACTION, INVERSE, ONE

SMALL = (1, 6, 5)


def whole(values):
    return np.round(np.asarray(values) * 2**FRACTION).astype(np.int64)


def drawn(n, shape=SMALL, seed=0):
    return (torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def grey_drawn(n, shape=SMALL, seed=0):
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(seed)) / 255


def random_model(kind=models.MLPVAE, seed=0, **how):
    torch.manual_seed(seed)
    return kind(**{"latent_dim": 3, "image_shape": SMALL, **how})


@pytest.fixture(scope="module")
def digits():
    return data.test_binarization("digits")[:120]


@pytest.fixture(scope="module")
def mlp():
    return pretrained.load("mlp")


@pytest.fixture(scope="module")
def grey():
    """A model of 256 levels and images that it has learned."""
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=4, hidden=(32,), likelihood="discretized_logistic")
    training.fit(model, data.load("digits").images[:640], epochs=4, progress=False)
    return model, data.load("digits", "test").images[:150]


# Tables


def test_tables_are_the_functions_that_they_stand_for():
    t = np.linspace(-7, 7, 20_001)
    assert tables.normal(whole(t)) / ONE == pytest.approx(scipy.stats.norm.cdf(t), abs=5e-6)
    assert tables.logistic(whole(t)) / ONE == pytest.approx(scipy.special.expit(t), abs=5e-6)
    assert tables.tanh(whole(t)) / 2**FRACTION == pytest.approx(np.tanh(t), abs=3e-5)
    masses = np.arange(1, 1000) * (ONE // 1000)
    assert tables.normal_quantiles(masses) / 2**FRACTION == pytest.approx(scipy.stats.norm.ppf(masses / ONE), abs=1e-4)
    inverse = {"deviation": np.exp(-t / 2), "levels": 1 / (255 * (np.exp(t) + math.exp(-8)))}
    for kind, wanted in inverse.items():
        assert tables.inverse_scales(whole(t), kind) / 2**INVERSE == pytest.approx(wanted, rel=2.1e-3, abs=1e-6)


def test_tables_end_without_a_step():
    """Beyond its ends a table goes on as it ended, and a distribution function never falls."""
    for function in (tables.normal, tables.logistic):
        values = function(np.arange(-30 << FRACTION, 30 << FRACTION, 97))
        assert (np.diff(values) >= 0).all()
        assert 0 <= values[0] < 4
        assert ONE - 4 < values[-1] <= ONE
    assert tables.normal_quantiles(np.array([0, ONE])) / 2**FRACTION == pytest.approx([-8, 8], abs=1.5)
    ends = np.array([-(1 << 40), 1 << 40])
    assert tables.inverse_scales(ends, "deviation") / 2**INVERSE == pytest.approx([math.exp(8), math.exp(-8)], rel=1e-4)


def test_tables_are_the_same_on_every_machine():
    found = [tables._normal_table(), tables._logistic_table(), *map(tables._inverse_table, ("deviation", "levels"))]
    digest = hashlib.sha256(b"".join(table.astype("<i8").tobytes() for table in found)).hexdigest()
    assert digest == TABLES


TABLES = "5aed829378487896a630cda10072d95150a546c1df7703d162048fea552134f6"

# Networks in whole numbers


def by_hand(network, x):
    """The integer network's steps for layers of Linear and ReLU with Python's integers, a sum at a time."""
    for step in network.steps:
        if hasattr(step, "wholes"):
            weight, bias = (w.long().tolist() for w in step.wholes)
            sums = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
            x = [(s + (1 << step.shift >> 1)) >> step.shift for s in sums]
        elif not isinstance(step, nn.Flatten):
            x = [max(v, 0) for v in x]
    return x


def test_a_network_is_what_pythons_integers_give():
    model = random_model(hidden=(50, 40))
    network = IntegerNetwork(model.decoder, "decoder", 8 << FRACTION, FRACTION)
    z = whole(np.random.default_rng(0).normal(size=(7, 3)))
    assert network(z, 3).tolist() == [by_hand(network, row) for row in z.tolist()]


NETWORKS = {
    "mlp": lambda: random_model(hidden=(50, 40)),
    "conv": lambda: random_model(models.ConvVAE, channels=(5, 4), image_shape=(2, 13, 11)),
    "tanh": lambda: by_layers(nn.Tanh()),
}


def by_layers(nonlinearity):
    """A VAE put together by hand, as Burda's is: two classes with ``layers``."""
    torch.manual_seed(0)
    model = models.VAE(Encoder(nonlinearity), Decoder(nonlinearity), 3, SMALL)
    return model


class Encoder(nn.Module):
    def __init__(self, nonlinearity):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(30, 20), nonlinearity), nn.Linear(20, 6))

    def forward(self, x):
        return self.layers(x).chunk(2, dim=-1)


class Decoder(nn.Module):
    def __init__(self, nonlinearity):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 20), nonlinearity, nn.Linear(20, 30, bias=False))

    def forward(self, z):
        return self.layers(z).unflatten(-1, SMALL)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_near_the_model_and_the_same_in_every_batch(name):
    model = NETWORKS[name]()
    x, z = drawn(50, model.image_shape), torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    code = Coding(model, 12, 50)
    with torch.no_grad():
        wanted = [torch.cat(model.encode(x), 1), model.decode(z).flatten(1)]
    for network, given, near in zip((code.encoder, code.decoder), (x.long().numpy(), whole(z)), wanted, strict=True):
        found = network(given, 50)
        assert found / 2**FRACTION == pytest.approx(near.numpy(), abs=1e-3)
        assert np.array_equal(network(given, 1), found)
        assert np.array_equal(network(given[::-1].copy(), 7)[::-1], found)


def test_the_order_of_summation_and_the_dtype_change_nothing():
    """Hidden units in another order: float32 sums differ then, sums of whole numbers do not."""
    model, other = random_model(hidden=(300,)), random_model(hidden=(300,))
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for network in (other.encoder, other.decoder):
            network.layers[0].weight.copy_(network.layers[0].weight[order])
            network.layers[0].bias.copy_(network.layers[0].bias[order])
            network.layers[2].weight.copy_(network.layers[2].weight[:, order])
        z = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
        assert not torch.equal(model.decode(z), other.decode(z))
    one, two = Coding(model, 12, 10), Coding(other, 12, 10)
    assert np.array_equal(one.decoder(whole(z), 10), two.decoder(whole(z), 10))
    assert one.checksum() != two.checksum()
    assert one.checksum() == Coding(random_model(hidden=(300,)).double(), 12, 10).checksum()


def test_the_probabilities_are_the_models(grey, mlp, digits):
    """Of every bin of the posterior, every grey level and every black pixel, from the float model."""
    for model, x in ((grey[0], grey[1][:5] / 255), (mlp, digits[:5])):
        code = Coding(model, 8, 5)
        levels = 2**code.pixel_bits
        below = code.posterior((x * (levels - 1)).round().long().numpy())
        bins = np.arange(257)[:, None] * np.ones((1, 5 * model.latent_dim), dtype=int)
        found = np.diff(np.stack([below(edge) for edge in bins]), axis=0) / ONE
        with torch.no_grad():
            mu, logvar = (part.double().ravel() for part in model.encode(x))
        edges = torch.tensor(scipy.stats.norm.ppf(np.arange(257) / 256))[:, None]
        wanted = torch.special.ndtr((edges - mu) / (logvar / 2).exp()).diff(dim=0)
        assert found == pytest.approx(wanted.numpy(), abs=5e-3)

        z = np.arange(3, 3 + 5 * model.latent_dim)
        below = code.likelihood(z)
        found = np.diff(np.stack([below(np.full(5 * 784, s)) for s in range(levels + 1)]), axis=0) / ONE
        with torch.no_grad():
            given = torch.tensor(scipy.stats.norm.ppf((z + 0.5) / 256)).float().view(5, -1)
            parameters = model.decode(given).reshape(5, -1, 784).permute(1, 0, 2).reshape(1, -1, 1, 5 * 784)
            values = torch.arange(levels)[:, None, None, None] / (levels - 1)
            each = [model.likelihood.log_prob(values, parameters[..., i : i + 1]) for i in range(0, 5 * 784, 17)]
        assert found[:, ::17] == pytest.approx(torch.stack(each, 1).exp().numpy(), abs=1e-3)


# The stack


def weights(probabilities):
    """The cdf, as a stack wants it, of one distribution for all of n variables."""
    below = np.concatenate([[0], np.cumsum(np.asarray(probabilities))])
    return lambda edge: (below[edge] * (ONE - 1000)).astype(np.int64) + edge


def test_a_stack_gives_back_what_it_got_and_grows_by_the_entropy():
    p = np.array([0.5, 0.2, 0.1, 0.1, 0.04, 0.03, 0.02, 0.01])
    symbols = np.random.default_rng(0).choice(8, size=20_000, p=p)
    found = compress.Stack(np.array([7, 0], dtype=np.uint32), seal=True)
    before = found.bits
    found.push(symbols, 3, weights(p))
    assert found.bits - before == pytest.approx(-np.log2(p)[symbols].sum(), rel=1e-4)
    found.push_uniform(symbols, 5)
    assert np.array_equal(found.pop_uniform(20_000, 5), symbols)
    assert np.array_equal(found.pop(20_000, 3, weights(p)), symbols)
    assert found.bits == before
    assert found.words(unseal=True).tolist() == [7, 0]


def test_popping_from_random_bits_draws_and_pushing_gives_the_bits_back():
    words = np.random.default_rng(0).integers(0, 1 << 32, 5000, dtype=np.uint32)
    p = np.array([0.5, 0.3, 0.15, 0.05])
    found = compress.Stack(words, seal=True)
    symbols = found.pop(50_000, 2, weights(p))
    assert scipy.stats.chisquare(np.bincount(symbols, minlength=4), 50_000 * p).pvalue > 1e-3
    assert not found.ran_out
    assert found.bits == pytest.approx(32 * 5001 + np.log2(p)[symbols].sum(), rel=1e-3)
    found.push(symbols, 2, weights(p))
    assert np.array_equal(found.words(unseal=True), words)


def test_a_stack_says_when_it_ran_out():
    found = compress.Stack(np.arange(1, 9, dtype=np.uint32), seal=True)
    found.pop_uniform(10, 16)
    assert not found.ran_out
    found.pop_uniform(10, 16)
    assert found.ran_out


def test_an_impossible_symbol_can_be_pushed():
    """A distribution function that is flat but for the leak: the coins are clipped, and nothing is divided by 0."""
    found = compress.Stack(np.array([1], dtype=np.uint32))
    step = lambda edge: np.where(edge > 3, ONE, 0) + edge  # noqa: E731
    for symbol in (np.array([0, 3, 7]), np.array([5, 6, 1])):
        found.push(symbol, 3, step)
        assert np.array_equal(found.pop(3, 3, step), symbol)


# Files


def roundtrip(tmp_path, model, images, **how):
    written = compress.write(tmp_path / "a.nats", model, images, **how)
    assert written.bytes == (tmp_path / "a.nats").stat().st_size
    return compress.read(tmp_path / "a.nats", model), written


@pytest.mark.parametrize("name", NETWORKS)
def test_black_and_white_images_come_back(name, tmp_path):
    model = NETWORKS[name]()
    for count in (1, 2, 40):
        images = drawn(count, model.image_shape)
        found, _ = roundtrip(tmp_path, model, images)
        assert torch.equal(found, images)
        assert found.dtype == torch.float32


def test_grey_images_come_back_as_they_were_given(grey, tmp_path):
    model, images = grey
    found, _ = roundtrip(tmp_path, model, images)
    assert found.dtype == torch.uint8
    assert torch.equal(found, images)
    found, _ = roundtrip(tmp_path, model, images[:1] / 255)
    assert torch.equal(found, images[:1] / 255)
    colours = random_model(likelihood="discretized_logistic", image_shape=(3, 4, 4))
    assert torch.equal(roundtrip(tmp_path, colours, grey_drawn(9, (3, 4, 4)))[0], grey_drawn(9, (3, 4, 4)))


def test_kinds_of_images(tmp_path):
    model, images = random_model(), drawn(5)
    for given in (images.bool(), images.double(), images.numpy(), list(images)):
        assert torch.equal(roundtrip(tmp_path, model, given)[0], images)


def test_the_file_is_the_same_for_every_batch_size_and_dtype(tmp_path, digits, mlp, grey):
    for model, images in ((mlp, digits), (grey[0], grey[1][:50])):
        contents = set()
        for size, dtype in ((1, torch.float32), (1000, torch.float32), (33, torch.float64)):
            compress.write(tmp_path / "a.nats", model.to(dtype), images, batch_size=size)
            contents.add((tmp_path / "a.nats").read_bytes())
        model.float()
        assert len(contents) == 1
        for size in (1, 1000):
            found = compress.read(tmp_path / "a.nats", model, batch_size=size)
            assert torch.equal(found, images)


def test_a_file_is_as_long_as_the_negative_elbo_says(tmp_path, mlp, grey):
    """The draws of z differ, in the file and in the ELBO; 4 standard errors are well below a percent here."""
    for model, images in ((mlp, data.test_binarization("digits")), grey):
        found, written = roundtrip(tmp_path, model, images)
        assert torch.equal(found, images)
        assert abs(written.excess_beyond_first) < 0.006
        assert written.first_bits < 900
        assert written.nats == pytest.approx(written.bytes * 8 * math.log(2) / len(images))
        assert written.excess == pytest.approx(written.nats / written.negative_elbo - 1)
        beyond = (written.bits - written.first_bits) * math.log(2) / len(images) / written.negative_elbo - 1
        assert written.excess_beyond_first == pytest.approx(beyond)


def exact_lengths(model, images, precision):
    """log q(z | x) - log p(x, z) in nats for one latent, its mean and variance over all bins; from the float model."""
    bins = 1 << precision
    edges = torch.tensor(scipy.stats.norm.ppf(np.arange(bins + 1) / bins))
    centres = torch.tensor(scipy.stats.norm.ppf((np.arange(bins) + 0.5) / bins))
    with torch.no_grad():
        mu, logvar = model.double().encode(images.double())
        q = torch.special.ndtr((edges - mu) / (logvar / 2).exp()).diff(dim=1).clamp_min(1e-12)
        log_p = model.likelihood.log_prob(images.double().unsqueeze(1), model.decode(centres.unsqueeze(1)))
    model.float()
    length = q.log() - log_p + math.log(bins)
    mean = (q * length).sum(1)
    return mean, (q * length.square()).sum(1) - mean.square()


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_the_length_by_another_route(likelihood, tmp_path, monkeypatch):
    """One latent of 16 bins: their sum is exact, and the file's one draw for each image lies within its noise."""
    model = random_model(latent_dim=1, likelihood=likelihood)
    with torch.no_grad():  # a narrow posterior that depends on x, a decoder that depends on z, and mild grey levels
        model.encoder.layers[2].weight.mul_(5)
        model.encoder.layers[2].bias.copy_(torch.tensor([0.0, -5.0]))
        model.decoder.layers[0].weight.mul_(2)
        model.decoder.layers[2].bias[30:] = -1.0
    images, groups, push = model.sample(2000, torch.Generator().manual_seed(0)), [], Coding.push
    monkeypatch.setattr(Coding, "push", lambda self, found, x: groups.append(len(x)) or push(self, found, x))
    _, written = roundtrip(tmp_path, model, images, precision=4)
    assert groups[0] == 1
    assert sum(groups) == 2000
    length, variance = exact_lengths(model, images, 4)
    nats = (written.bits - written.first_bits - 16 * len(groups)) * math.log(2)
    error = variance.sum().sqrt().item()  # of one draw of z for each image
    assert error < 0.005 * nats
    assert abs(nats - length.sum().item()) < 3 * error + 32 * math.log(2)


def test_bins_cost_nats_only_where_they_are_few(tmp_path, digits, mlp):
    """Each file draws its own z, whose noise is half a nat for so few images."""
    nats = {p: roundtrip(tmp_path, mlp, digits, precision=p)[1].nats for p in (2, 6, 10)}
    assert nats[2] > nats[10] + 5
    assert abs(nats[6] - nats[10]) < 2.5


def test_the_first_image_pays_for_its_latents(tmp_path, digits, mlp):
    _, one = roundtrip(tmp_path, mlp, digits[:1])
    _, many = roundtrip(tmp_path, mlp, digits)
    assert one.excess > 1
    assert many.excess < 0.06
    assert one.first_bits == many.first_bits
    assert "1 image," in str(one)
    assert "120 images," in str(many)


def test_twice_the_first_bits_where_they_do_not_suffice(tmp_path, monkeypatch):
    model, images, starts = random_model(), drawn(30), []

    class Poor(stack.Stack):
        def __init__(self, words, seal=False):
            starts.append(len(words))
            super().__init__(words, seal)

        ran_out = property(lambda self: len(starts) < 3 or super().ran_out)

    monkeypatch.setattr(files, "Stack", Poor)
    written = compress.write(tmp_path / "a.nats", model, images)
    assert starts == [4, 8, 16]
    assert written.first_bits == 8 * 61 + 32 * 17
    assert torch.equal(compress.read(tmp_path / "a.nats", model), images)
    monkeypatch.setattr(Poor, "ran_out", True)
    with pytest.raises(compress.CompressError, match="the stack ran out of bits"):
        compress.write(tmp_path / "b.nats", model, images)
    assert not (tmp_path / "b.nats").exists()


# A file from another machine: the model's weights are fractions of 16 that a rule gives, the images too.
GOLDEN = (
    "k1ZBRU5BVFMBCQADAAoAAAABAAAABAAAAAQAAAATy3pWRxE7pcKEO4Ss3OYeF4VT2zya89aW6tKQwFC4fodHH3yvPHbuS+zjFgLZ9vL+iHK9vFKK"
    "SWtaCmfqQIR3HgUAhXluJQM="
)


def ruled(likelihood="bernoulli"):
    model = random_model(models.ConvVAE, channels=(2,), latent_dim=2, likelihood=likelihood, image_shape=(1, 4, 4))
    with torch.no_grad():
        for step, weight in enumerate(model.parameters()):
            count = torch.arange(weight.numel(), dtype=torch.float32)
            weight.copy_(((7 * count + 3 * step) % 13 - 6).view_as(weight) / 16)
    return model


def ruled_images():
    return (torch.arange(10 * 16).view(10, 1, 4, 4) ** 2 % 7 < 3).float()


def test_a_file_of_another_machine_opens(tmp_path):
    content = base64.b64decode(GOLDEN)
    (tmp_path / "golden.nats").write_bytes(content)
    assert torch.equal(compress.read(tmp_path / "golden.nats", ruled()), ruled_images())
    compress.write(tmp_path / "anew.nats", ruled(), ruled_images(), precision=9)
    assert (tmp_path / "anew.nats").read_bytes() == content


# Bad input


def mended(content):
    """A damaged file whose own checksum is right, so that only the pixels' hash can tell."""
    start, end = files._HEADER.size, files._HEADER.size + files._DIGEST
    return content[:start] + hashlib.sha256(content[:start] + content[end:]).digest()[: end - start] + content[end:]


@pytest.fixture
def whole_file(tmp_path):
    model = random_model()
    compress.write(tmp_path / "whole.nats", model, drawn(40))
    return model, (tmp_path / "whole.nats").read_bytes(), tmp_path / "bad.nats"


@pytest.mark.parametrize("mend", [lambda content: content, mended])
def test_damaged_files_are_refused(mend, whole_file):
    model, content, path = whole_file
    draw = random.Random(0)
    bad = [content[:length] for length in (*range(0, 90), *range(90, len(content), 7))]
    for _ in range(60):
        place = draw.randrange(len(content))
        flipped = content[place] ^ 1 << draw.randrange(8)
        bad.append(content[:place] + bytes([flipped]) + content[place + 1 :])
    bad += [content + b"\0", content + bytes(4), content[:-4] + bytes(4), content[:100] + content[104:]]
    for damaged in map(mend, bad):
        if damaged == content:  # the flipped bit was the checksum's
            continue
        path.write_bytes(damaged)
        with pytest.raises(compress.CompressError, match=r"bad\.nats"):
            compress.read(path, model)


HEADERS = {
    "precision": (9, 3, "does not decode|another checksum"),
    "no such precision": (9, 200, "header does not make sense"),
    "bytes": (10, 1, "another checksum"),
    "neither bytes nor floats": (10, 2, "header does not make sense"),
    "first words": (11, 9, "another checksum"),
    "fewer images": (13, 39, "does not decode|another checksum"),
    "more images": (13, 41, "does not decode"),
    "no images": (13, 0, "does not decode"),
    "height": (21, 5, "another checksum"),
    "model": (30, 0, "written with another model: its checksum is [0-9a-f]{8}, this model's [0-9a-f]{8}"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_was_changed_is_refused(name, whole_file):
    model, content, path = whole_file
    place, value, message = HEADERS[name]
    path.write_bytes(mended(content[:place] + bytes([value]) + content[place + 1 :]))
    with pytest.raises(compress.CompressError, match=message):
        compress.read(path, model)


@pytest.mark.parametrize("count", [0, 6])
def test_a_group_that_cannot_be_is_refused(count):
    """Before anything is decoded: none would never end, and too many would fill the memory."""
    found = compress.Stack(np.arange(1, 300, dtype=np.uint32))
    found.push_uniform(np.array([count]), 16)
    with pytest.raises(compress.CompressError, match=f"a group of {count} images"):
        Coding(random_model(), 12, 5).pop(found, most=5)


def test_foreign_files_and_versions(whole_file, tmp_path):
    model, content, path = whole_file
    cases = {
        b"": "is not a file of vae_tutorial.compress",
        b"PK\x03\x04 and so on": "is not a file of vae_tutorial.compress",
        content[:8] + b"\x02" + content[9:]: "of another version of vae_tutorial.compress, or damaged; this reads 1",
        content[:50]: "damaged or cut short",
    }
    for foreign, message in cases.items():
        path.write_bytes(foreign)
        with pytest.raises(compress.CompressError, match=message):
            compress.read(path, model)
    for missing in (tmp_path / "none.nats", tmp_path):
        with pytest.raises(compress.CompressError, match="cannot read"):
            compress.read(missing, model)


def test_another_model_is_refused(whole_file, tmp_path):
    model, _, _ = whole_file
    nudged = random_model()
    with torch.no_grad():
        nudged.decoder.layers[2].bias[7] += 1e-3
    others = [random_model(seed=1), random_model(latent_dim=2), random_model(image_shape=(1, 5, 6)), nudged]
    for other in [*others, random_model(likelihood="discretized_logistic")]:
        with pytest.raises(compress.CompressError, match="written with another model"):
            compress.read(tmp_path / "whole.nats", other)
    model.encoder.layers[0].weight.data += 0  # nothing has changed
    assert torch.equal(compress.read(tmp_path / "whole.nats", model), drawn(40))


IMAGES = {
    "grey": (torch.full((2, *SMALL), 0.5), "images must be 0 and 1 for a Bernoulli likelihood"),
    "none": (torch.zeros(0, *SMALL), r"images must have shape \(B, 1, 6, 5\) with B >= 1"),
    "another shape": (torch.zeros(2, 1, 5, 6), "images must have shape"),
    "NaN": (torch.full((2, *SMALL), math.nan), "images ranges from nan"),
    "too large": (torch.full((2, *SMALL), 2.0), "images ranges from 2"),
    "bytes": (torch.full((2, *SMALL), 200, dtype=torch.uint8), "images has dtype torch.uint8"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_cannot_be_written(name, tmp_path):
    images, message = IMAGES[name]
    with pytest.raises(ValueError, match=message):
        compress.write(tmp_path / "a.nats", random_model(), images)
    assert not list(tmp_path.iterdir())


def test_grey_values_between_levels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="images must be grey levels, multiples of 1/255 or bytes"):
        compress.write(tmp_path / "a.nats", random_model(likelihood="discretized_logistic"), torch.rand(2, *SMALL))


def test_paths_and_options(tmp_path):
    model, images = random_model(), drawn(2)
    for path in (tmp_path, tmp_path / "no folder" / "a.nats"):
        with pytest.raises(ValueError, match="path must be the path of a file in a folder that exists"):
            compress.write(path, model, images)
    for option in ({"precision": 0}, {"precision": 15}, {"precision": 2.5}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
            compress.write(tmp_path / "a.nats", model, images, **option)
    with pytest.raises(ValueError, match="batch_size must be"):
        compress.read(tmp_path / "a.nats", model, batch_size=0)


def test_only_a_compressed_file_is_replaced(tmp_path):
    model, path = random_model(), tmp_path / "keep.safetensors"
    models.save(model, path)
    before = path.read_bytes()
    with pytest.raises(
        compress.CompressError, match=r"keep\.safetensors is not a file .* It is not overwritten: delete"
    ):
        compress.write(path, model, drawn(2))
    assert path.read_bytes() == before
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="path must be the path of an ordinary file"):
        compress.write(tmp_path / "pipe", model, drawn(2))
    (tmp_path / "empty").touch()
    for _ in range(2):
        compress.write(tmp_path / "empty", model, drawn(2))


def test_a_full_disk(tmp_path, monkeypatch):
    model, path = random_model(), tmp_path / "a.nats"
    compress.write(path, model, drawn(2))
    before = path.read_bytes()

    def half(self, content):
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    for target in (path, tmp_path / "b.nats"):
        with pytest.raises(compress.CompressError, match="No space left on device"):
            compress.write(target, model, drawn(9))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Louder(Decoder):
    def forward(self, z):
        return 2 * super().forward(z)


class Mixed(models.MLPVAE):
    pass


def with_decoder(decoder):
    model = by_layers(nn.ReLU())
    model.decoder = decoder
    return model


def with_weight(value):
    model = random_model()
    model.encoder.layers[0].weight.data[0, 0] = value
    return model


MODELS = {
    "Gaussian": (lambda: random_model(likelihood="gaussian"), "must give probabilities, not densities"),
    "autoencoder": (lambda: random_model(models.Autoencoder), "only models.VAE, MLPVAE and ConvVAE"),
    "subclass": (lambda: random_model(Mixed), "only models.VAE, MLPVAE and ConvVAE, whose prior is N"),
    "no layers": (lambda: with_decoder(nn.Linear(3, 30)), "the decoder must have layers"),
    "sigmoid": (lambda: by_layers(nn.Sigmoid()), "the encoder must be made of Linear, .*; it has Sigmoid"),
    "forward": (lambda: with_decoder(Louder(nn.ReLU())), "the model's decoder computes something else than its layers"),
    "NaN": (lambda: with_weight(math.nan), "the encoder has weights that are not finite"),
    "infinite": (lambda: with_weight(math.inf), "the encoder has weights that are not finite"),
    "huge": (lambda: with_weight(1e15), "the weights of the encoder are too large for exact sums"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be_coded(name, tmp_path):
    make, message = MODELS[name]
    with pytest.raises(compress.CompressError, match=message):
        compress.write(tmp_path / "a.nats", make(), drawn(3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, 3, groups=2),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.Conv2d(2, 4, 3, 1, 1, padding_mode="circular"),
    ],
)
def test_convolutions_that_cannot_be_coded(layer):
    network = nn.Module()
    network.layers = nn.Sequential(layer)
    with pytest.raises(
        compress.CompressError, match=r"the encoder must be made of|must be padded with a number of zeros"
    ):
        IntegerNetwork(network, "encoder", 1, 0)


def test_larger_weights_get_fewer_bits_so_that_no_sum_is_rounded():
    """The largest sum that any input can give, in Python's integers, is one that float64 holds."""
    for scale in (1, 300, 3000):
        model = random_model(hidden=(64, 64))
        with torch.no_grad():
            for layer in (0, 2, 4):
                model.decoder.layers[layer].weight.mul_(scale)
        network, bound = IntegerNetwork(model.decoder, "decoder", 8 << FRACTION, FRACTION), 8 << FRACTION
        for step in network.steps[::2]:
            weight, bias = (w.long().tolist() for w in step.wholes)
            largest = max(bound * sum(map(abs, row)) + abs(b) for row, b in zip(weight, bias, strict=True))
            assert largest < 2**53
            bound = min(largest >> step.shift, 1 << 28) + 1
        z = np.full((1, 3), 8 << FRACTION)
        assert np.abs(network(z, 1)).max() <= 1 << 28
        assert (network.steps[4].shift < 24) == (scale > 1)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
def test_a_gpu_writes_the_same_file(tmp_path, digits):
    for name in ("mlp", "conv"):
        model = pretrained.load(name)
        compress.write(tmp_path / "cpu.nats", model, digits)
        compress.write(tmp_path / "gpu.nats", model.cuda(), digits.cuda())
        assert (tmp_path / "cpu.nats").read_bytes() == (tmp_path / "gpu.nats").read_bytes()
        assert torch.equal(compress.read(tmp_path / "cpu.nats", model), digits)
