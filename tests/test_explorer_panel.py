"""The training panel: the button trains, runs are kept whatever happens, and without a kernel it says what it is."""

import threading

import ipywidgets
import pytest
import torch

from vae_tutorial import data, evaluation, models, training
from vae_tutorial.explorers import panel as module
from vae_tutorial.explorers.panel import TrainingPanel


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train").images[:512]


@pytest.fixture(scope="module")
def black_white():
    return data.test_binarization("digits")[:100]


@pytest.fixture
def panel(images, black_white):
    made = TrainingPanel(images, black_white, hidden=(16,))
    made.epochs.value = 2
    return made


def test_a_run(panel, black_white):
    panel.beta.value, panel.latent_dim.value = 2.0, 3
    before = torch.random.get_rng_state()
    run = panel.train()
    assert panel.runs == [run]
    assert set(run) == {"beta", "epochs", "latent_dim", "history", "rate", "distortion"}
    assert (run["beta"], run["epochs"], run["latent_dim"]) == (2.0, 2, 3)
    assert isinstance(run["history"], training.History)
    assert run["rate"] == run["history"]["test_kl"][-1] > 0
    assert run["distortion"] == -run["history"]["test_reconstruction"][-1] > 0
    assert torch.equal(torch.random.get_rng_state(), before)  # the notebook's own random numbers are left alone
    assert panel.progress.value == 1
    assert not panel.button.disabled
    assert panel.message.value.startswith("Run 1 is over")


def test_it_is_training_fit_with_that_beta(panel, images, black_white):
    panel.beta.value = 5.0
    run = panel.train()
    torch.manual_seed(0)
    model = models.MLPVAE(10, (16,))
    history = training.fit(model, images, epochs=2, beta=5.0, test=black_white, progress=False)
    for key in ("elbo", "reconstruction", "kl"):
        assert run["history"][key] == history[key]  # to the bit
        assert run["history"][f"test_{key}"] == pytest.approx(history[f"test_{key}"], rel=1e-6)
    assert set(run["history"].rows[0]) == set(history.rows[0])
    parts = evaluation.rate_distortion(model, black_white, samples=200, generator=torch.Generator().manual_seed(7))
    assert run["rate"] == pytest.approx(parts.rate.value, rel=1e-4)
    assert run["distortion"] == pytest.approx(parts.distortion.value, rel=0.02)


def test_the_notebook_draws_undisturbed(panel, monkeypatch):
    """Draws of the notebook's own while the panel's thread makes its model."""
    made, inside, drawn = models.MLPVAE, threading.Event(), threading.Event()

    def slow(*values):
        model = made(*values)
        inside.set()
        assert drawn.wait(30)
        return model

    monkeypatch.setattr(models, "MLPVAE", slow)
    torch.manual_seed(3)
    wanted = torch.rand(6)
    torch.manual_seed(3)
    found = [torch.rand(2)]
    thread = threading.Thread(target=panel.train)
    thread.start()
    assert inside.wait(30)
    found.append(torch.rand(2))
    drawn.set()
    thread.join(30)
    found.append(torch.rand(2))
    assert torch.equal(torch.cat(found), wanted)
    assert len(panel.runs) == 1


def test_a_control_is_not_replaced_by_a_number(panel):
    with pytest.raises(AttributeError, match=r"set panel\.beta\.value"):
        panel.beta = 2.0
    with pytest.raises(AttributeError, match="has no 'epoch' to set; it has beta, epochs, latent_dim and runs"):
        panel.epoch = 3
    panel.runs = []
    panel.layout.width = "50%"
    assert panel.train()["beta"] == 1.0


def test_what_people_have_for_images(panel, images, black_white):
    panel.epochs.value = 1
    wanted = panel.train()["history"]["kl"]
    for some in (images.numpy(), data.Images(images, None, "digits", "train"), list(images)):
        other = TrainingPanel(some, black_white.numpy(), hidden=(16,))
        other.epochs.value = 1
        assert other.train()["history"]["kl"] == wanted


def test_what_moves_is_the_history(panel, monkeypatch):
    def rows(live):
        return [] if live is None else list(live.rows)

    drawn, told = [], []
    picture = module._picture
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(
        module, "_picture", lambda runs, live, beta: (drawn.append(rows(live)), picture(runs, live, beta))[1]
    )
    panel.message.observe(lambda change: told.append(change["new"]), "value")
    panel.epochs.value = 3
    history = panel.train()["history"]
    assert [len(live) for live in drawn] == [1, 2, 0]  # while it learns, and at the end
    assert drawn[1] == history.rows[:2]
    assert [text.partition(",")[0] for text in told[1:-1]] == [f"Epoch {n} of 3" for n in (1, 2, 3)]


