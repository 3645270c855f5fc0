"""The training loop: what it computes, that it repeats, and how it stops."""

import itertools

import pytest
import torch

from vae_tutorial import data, models, objectives, training


@pytest.fixture(scope="module")
def images():
    return data.load("digits").images[:300]


def new_model(seed=0):
    torch.manual_seed(seed)
    return models.MLPVAE(latent_dim=4, hidden=(32,))


ANOTHER = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), 1)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_learns_and_writes_history(images):
    model = new_model()
    test = data.test_binarization("digits")[:100]
    history = training.fit(model, images, epochs=15, batch_size=64, lr=3e-3, test=test, progress=False)
    assert len(history) == 15
    assert history["epoch"] == list(range(1, 16))
    assert history["test_elbo"][-1] > history["test_elbo"][0] + 100
    frame = history.to_frame()
    assert list(frame.columns[:3]) == ["elbo", "reconstruction", "kl"]
    assert (frame["elbo"] - (frame["reconstruction"] - frame["kl"])).abs().max() < 1e-9
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        parts = objectives.elbo(model, test, generator=generator)
    assert history["test_elbo"][-1] == pytest.approx(parts.elbo.mean().item(), abs=1e-3)
    assert history["test_kl"][-1] == pytest.approx(parts.kl.mean().item(), abs=1e-3)


def test_is_the_textbook_loop(images):
    """The same numbers as the loop that a student would write, on images that are not binarized anew."""
    x = images.float() / 255
    ours, theirs = new_model(), new_model()
    training.fit(ours, x, epochs=2, batch_size=128, lr=1e-3, beta=2.0, seed=7, progress=False)
    generator = torch.Generator()
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    for epoch in range(2):
        generator.manual_seed(7 + 1_000_003 * epoch)  # each epoch has its seed
        for chosen in torch.randperm(len(x), generator=generator).split(128):
            loss = -objectives.elbo(theirs, x[chosen], beta=2.0, generator=generator).elbo.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert torch.allclose(weights(ours), weights(theirs), atol=1e-6)
    assert not torch.allclose(weights(ours), weights(new_model()), atol=1e-3)


