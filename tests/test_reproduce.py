"""Published rows, trained again: the recipe against one written out by hand; stopping, resuming, measuring, telling."""

import itertools
import json
import math

import pytest
import torch
from torch import distributions as D
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vae_tutorial import cli, data, evaluation, models, reproduce, training


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").images[:600]


def by_hand(*widths):
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = by_hand(784, 200, 200, 100)

    def forward(self, x):
        mu, logvar = self.layers(x.flatten(1)).chunk(2, dim=-1)
        return mu, logvar


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = by_hand(50, 200, 200, 784)

    def forward(self, z):
        return self.layers(z).unflatten(-1, (1, 28, 28))


def network_by_hand():
    torch.manual_seed(0)
    return models.VAE(Encoder(), Decoder(), 50)


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_network_is_the_papers():
    state = torch.get_rng_state()
    model = reproduce.network()
    assert torch.equal(state, torch.get_rng_state())  # the caller's generator is untouched
    assert same_weights(model, network_by_hand())
    x, z = torch.rand(4, 1, 28, 28), 3 * torch.randn(4, 50)
    for a, b in zip(model.encode(x), network_by_hand().encode(x), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():  # another way to compute tanh
        torch.testing.assert_close(model.decode(z), network_by_hand().decode(z), atol=3e-6, rtol=0)
    assert not same_weights(reproduce.network(1), model)


def test_the_vae_row_is_the_recipe(digits, tmp_path):
    history = reproduce.train("vae", digits, tmp_path / "vae.pt", epochs=2, progress=False)
    model = network_by_hand()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9995))
    wanted = training.fit(
        model,
        digits,
        epochs=2,
        batch_size=200,
        lr=2e-3,
        schedule=lambda optimizer: CosineAnnealingLR(optimizer, 2),
        average=average,
        progress=False,
    )
    assert history["elbo"] == wanted["elbo"]
    trained = reproduce.load("vae", tmp_path / "vae.pt")
    assert same_weights(trained.model, average.module)
    assert trained[2:] == (2, 600, "plain")
    assert not trained.model.training