def test_button_and_second_press(panel, monkeypatch):
    run_epoch, entered, go = training.run_epoch, threading.Event(), threading.Event()

    def slow(*values, **named):
        entered.set()
        assert go.wait(30)
        return run_epoch(*values, **named)

    monkeypatch.setattr(training, "run_epoch", slow)
    panel.button.click()
    assert entered.wait(30)
    assert panel.button.disabled
    assert not panel.halt.disabled
    assert panel.train() is None  # a second press, which came before the button was seen to be off
    assert "did not start another" in panel.message.value
    go.set()
    for _ in range(300):
        if panel.runs and not panel.button.disabled:
            break
        threading.Event().wait(0.1)
    assert len(panel.runs) == 1
    assert panel.train() is not None  # and then again
    assert len(panel.runs) == 2


def test_stop(panel):
    panel.epochs.value = 40
    panel.message.observe(lambda change: panel.halt.click() if change["new"].startswith("Epoch 3") else None, "value")
    run = panel.train()
    assert run["epochs"] == len(run["history"]) == 2
    assert "stopped after 2 of 40 epochs" in panel.message.value
    panel.message.unobserve_all()
    panel.message.observe(lambda change: panel.halt.click() if change["new"].startswith("Epoch 1") else None, "value")
    assert panel.train() is None
    assert "nothing is kept" in panel.message.value
    assert len(panel.runs) == 1


def test_ctrl_c_keeps_the_whole_epochs(panel, monkeypatch):
    run_epoch, calls = training.run_epoch, []

    def interrupted(*values, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_epoch(*values, **named)

    monkeypatch.setattr(training, "run_epoch", interrupted)
    panel.epochs.value = 5
    assert panel.train()["epochs"] == 2
    assert "stopped after 2 of 5 epochs" in panel.message.value


def test_errors_keep_the_runs(panel, images, monkeypatch):
    panel.train()
    kept = list(panel.runs)
    shown = panel.view.value
    good, panel._images = panel._images, images[:, :, :20]
    assert panel.train() is None
    assert "ValueError: images must have shape (B, 1, 28, 28)" in panel.message.value
    panel._images = images.double() * 3
    assert panel.train() is None
    assert "ValueError" in panel.message.value
    panel._images = good

    def diverge(*values, **named):
        raise training.TrainingDiverged("the loss was not finite at step 3 <of> 9", 3)

    with monkeypatch.context() as patched:
        patched.setattr(training, "run_epoch", diverge)
        assert panel.train() is None
        assert "TrainingDiverged: the loss was not finite at step 3 &lt;of&gt; 9" in panel.message.value
    assert panel.runs == kept
    assert panel.view.value.partition("<table")[2] == shown.partition("<table")[2]
    assert not panel.button.disabled
    assert panel.halt.disabled
    assert panel.train() is not None
    assert len(panel.runs) == 2


def test_picture_and_table(panel):
    assert panel.view.value == ""
    panel.train()
    panel.beta.value = 0.1
    panel.train()
    shown = panel.view.value
    assert shown.startswith('<img alt="2 runs: reconstruction and KL over the epochs')
    assert shown.count('<th scope="row">') == 2
    for run in panel.runs:
        assert f"<td>{run['rate']:.2f}</td><td>{run['distortion']:.2f}</td>" in shown


def test_default_images(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name, split: data.Images(torch.zeros(12_000, 1), None, "mnist", split))
    monkeypatch.setattr(data, "test_binarization", lambda name: torch.ones(10_000, 1))
    made = TrainingPanel()
    assert [len(part) for part in made._data()] == [10_000, 1000]
    assert made._note == ""
    monkeypatch.setattr(data, "load", lambda name, split: data.Images(torch.zeros(1438, 1), None, "digits", split))
    made = TrainingPanel()
    made._data()
    assert made._note == "MNIST is not here: these are 1,438 digits of scikit-learn."


@pytest.mark.skipif(ipywidgets.__version__ < "8", reason="ipywidgets 7 display themselves, with a kernel only")
def test_without_a_kernel():
    bundle = TrainingPanel()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == "TrainingPanel()"
    assert "needs a running kernel" in bundle["text/html"]
    assert bundle["text/html"] == TrainingPanel()._repr_mimebundle_()["text/html"]


def test_in_colab_the_widget_is_left_to_colab(monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert "text/html" not in TrainingPanel()._repr_mimebundle_()


def test_every_control_has_a_name():
    made = TrainingPanel()
    assert [control.description for control in made.children[:3]] == ["beta", "epochs", "latent size"]
    assert (made.beta.min, made.beta.max) == (-1, pytest.approx(1.3))  # powers of ten: 0.1 to 20
    assert made.beta.value == 1
    assert [button.description for button in (made.button, made.halt)] == ["Train", "Stop"]