def test_the_same_seed_gives_the_same_weights_and_touches_no_global_state(images):
    runs = []
    for seed in (1, 1, 2):
        model = new_model()
        before = torch.get_rng_state()
        training.fit(model, images, epochs=2, seed=seed, progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        runs.append(weights(model))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_bytes_are_binarized_anew(images):
    """Two epochs on bytes see different draws; the mean of the draws is the grey image."""
    seen = []

    class Spy(models.MLPVAE):
        def forward(self, x, *arguments):
            seen.append(x)
            return super().forward(x, *arguments)

    training.fit(Spy(latent_dim=2, hidden=(4,)), images[:1], epochs=200, progress=False)
    seen = torch.stack(seen)
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    assert (seen.mean((0, 1)) - images[0] / 255).abs().max() < 0.15
    assert seen.std(0).max() > 0.4


def test_a_set_smaller_than_the_batch(images):
    history = training.fit(new_model(), images[:10], epochs=1, batch_size=128, progress=False)
    assert len(history) == 1


def test_divergence_stops_at_once_with_the_last_good_weights(images):
    """From the third epoch on the decoder answers NaN in the second of its three batches."""

    class Breaks(models.MLPVAE):
        calls = 0

        def decode(self, z):
            self.calls += 1
            if self.calls == 8:
                saved.append(self.calls)
            return super().decode(z) * (float("nan") if self.calls == 8 else 1.0)

    saved = []
    torch.manual_seed(0)
    model = Breaks(latent_dim=4, hidden=(32,))
    with pytest.raises(training.TrainingDiverged, match=r"not finite at step 8 \(epoch 3\).*end of epoch 2") as caught:
        training.fit(model, images, epochs=100, batch_size=128, progress=False)
    assert model.calls == 8  # no ninth batch was tried
    assert caught.value.step == 8
    assert len(caught.value.history) == 2
    healthy = new_model()
    training.fit(healthy, images, epochs=2, batch_size=128, progress=False)
    assert torch.equal(weights(model), weights(healthy))


def test_an_absurd_learning_rate_leaves_finite_weights(images):
    model = new_model()
    with pytest.raises(training.TrainingDiverged, match="A smaller lr"):
        training.fit(model, images, epochs=50, lr=1e12, progress=False)
    assert weights(model).isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": torch.zeros(5, 784, dtype=torch.uint8)},
            r"images must have shape \(B, 1, 28, 28\) with B >= 1; got \(5, 784\); unflatten them: images.reshape",
        ),
        ({"images": torch.zeros(0, 1, 28, 28, dtype=torch.uint8)}, r"got \(0, 1, 28, 28\)"),
        ({"images": torch.full((5, 1, 28, 28), 255.0)}, "images ranges from 255 to 255"),
        ({"test": torch.full((5, 1, 28, 28), -1.0)}, "test ranges from -1"),
        ({"epochs": 2.5}, r"epochs must be a whole number of at least 1; got 2\.5"),
        ({"free_bits": -0.1}, "free_bits must be a number of at least 0"),
        ({"beta": lambda progress: progress - 1}, r"beta\(progress\) must be a number of at least 0; got -1"),
        ({"checkpoint": "no/such/folder/a.pt"}, "checkpoint must be the path of a file in a folder that exists"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"lr": -1.0}, r"lr must be a number of at least 0; got -1\.0"),
        ({"lr": float("inf")}, "lr must be a number of at least 0; got inf"),
        ({"beta": float("nan")}, "beta must be a number of at least 0; got nan"),
    ],
)
def test_bad_input(images, change, message):
    arguments = {"images": images, "epochs": 1, "progress": False} | change
    with pytest.raises(ValueError, match=message):
        training.fit(new_model(), arguments.pop("images"), **arguments)


def test_an_autoencoder_is_trained_by_the_same_loop(images):
    torch.manual_seed(0)
    model = models.Autoencoder(latent_dim=4, hidden=(32,))
    history = training.fit(model, images, epochs=10, lr=3e-3, test=images[:50], progress=False)
    assert history["kl"] == [0.0] * 10 == history["test_kl"]
    assert history["test_reconstruction"][-1] > history["test_reconstruction"][0] + 100


@pytest.mark.parametrize("likelihood", ["continuous_bernoulli", "gaussian_shared", "discretized_logistic"])
def test_grey_likelihoods_see_grey_pixels(images, likelihood):
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=4, hidden=(32,), likelihood=likelihood)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    history = training.fit(model, images, epochs=5, progress=False)
    assert len(torch.cat(seen).unique()) > 100
    assert history["elbo"][-1] > history["elbo"][0]


def test_beta_follows_the_progress_of_the_training(images):
    progress = []

    def beta(t):
        progress.append(t)
        return min(1, 5 * t)

    training.fit(new_model(), images, epochs=4, batch_size=100, beta=beta, progress=False)
    assert progress == pytest.approx([k / 12 for k in range(12)])


def test_a_constant_function_is_a_number(images):
    one, other = new_model(), new_model()
    training.fit(one, images, epochs=2, beta=0.5, progress=False)
    training.fit(other, images, epochs=2, beta=lambda _: 0.5, progress=False)
    assert torch.equal(weights(one), weights(other))