def test_an_iwae_row_is_the_recipe_written_out(digits, tmp_path):
    history = reproduce.train("iwae5", digits, tmp_path / "iwae5.pt", epochs=2, progress=False)
    model = network_by_hand()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9995))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 + math.cos(math.pi * epoch / 2)) / 2
        generator, total = torch.Generator().manual_seed(1_000_003 * epoch), 0.0
        for chosen in torch.randperm(600, generator=generator).split(200):
            x = data.binarize(digits[chosen], generator)
            mu, logvar = model.encode(x)
            q = D.Normal(mu, torch.exp(0.5 * logvar))
            z = mu + q.scale * torch.randn(5, 200, 50, generator=generator)
            log_w = D.Bernoulli(logits=model.decode(z)).log_prob(x).sum((-3, -2, -1))
            log_w = log_w + (D.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
            bound = log_w.exp().mean(0).log() if log_w.max() > -80 else torch.logsumexp(log_w, 0) - math.log(5)
            optimizer.zero_grad()
            (-bound.mean()).backward()
            optimizer.step()
            average.update_parameters(model)
            total += bound.sum().item()
        assert history["bound"][epoch] == pytest.approx(total / 600, rel=1e-5)
    trained = reproduce.load("iwae5", tmp_path / "iwae5.pt").model
    for ours, theirs in zip(trained.parameters(), average.module.parameters(), strict=True):
        off = (ours - theirs).abs()  # Adam turns the rounding of a gradient near 0 into a step of any size up to lr
        assert off.mean() < 1e-6
        assert off.max() < 4e-3


@pytest.mark.parametrize("gradient", ["plain", "dreg"])
def test_stopped_and_resumed_to_the_same_numbers(digits, tmp_path, gradient, monkeypatch):
    def train(name, epochs=4):
        return reproduce.train("iwae5", digits, tmp_path / name, epochs=epochs, gradient=gradient, progress=False)

    whole, bound, calls = train("whole.pt"), reproduce.bound, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:  # in the third of four epochs of three steps
            raise KeyboardInterrupt
        return bound(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(reproduce, "bound", interrupted)
        assert len(train("cut.pt")) == 2
    assert reproduce.load("iwae5", tmp_path / "cut.pt")[2:] == (4, 600, gradient)
    resumed = train("cut.pt")
    assert resumed["bound"] == whole["bound"]
    assert same_weights(*(reproduce.load("iwae5", tmp_path / f"{name}.pt").model for name in ("whole", "cut")))
    assert whole["bound"][-1] > whole["bound"][0] + 20


def test_the_gradient_is_the_one_that_is_asked_for(digits, tmp_path):
    bounds = [
        reproduce.train("iwae5", digits, tmp_path / f"{g}.pt", epochs=1, gradient=g, progress=False)["bound"]
        for g in ("plain", "dreg")
    ]
    assert bounds[0] != bounds[1]  # the first batch is the same, the second meets other weights
    with pytest.raises(ValueError, match="gradient must be 'plain' or 'dreg'; got 'best'"):
        reproduce.train("iwae5", digits, tmp_path / "new.pt", epochs=1, gradient="best", progress=False)
    assert not (tmp_path / "new.pt").exists()


def test_another_training_is_not_resumed(digits, tmp_path):
    named = {"epochs": 1, "progress": False}
    reproduce.train("iwae5", digits, tmp_path / "a.pt", **named)
    for others, message in [
        ({"gradient": "dreg"}, "gradient = plain, not dreg"),
        ({"epochs": 2}, "schedule = "),
    ]:
        with pytest.raises(ValueError, match=message):
            reproduce.train("iwae5", digits, tmp_path / "a.pt", **named | others)
    with pytest.raises(ValueError, match="samples = 5, not 50"):
        reproduce.train("iwae50", digits, tmp_path / "a.pt", **named)
    with pytest.raises(ValueError, match=r"images = 600 of .* not 500 of"):
        reproduce.train("iwae5", digits[:500], tmp_path / "a.pt", **named)
    with pytest.raises(training.CheckpointError, match=r"a.pt is of another row: its samples are 5"):
        reproduce.load("vae", tmp_path / "a.pt")
    with pytest.raises(training.CheckpointError, match=r"there is no checkpoint"):
        reproduce.load("vae", tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes(b"no checkpoint")
    with pytest.raises(training.CheckpointError, match=r"c.pt is damaged"):
        reproduce.train("vae", digits, tmp_path / "c.pt", **named)
    for call in (reproduce.train, reproduce.load):
        with pytest.raises(ValueError, match="row must be one of 'vae', 'iwae5', 'iwae50'; got 'iwae1'"):
            call(*("iwae1", digits, tmp_path / "a.pt") if call is reproduce.train else ("iwae1", tmp_path / "a.pt"))


def test_a_training_that_diverges_keeps_its_last_good_state(digits, tmp_path, monkeypatch):
    reproduce.train("iwae5", digits, tmp_path / "a.pt", epochs=1, progress=False)
    before = (tmp_path / "a.pt").read_bytes()
    bound = reproduce.bound
    monkeypatch.setattr(reproduce, "bound", lambda *a: bound(*a) * math.inf)
    with pytest.raises(training.TrainingDiverged, match="the loss was not finite in epoch 1") as caught:
        reproduce.train("iwae5", digits, tmp_path / "b.pt", epochs=1, progress=False)
    assert len(caught.value.history) == 0
    assert not (tmp_path / "b.pt").exists()
    assert (tmp_path / "a.pt").read_bytes() == before


def test_measuring_is_importance_sampling_with_the_encoders_q():
    torch.manual_seed(0)
    model, test = reproduce.network(), (torch.rand(6, 1, 28, 28) < 0.3).float()
    found = reproduce.measure(model, test, 400, progress=False)
    with torch.no_grad():  # written out
        mu, logvar = model.encode(test)
        q = D.Normal(mu, torch.exp(0.5 * logvar))
        z = q.sample((20_000,))
        log_w = (D.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
        for part in torch.arange(len(z)).split(1000):
            log_w[part] += D.Bernoulli(logits=model.decode(z[part])).log_prob(test).sum((-3, -2, -1))
        # The mean of the bound for 400 draws, from 50 of them.
        wanted = (log_w.view(50, 400, 6).logsumexp(1) - math.log(400)).mean(1)
    assert abs(found.log_p.value - wanted.mean()) < 4 * wanted.std()
    assert found.log_p.samples == 400
    assert found.active_units == int((mu.var(0) > 0.01).sum())
    assert found.images == 6
    assert found.seconds > 0
    again = evaluation.log_marginal(model, test, 400, torch.Generator().manual_seed(0)).summary()
    assert found.log_p == again


@pytest.fixture
def small_mnist(monkeypatch, digits):
    """scikit-learn's digits under MNIST's name, since a test cannot wait for MNIST."""
    test = data.test_binarization("digits")
    monkeypatch.setattr(data, "load", lambda *_, **__: data.Images(digits, torch.zeros(600).long(), "mnist", "train"))
    monkeypatch.setattr(data, "test_binarization", lambda *_, **__: test)


def test_the_command_trains_stops_measures_and_tells(small_mnist, tmp_path, capsys):
    command = ["reproduce", "burda2016", "--row", "iwae5", "--out", str(tmp_path / "new"), "--samples", "20"]
    command += ["--device", "cpu", "--epochs", "1"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path}/new/iwae5.pt: from nothing, cpu" in said.replace("\\", "/")
    for part in (
        "theirs    85.54             22\n",
        "600 images, 1 passes, batches of 200",
        "objective: 5 draws, plain gradient",
        "A TRIAL on a part of the images",
        "20 draws of q(z | x)",
    ):
        assert part in said
    written = json.loads((tmp_path / "new" / "iwae5.json").read_text("utf-8"))
    assert f"ours      {written['values']['nats']:.2f} ± {written['values']['stderr']:.2f}" in said
    assert 150 < written["values"]["nats"] < 560
    assert written["protocol"] in said
    assert written["values"]["epochs"] == len(written["values"]["curve"]) == 1
    assert cli.main(command) == 0  # nothing left to train
    again = capsys.readouterr().out
    assert "going on" in again
    assert f"{written['values']['nats']:.2f}" in again
    assert cli.main([*command, "--evaluate", "--limit", "50"]) == 0
    assert "over 50 test images" in capsys.readouterr().out


def test_the_command_after_ctrl_c(small_mnist, tmp_path, capsys, monkeypatch):
    keep = reproduce.checkpoints.State.keep

    def interrupted(self, row):
        keep(self, row)
        raise KeyboardInterrupt

    command = ["reproduce", "burda2016", "--row", "vae", "--out", str(tmp_path), "--epochs", "3", "--samples", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(reproduce.checkpoints.State, "keep", interrupted)
        assert cli.main(command) == 130
    assert "stopped after 1 of 3 passes; the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "vae.json").exists()
    assert cli.main([*command, "--evaluate"]) == 0
    assert "NOT FINISHED: 1 of 3 passes" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert "NOT FINISHED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "epochs must be a whole number of at least 1; got 0"),
        (["--samples", "1"], "--samples must be a whole number of at least 2; got 1"),
        (["--limit", "1"], "--limit must be a whole number of at least 2; got 1"),
        (["--evaluate"], "there is no checkpoint"),
        (["--gradient", "dreg", "--row", "vae"], "--gradient is of an IWAE's encoder; --row vae has none"),
    ],
)
def test_mistakes_are_told_in_one_line(options, message, small_mnist, tmp_path, capsys):
    assert cli.main(["reproduce", "burda2016", "--row", "iwae5", "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


def test_without_mnist_there_is_no_stand_in(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data._download, "ensure", lambda *_: (_ for _ in ()).throw(data._download.Unavailable("gone")))
    assert cli.main(["reproduce", "burda2016", "--row", "vae", "--out", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert "gone" in capsys.readouterr().err
