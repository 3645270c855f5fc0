"""Training and evaluation mode, dropout's seed, gradients that were switched off, and a second call of fit."""

import copy
import threading

import pytest
import torch
from torch import nn

from vae_tutorial import data, evaluation, models, objectives, training


@pytest.fixture(scope="module")
def images():
    return data.load("digits").images[:200]


class Encoder(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), *layers, nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x):
        return self.layers(x).chunk(2, dim=-1)


def own(*layers, seed=0):
    torch.manual_seed(seed)
    return models.VAE(Encoder(*layers), models.MLPDecoder(2, (16,)), 2)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_test_images_change_nothing(images):
    """Batch norm once updated its running statistics on the test images: measuring changed the model."""
    plain, measured = own(nn.BatchNorm1d(16)), own(nn.BatchNorm1d(16))
    training.fit(plain, images, epochs=2, progress=False)
    training.fit(measured, images, epochs=2, test=images[:50], progress=False)
    assert same(state(plain), state(measured))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(16), nn.Dropout(0.5)], ids=["batch norm", "dropout"])
def test_the_test_columns_are_those_of_evaluation_mode(images, layer):
    model, test = own(layer), data.test_binarization("digits")[:50]
    history = training.fit(model, images, epochs=2, test=test, progress=False)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        expected = objectives.elbo(model.eval(), test, generator=generator).elbo.mean().item()
    assert history["test_elbo"][-1] == pytest.approx(expected, abs=1e-3)


def test_sampling_changes_nothing_and_draws_without_dropout(images):
    model = own()
    model.decoder = nn.Sequential(nn.Linear(2, 784), nn.BatchNorm1d(784), nn.Dropout(0.5), nn.Unflatten(1, (1, 28, 28)))
    before = state(model)
    one, other = (model.sample(8, torch.Generator().manual_seed(0)) for _ in range(2))
    assert same(state(model), before)
    assert torch.equal(one, other)
    assert model.decoder.training


def test_within_autocast_each_step_sees_the_weights_as_they_are(images):
    """PyTorch keeps converted weights until the outermost autocast ends: the training went on from the first ones."""
    found, test = [], data.test_binarization("digits")[:50]
    for kept in (True, False):
        model = own()
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=kept):
            found.append(training.fit(model, images, epochs=4, test=test, progress=False).rows)
    for one, other in zip(*found, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


MEASURES = {
    "encode": lambda model, x: evaluation.encode(model, x)[0],
    "rate_distortion": lambda model, x: evaluation.rate_distortion(model, x, generator=seeded(model)).rate.value,
    "log_marginal": lambda model, x: evaluation.log_marginal(model, x, 5, seeded(model)).value,
    "refined": lambda model, x: evaluation.log_marginal(model, x, 5, seeded(model), proposal="refined", steps=2).value,
    "grid": lambda model, x: evaluation.log_marginal_grid(model, x, points=9).value,
    "annealed": lambda model, x: (
        evaluation.log_marginal_annealed(model, x, temperatures=2, chains=2, generator=seeded(model)).value
    ),
}


def seeded(_):
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measuring_is_in_evaluation_mode_and_puts_modes_back(images, measure):
    model = own(nn.BatchNorm1d(16), nn.Dropout(0.5))
    training.fit(model, images, epochs=1, progress=False)
    x = data.test_binarization("digits")[:6]
    model.train()
    model.encoder.layers[2].eval()  # a frozen layer stays frozen
    modes, before = [module.training for module in model.modules()], state(model)
    found = torch.as_tensor(measure(model, x))
    assert [module.training for module in model.modules()] == modes
    assert same(before, state(model))
    assert torch.equal(found, torch.as_tensor(measure(model.eval(), x)))


def test_the_code_of_an_image_does_not_depend_on_its_neighbours(images):
    model = own(nn.BatchNorm1d(16))
    training.fit(model, images, epochs=1, progress=False)
    assert torch.allclose(evaluation.encode(model, images[:1])[0], evaluation.encode(model, images)[0][:1], atol=1e-5)


def test_training_is_in_training_mode_whatever_the_model_was_in(images):
    found = []
    for prepare in (lambda m: m.train(), lambda m: m.eval()):
        model = prepare(own(nn.BatchNorm1d(16), nn.Dropout(0.2)))
        was = model.training
        training.fit(model, images, epochs=2, progress=False)
        assert model.training is was
        found.append(state(model))
    assert same(*found)
    assert found[0]["encoder.layers.2.running_mean"].abs().max() > 0


def test_the_mode_is_put_back_after_an_error(images):
    model = own(nn.BatchNorm1d(16)).eval()
    with pytest.raises(training.TrainingDiverged):
        training.fit(model, images, epochs=50, lr=1e12, progress=False)
    assert not model.training
    assert not model.encoder.training


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), Noise(), nn.RReLU()], ids=["dropout", "own noise", "rrelu"])
def test_the_seed_covers_layers_that_draw_and_the_global_generator_is_put_back(images, layer):
    found = []
    for ambient, seed in ((1, 0), (2, 0), (1, 5)):
        model = own(layer)
        torch.manual_seed(ambient)
        before = torch.get_rng_state()
        training.fit(model, images, epochs=2, seed=seed, progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(state(model))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_dropout_resumes_to_the_same_bits(images, tmp_path):
    whole, cut = own(nn.Dropout(0.5)), own(nn.Dropout(0.5))
    training.fit(whole, images, epochs=4, progress=False)
    training.fit(cut, images, epochs=2, checkpoint=tmp_path / "c.pt", progress=False)
    again = own(nn.Dropout(0.5), seed=3)
    training.fit(again, images, epochs=4, resume=tmp_path / "c.pt", progress=False)
    assert same(state(whole), state(again))


def test_a_training_in_a_thread_leaves_the_draws_of_others_alone(images):
    torch.manual_seed(0)
    expected = torch.rand(2000)
    model = models.MLPVAE(2, (16,))
    torch.manual_seed(0)
    thread = threading.Thread(target=lambda: training.fit(model, images, epochs=5, progress=False))
    thread.start()
    drawn = torch.cat([torch.rand(1) for _ in range(2000)])
    thread.join()
    assert torch.equal(drawn, expected)


# A second call goes on: it repeats no draw of the first.


def test_one_epoch_at_a_time_draws_what_one_call_draws(images):
    """60 calls of one epoch once repeated one order, binarization and noise: 40 nats worse on test images."""
    seen = {"once": [], "one at a time": []}
    for name, calls in (("once", [3]), ("one at a time", [1, 1, 1])):
        model = own()
        model.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0]))
        for epochs in calls:
            training.fit(model, images, epochs=epochs, batch_size=50, progress=False)
    assert len(seen["once"]) == 12
    assert all(torch.equal(a, b) for a, b in zip(*seen.values(), strict=True))
    assert not torch.equal(seen["once"][0], seen["once"][4])