def test_free_bits_keep_units_awake(images):
    """At beta = 20 all units fall asleep; with a free nat each, every one keeps about a nat."""
    kl = {}
    for free_bits in (0.0, 1.0):
        model = new_model()
        history = training.fit(model, images, epochs=20, lr=3e-3, beta=20.0, free_bits=free_bits, progress=False)
        kl[free_bits] = history["kl"][-1]
    assert kl[0.0] < 1
    assert 3 < kl[1.0] < 6  # four units


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ("cosine", TypeError, "schedule must be a function of the optimizer, such as lambda .*; got 'cosine'"),
        (lambda _: None, TypeError, "schedule must return a scheduler of .*; it returned None"),
        (lambda _: ANOTHER, ValueError, "schedule must make its scheduler from the optimizer that it is given"),
    ],
)
def test_a_schedule_that_would_change_nothing_is_refused(images, schedule, error, message):
    with pytest.raises(error, match=message):
        training.fit(new_model(), images, epochs=1, schedule=schedule, progress=False)


def test_the_schedule_is_pytorchs(images):
    rates = []

    def schedule(optimizer):
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return scheduler

    training.fit(new_model(), images, epochs=3, batch_size=300, schedule=schedule, progress=False)
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5])


def test_averaged_weights_are_the_average_and_are_measured(images):
    model = new_model()
    average = torch.optim.swa_utils.AveragedModel(model)
    seen = []

    class Watch(torch.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [group["lr"] for group in self.optimizer.param_groups]

        def step(self, *arguments):
            seen.append(weights(model).clone())
            super().step(*arguments)

    test = data.test_binarization("digits")[:50]
    history = training.fit(
        model, images, epochs=4, batch_size=300, schedule=Watch, average=average, test=test, progress=False
    )
    expected = torch.stack(seen[1:]).mean(0)  # one step an epoch; the first is the scheduler's own beginning
    assert torch.allclose(weights(average.module), expected, atol=1e-7)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        measured = objectives.elbo(average.module, test, generator=generator).elbo.mean().item()
    assert history["test_elbo"][-1] == pytest.approx(measured, abs=1e-3)


def test_a_tables_units_are_those_of_its_first_training_data():
    """For the model and for an average of it; a second training keeps them, since the weights belong to them."""
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50.0, 0.1]) + 7
    torch.manual_seed(0)
    model = models.MLPVAE(image_shape=(3,), latent_dim=2, hidden=(8,), likelihood="gaussian_learned")
    average = torch.optim.swa_utils.AveragedModel(model)
    history = training.fit(model, x, epochs=3, average=average, test=x, progress=False)
    for table in (model, average.module):
        assert torch.allclose(table.likelihood.shift, x.mean(0), rtol=1e-4)
        assert torch.allclose(table.likelihood.scale, x.std(0, correction=0), rtol=1e-4)
    assert history["test_elbo"][-1] > history["test_elbo"][0]
    training.fit(model, 2 * x, epochs=1, progress=False)
    assert torch.allclose(model.likelihood.shift, x.mean(0), rtol=1e-4)


@pytest.mark.parametrize("moment", ["in the loss", "in the measuring"])
def test_ctrl_c_returns_what_is_done(images, moment):
    class Interrupted(models.MLPVAE):
        def forward(self, x, *arguments):
            if next(calls) == (8 if moment == "in the loss" else 11):
                raise KeyboardInterrupt
            return super().forward(x, *arguments)

    calls = itertools.count(1)  # three batches and one test batch an epoch
    torch.manual_seed(0)
    model = Interrupted(latent_dim=4, hidden=(32,))
    history = training.fit(model, images, epochs=100, test=images[:10], progress=False)
    assert len(history) == (1 if moment == "in the loss" else 2)
    healthy = new_model()
    training.fit(healthy, images, epochs=len(history), progress=False)
    assert torch.equal(weights(model), weights(healthy))


def test_the_bar_shows_only_where_it_may(images, capfd, monkeypatch):
    training.fit(new_model(), images[:10], epochs=1)
    assert capfd.readouterr().err == ""
    monkeypatch.delenv("TQDM_DISABLE")
    training.fit(new_model(), images[:10], epochs=1)
    assert capfd.readouterr().err == ""  # stderr is no terminal here
