"""On a GPU: the CPU's numbers, trainings that go on elsewhere, no waiting. ``tools/gpu.py`` runs these tests.

VAE_TUTORIAL_TEST_DEVICE=cpu runs them without a GPU, which shows that they run, and no more.
"""

import copy
import itertools
import os
import warnings

import pytest
import torch
from test_devices import CALLS, generator, plain
from torch import Generator
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vae_tutorial import data, evaluation, likelihoods, models, objectives, pretrained, training

pytestmark = pytest.mark.cuda
# Apple's GPU has no float64, so that there the draws of split_kl are the CPU's.
CALLS = {**CALLS, "split_kl": lambda m, x, d: evaluation.split_kl(*m.encode(x), generator=generator(d))}
SMALL = {"latent_dim": 2, "image_shape": (1, 8, 8)}
MAKE = {"mlp": lambda **k: models.MLPVAE(hidden=(16,), **SMALL, **k), "conv": lambda **k: models.ConvVAE(**SMALL, **k)}
# What another order of float32 sums may change here in a few steps; float64 in its place changes less than 2e-5 nats.
NATS = 2e-3
WEIGHTS = 1e-5  # on the average; they move by some 3e-3
# On the GPUs that have it, cuDNN's convolutions use TensorFloat-32, of 10 bits, unless they are told not to.
SHIPPED_NATS = 0.1


@pytest.fixture(scope="module")
def device():
    wanted = os.environ.get("VAE_TUTORIAL_TEST_DEVICE")
    if wanted != "cpu" and not torch.cuda.is_available():
        (pytest.fail if wanted else pytest.skip)("PyTorch finds no CUDA device")
    return torch.device(wanted or "cuda")


@pytest.fixture
def images():
    """Grey, as bytes; half of the pixels are black, or Bernoulli would take them for photographs and refuse them."""
    pixels = torch.randint(0, 256, (150, 1, 8, 8), dtype=torch.uint8, generator=Generator().manual_seed(1))
    return pixels.masked_fill(pixels % 2 == 0, 0)


@pytest.fixture
def source(monkeypatch):
    """The generator of the CPU from which all draws now come, whatever the device, so that devices can be compared."""
    source = Generator()

    def from_source(function):
        def draw(*arguments, generator=None, device="cpu", **named):
            return function(*arguments, generator=source, **named).to(device)

        return draw

    for name in ("rand", "randn", "randint", "randperm"):
        monkeypatch.setattr(torch, name, from_source(getattr(torch, name)))
    return source.manual_seed(0)


def new(net="mlp", **settings):
    torch.manual_seed(0)
    return MAKE[net](**settings)


def fit(model, images, epochs=2, **settings):
    return training.fit(model, images, epochs=epochs, batch_size=40, progress=False, **settings)


def weights(model):
    return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])


def assert_agree(history, other, within):
    assert len(history) == len(other) > 0
    for name in set(history.rows[0]) - {"epoch", "seconds"}:
        assert history[name] == pytest.approx(other[name], abs=within), name


@pytest.mark.parametrize("name", CALLS)
def test_every_function_gives_the_numbers_of_the_cpu(name, device, source):
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=(1, 4, 4))
    x = torch.rand(12, 1, 4, 4).round()
    source.manual_seed(0)
    wanted = plain(CALLS[name](model, x, "cpu"))
    source.manual_seed(0)
    found = [part.cpu() for part in plain(CALLS[name](model.to(device), x.to(device), device))]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("kind", likelihoods.NAMES)