def test_a_second_call_after_ctrl_c_a_checkpoint_or_a_copy(images, tmp_path):
    def first_batch(model):
        seen = []
        hook = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        training.fit(model, images, epochs=1, batch_size=50, progress=False)
        hook.remove()
        return seen[0]

    whole = own()
    training.fit(whole, images, epochs=2, progress=False, checkpoint=tmp_path / "c.pt")
    expected = first_batch(copy.deepcopy(whole))
    assert torch.equal(first_batch(whole), expected)
    loaded = own()
    training.load_checkpoint(tmp_path / "c.pt", loaded)
    assert torch.equal(first_batch(loaded), expected)

    stopped = own()

    def interrupt(progress):
        if progress >= 0.5:
            raise KeyboardInterrupt
        return 1.0

    assert len(training.fit(stopped, images, epochs=4, beta=interrupt, progress=False)) == 2
    assert torch.equal(first_batch(stopped), expected)
    assert not torch.equal(first_batch(own()), expected)


def test_a_second_call_resumes_to_the_same_bits(images, tmp_path):
    def twice(model, epochs, **arguments):
        training.fit(model, images, epochs=2, progress=False)
        training.fit(model, images, epochs=epochs, progress=False, **arguments)
        return state(model)

    whole = twice(own(), 3)
    twice(own(), 1, checkpoint=tmp_path / "c.pt")
    again = own(seed=8)
    training.fit(again, images, epochs=3, resume=tmp_path / "c.pt", progress=False)
    assert same(whole, state(again))


# Gradients


def test_fit_trains_where_gradients_are_switched_off(images):
    expected = own()
    training.fit(expected, images, epochs=1, progress=False)
    for switched_off in (torch.no_grad(), torch.inference_mode()):
        model = own()
        with switched_off:
            training.fit(model, images, epochs=1, progress=False)
        assert same(state(model), state(expected))


def test_a_frozen_model_is_refused(images):
    model = own().requires_grad_(False)
    with pytest.raises(ValueError, match=r"no weight to train: requires_grad is False for all; .*requires_grad_\(\)"):
        training.fit(model, images, epochs=1)
    model.decoder.requires_grad_()
    encoder = state(model.encoder)
    training.fit(model, images, epochs=1, progress=False)
    assert same(encoder, state(model.encoder))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"average": own()}, TypeError, "average must be a torch.optim.swa_utils.AveragedModel; got a VAE"),
        (
            {"average": torch.optim.swa_utils.AveragedModel(models.MLPVAE(3, (16,)))},
            ValueError,
            "average must be an average of this model",
        ),
        ({"schedule": torch.optim.lr_scheduler.ReduceLROnPlateau}, ValueError, r"takes no argument; .*'metrics'"),
    ],
)
def test_average_and_schedule_that_cannot_work_are_refused_before_the_first_epoch(images, arguments, error, message):
    model = own()
    before = state(model)
    with pytest.raises(error, match=message):
        training.fit(model, images, epochs=1, **arguments)
    assert same(before, state(model))


def test_run_epoch_is_an_epoch_of_fit(images):
    fitted, by_hand = own(), own()
    history = training.fit(fitted, images, epochs=2, beta=0.5, progress=False)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-3, fused=True)
    for epoch in range(2):
        generator = torch.Generator().manual_seed(1_000_003 * epoch)
        reconstruction, kl = training.run_epoch(by_hand, images, optimizer, beta=0.5, generator=generator)
        assert reconstruction == history["reconstruction"][epoch]
        assert kl == history["kl"][epoch]
    assert same(state(fitted), state(by_hand))


def test_the_best_device_is_cuda_or_the_cpu(monkeypatch):
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert training.best_device().type == expected