@pytest.mark.parametrize("net", MAKE)
def test_training_gives_the_numbers_of_the_cpu(net, kind, images, device, source, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    test = (images[:50] / 255).round()
    histories, trained = [], []
    for place in ("cpu", device):
        source.manual_seed(0)
        model = new(net, likelihood=kind).to(place)
        histories.append(fit(model, images, test=test, free_bits=0.01))
        assert next(model.parameters()).device.type == torch.device(place).type
        trained.append(weights(model))
    assert_agree(*histories, within=NATS)
    assert (trained[0] - trained[1]).abs().mean() < WEIGHTS
    assert (trained[0] - weights(new(net, likelihood=kind))).abs().mean() > 1e-3


@pytest.mark.parametrize("way", ["to the GPU", "from the GPU"])
def test_a_training_goes_on_on_the_other_device(way, images, device, source, tmp_path):
    """With all that a checkpoint holds: Adam's moments, an average of the weights, a schedule."""

    def begun(place):
        model = new().to(place)
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        more = {"average": average, "schedule": lambda optimizer: CosineAnnealingLR(optimizer, 3), "test": x}
        return model, more

    x, path = (images[:50] / 255).round(), tmp_path / "training.pt"
    model, more = begun("cpu")
    whole = fit(model, images, 3, **more)
    source.manual_seed(0)
    first, second = (torch.device("cpu"), device)[:: 1 if way == "to the GPU" else -1]
    other, more = begun(first)
    fit(other, images, 1, checkpoint=path, **more)
    other, more = begun(second)
    assert_agree(fit(other, images, 3, resume=path, **more), whole, within=NATS)
    assert next(other.parameters()).device.type == second.type
    assert (weights(other) - weights(model)).abs().mean() < WEIGHTS
    fresh = new().to(first)
    assert len(training.load_checkpoint(path, fresh)) == 1
    assert next(fresh.parameters()).device.type == first.type


@pytest.mark.parametrize("net", MAKE)
def test_the_same_seed_gives_the_same_bits_and_a_resumed_training_too(net, images, device, tmp_path):
    path, x = tmp_path / "training.pt", images[:50] / 255
    one, other, resumed = (new(net).to(device) for _ in range(3))
    whole = fit(one, images, 3, test=x)
    assert_agree(fit(other, images, 3, test=x), whole, within=0)
    fit(new(net).to(device), images, 1, test=x, checkpoint=path)
    assert_agree(fit(resumed, images, 3, test=x, resume=path), whole, within=0)
    assert torch.equal(weights(one), weights(other))
    assert torch.equal(weights(one), weights(resumed))


def test_dropout_is_seeded_and_the_global_generators_go_on(images, device):
    one, other = new().to(device), new().to(device)
    for model in (one, other):
        model.encoder.layers.append(torch.nn.Dropout(0.2))
    first = fit(one, images)
    torch.rand(5, device=device)  # as if something else had drawn in between
    state = torch.cuda.get_rng_state if device.type == "cuda" else torch.get_rng_state
    before = state()
    assert_agree(fit(other, images), first, within=0)
    assert torch.equal(state(), before)


def test_draws_of_the_device_are_draws_of_the_distribution(device):
    """Bytes become black and white with their probability; samples repeat with a generator of the device."""
    grey = torch.tensor([0, 1, 128, 254, 255], dtype=torch.uint8, device=device).expand(200_000, 5)
    on = data.binarize(grey, Generator(device).manual_seed(0)).mean(0).cpu()
    p = torch.tensor([0, 1, 128, 254, 255]) / 255
    assert ((on - p).abs() <= 5 * (p * (1 - p) / 200_000).sqrt()).all()
    for kind in likelihoods.NAMES:
        model = new(likelihood=kind).to(device)
        one, other = (model.sample(50, Generator(device).manual_seed(3)) for _ in range(2))
        assert one.device.type == device.type
        assert one.shape == (50, 1, 8, 8)
        assert torch.equal(one, other)
    assert model.sample(2).device.type == device.type


def test_log_marginal_finds_the_truth(device):
    """With the device's own draws: the refined proposal against the sum over a grid, on the CPU."""
    model = new()
    with torch.no_grad():
        model.decoder.layers[-1].weight *= 5
    x = model.sample(20, Generator().manual_seed(0))
    truth = evaluation.log_marginal_grid(model, x).value
    model, x = model.to(device), x.to(device)
    one, other = (
        evaluation.log_marginal(model, x, 500, Generator(device).manual_seed(0), proposal="refined") for _ in range(2)
    )
    assert torch.equal(one.value, other.value)
    assert (one.value.cpu() - truth).abs().mean() < 0.1
    assert (evaluation.log_marginal_grid(model, x).value.cpu() - truth).abs().max() < 0.01


def test_what_lies_on_another_device_is_refused(images, device):
    elsewhere = torch.device("cpu" if device.type == "cuda" else "meta")
    model, x = new().to(device), (images[:8] / 255).round().to(elsewhere)
    calls = {
        "x": (lambda: objectives.elbo(model, x), lambda: model.encode(x), lambda: model(x)),
        "images": (
            lambda: evaluation.encode(model, x),
            lambda: evaluation.rate_distortion(model, x),
            lambda: evaluation.log_marginal(model, x, 5),
            lambda: evaluation.log_marginal_grid(model, x, 20),
        ),
    }
    for name, refused in calls.items():
        for call in refused:
            with pytest.raises(ValueError, match=rf"^{name} is on {elsewhere}, the model on {device}.*\.to\("):
                call()
    if device.type == "cuda":
        here = x.to(device)
        with pytest.raises(ValueError, match=r"generator is on cpu, the model on cuda"):
            evaluation.log_marginal(model, here, 5, Generator())
        for call in (lambda: objectives.elbo(model, here, generator=Generator()), lambda: model.sample(2, Generator())):
            with pytest.raises(RuntimeError, match="generator"):
                call()


def test_the_means_are_complete_although_the_gpu_lags_behind(images, device, monkeypatch):
    """The sums of each batch are copied to pinned memory while the CPU goes on; at the end they must have arrived."""
    seen, terms = [], training.terms

    def slow(*arguments):
        found = terms(*arguments)
        if device.type == "cuda":
            torch.cuda._sleep(50_000_000)  # cycles: some 30 ms, in which the CPU runs ahead
        seen.append(found)
        return found

    model = new().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    monkeypatch.setattr(training, "terms", slow)
    reconstruction, kl = training.run_epoch(model, images.to(device), optimizer, batch_size=20)
    assert len(seen) == 8
    assert reconstruction == pytest.approx(torch.cat([part.reconstruction for part in seen]).mean().item(), rel=1e-5)
    assert kl == pytest.approx(torch.cat([part.kl for part in seen]).mean().item(), rel=1e-5)


@pytest.mark.parametrize("kind", likelihoods.NAMES)
def test_no_step_waits_for_the_gpu(kind, images, device):
    """PyTorch's own alarm warns of each operation that makes the CPU wait, such as ``item``."""
    model, there, waits = new(likelihood=kind).to(device), images.to(device), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for batch_size in (150, 150, 15):  # the first warms up
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("warn")
            try:
                training.run_epoch(model, there, optimizer, batch_size=batch_size)
            finally:
                if device.type == "cuda":
                    torch.cuda.set_sync_debug_mode("default")
        waits.append([str(warning.message) for warning in caught])
    assert len(waits[2]) == len(waits[1]), waits[2]  # once an epoch is not once a step


def test_a_loss_that_is_not_finite_stops_at_its_step(images, device):
    class Breaks(models.MLPVAE):
        def forward(self, x, samples=1, generator=None):
            parameters, mu, logvar = super().forward(x, samples, generator)
            return (parameters * float("nan") if next(calls) == 7 else parameters), mu, logvar

    calls = itertools.count(1)  # four batches an epoch
    torch.manual_seed(0)
    model = Breaks(hidden=(16,), **SMALL).to(device)
    whole = copy.deepcopy(model)
    fit(whole, images, 1)
    calls = itertools.count(1)
    with pytest.raises(training.TrainingDiverged, match=r"step 7 .*epoch 2") as stopped:
        fit(model, images, 5)
    assert stopped.value.step == 7
    assert len(stopped.value.history) == 1
    assert torch.equal(weights(model), weights(whole))


def test_images_and_shipped_models_come_to_the_device(device, source):
    here, there = data.load("digits", "test"), data.load("digits", "test", device=device)
    assert there.images.device.type == there.labels.device.type == device.type
    assert torch.equal(there.images.cpu(), here.images)
    x = data.test_binarization("digits", device=device)
    assert torch.equal(x.cpu(), data.test_binarization("digits"))
    for name in ("mlp", "conv"):
        source.manual_seed(0)
        wanted = evaluation.rate_distortion(pretrained.load(name), x.cpu())
        source.manual_seed(0)
        found = evaluation.rate_distortion(pretrained.load(name, device=device), x)
        assert torch.allclose(torch.stack(plain(found)), torch.stack(plain(wanted)), atol=SHIPPED_NATS)
