"""A panel that trains a VAE at the reader's beta, and keeps the result of each run (chapter 12). It needs a kernel."""

import base64
import contextlib
import html
import io
import math
import sys
import threading
import time

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure  # not pyplot, which belongs to the notebook's own thread
from matplotlib.ticker import MaxNLocator
from torch.overrides import TorchFunctionMode

from vae_tutorial import _checks, _modes, data, evaluation, models, training
from vae_tutorial.plotting import COLORS

__all__ = ["TrainingPanel"]

_WITHOUT_A_KERNEL = (
    '<div class="vx" role="note"><p><strong>This panel needs a running kernel.</strong> Choose beta, the number of '
    "epochs and the size of the latent space, and press Train: reconstruction and KL move while it learns, and each "
    "run becomes a point in the plane of rate and distortion. To use it, open this chapter in JupyterLab or Colab and "
    "run this cell.</p></div>"
)


class TrainingPanel(widgets.VBox):
    """Sliders for beta, epochs and latent size, a button that trains, and a picture of this run and the earlier ones.

    ``images``: uint8 ``(N, 1, 28, 28)``, by default the first 10,000 of MNIST's training set, so that an epoch takes
    about half a second. ``test``: black and white, float ``(N, 1, 28, 28)``, by default the first 1,000 of the ledger's
    test binarization. ``hidden``: widths of the layers. All runs begin from one seed.

    ``runs``: what was trained, one dict a run: ``beta``, ``epochs``, ``latent_dim``, ``history`` (a
    ``training.History``), and after the last epoch, on ``test``, ``rate`` and ``distortion`` in nats per image.

    A run is the loop of ``training.fit`` with that beta, and its numbers are those of ``fit``.
    """

    def __init__(self, images=None, test=None, hidden=(200,)):
        wide = {"style": {"description_width": "7em"}, "layout": widgets.Layout(width="min(30em, 100%)")}
        self.beta = widgets.FloatLogSlider(
            value=1.0, base=10, min=-1, max=1.3, step=0.1, readout_format=".2f", description="beta", **wide
        )
        self.epochs = widgets.IntSlider(value=10, min=1, max=40, description="epochs", **wide)
        self.latent_dim = widgets.IntSlider(value=10, min=1, max=50, description="latent size", **wide)
        self.button = widgets.Button(description="Train", button_style="primary", tooltip="Train a VAE at this beta")
        self.halt = widgets.Button(description="Stop", disabled=True, tooltip="Stop after the last whole epoch")
        self.progress = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="min(30em, 100%)"))
        self.message = widgets.HTML("Nothing has been trained yet.")
        self.view = widgets.HTML()
        self._images, self._test, self._hidden = images, test, hidden
        self._note, self._busy, self._stopped = "", threading.Lock(), threading.Event()
        # A thread leaves the kernel free: a click during a training is handled at once, not after it.
        self.button.on_click(lambda _: threading.Thread(target=self.train, daemon=True).start())
        self.halt.on_click(lambda _: self._stopped.set())
        buttons = widgets.HBox([self.button, self.halt])
        sliders = [self.beta, self.epochs, self.latent_dim]
        super().__init__([*sliders, buttons, self.progress, self.message, self.view])
        self.runs = []

    def __setattr__(self, name, value):
        if isinstance(self.__dict__.get(name), widgets.Widget):
            raise AttributeError(f"{name} is a control of the panel: set panel.{name}.value")
        if "runs" in self.__dict__ and name != "runs" and name[0] != "_" and not hasattr(type(self), name):
            raise AttributeError(f"TrainingPanel has no {name!r} to set; it has beta, epochs, latent_dim and runs")
        super().__setattr__(name, value)

    def __repr__(self):
        return "TrainingPanel()"

    def _repr_mimebundle_(self, **named):
        # Colab has ipywidgets 7, which display themselves in another way and have no such method.
        bundle = getattr(super(), "_repr_mimebundle_", lambda **_: {})(**named)
        if "google.colab" not in sys.modules:  # Colab would show the HTML, not the widget
            bundle["text/html"] = _WITHOUT_A_KERNEL
        return bundle

    def train(self):
        """Do what the button does, and return the run when it is over; None where it failed or one is under way.

        What goes wrong is said in ``message``; the earlier runs stay. Ctrl-C and Stop end it after the last whole
        epoch, which counts as a run of so many epochs.
        """
        if not self._busy.acquire(blocking=False):
            self.message.value = "A training is under way; this press did not start another."
            return None
        try:
            self._stopped.clear()
            self.button.disabled, self.halt.disabled = True, False
            return self._train(self.beta.value, self.epochs.value, self.latent_dim.value)
        except Exception as error:  # whatever it is: the reader sees it here, and the earlier runs stay
            self._draw()
            self.message.value = f"<b>Nothing was trained.</b> {html.escape(f'{type(error).__name__}: {error}')}"
            return None
        finally:
            self.button.disabled, self.halt.disabled = False, True
            self._busy.release()

    def _train(self, beta, epochs, latent_dim):
        start = drawn = time.perf_counter()
        self.message.value, self.progress.value = "Loading the images.", 0.0
        images, test = self._data()
        with _Drawn(torch.Generator().manual_seed(0)):
            model = models.MLPVAE(latent_dim, self._hidden)
        images, test = _checks.images(images, model, "images", keep_bytes=True), _checks.images(test, model, "test")
        optimizer, generator = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True), torch.Generator()
        history = training.History()
        with contextlib.suppress(KeyboardInterrupt):  # the completed epochs are kept
            for epoch in range(1, epochs + 1):
                self.message.value = f"Epoch {epoch} of {epochs}, beta {beta:.3g}. {self._note}"
                if self._stopped.is_set():
                    break
                generator.manual_seed(1_000_003 * (epoch - 1))  # the seeds of training.fit
                history.rows.append(_epoch(epoch, model, images, test, optimizer, beta, generator))
                self.progress.value = epoch / epochs
                if epoch < epochs and time.perf_counter() > drawn + 1:  # a drawing takes a third of a second
                    self._draw(history, beta)
                    drawn = time.perf_counter()
        if not len(history):
            self._draw()
            self.message.value = "Stopped before the first epoch was over: nothing is kept."
            return None
        rate, distortion = history["test_kl"][-1], -history["test_reconstruction"][-1]
        if not math.isfinite(rate + distortion):
            raise ArithmeticError("rate and distortion on the test images are not finite: the training has diverged")
        run = {"beta": beta, "epochs": len(history), "latent_dim": latent_dim, "history": history}
        run |= {"rate": rate, "distortion": distortion}
        self.runs.append(run)
        self.progress.value = 1.0
        cut = "" if len(history) == epochs else f", stopped after {len(history)} of {epochs} epochs"
        self._draw()
        self.message.value = f"Run {len(self.runs)} is over{cut}: {time.perf_counter() - start:.1f} s. {self._note}"
        return run

    def _data(self):
        if self._images is None:
            loaded = data.load("mnist", "train")
            self._images = loaded.images[:10_000]
            if loaded.name != "mnist":
                self._note = f"MNIST is not here: these are {len(self._images):,} digits of scikit-learn."
        if self._test is None:
            self._test = data.test_binarization("mnist")[:1000]
        return self._images, self._test

    def _draw(self, live=None, beta=None):
        self.view.value = _picture(self.runs, live, beta) + _table(self.runs) if self.runs or live else ""


class _Drawn(TorchFunctionMode):
    """Draws layers' first weights from ``generator``: torch's global one belongs to the notebook.

    Holds in this thread alone. For the same seed the weights are those that torch.manual_seed would give.
    """

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("kaiming_uniform_", "uniform_", "normal_"):
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)


def _epoch(number, model, images, test, optimizer, beta, generator):
    """Train for one epoch and measure; return the row of the history."""
    start = time.perf_counter()
    with _modes.training(model):
        reconstruction, kl = training.run_epoch(model, images, optimizer, beta=beta, generator=generator)
    row = {"epoch": number, "elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    row["seconds"] = time.perf_counter() - start
    # The same noise after each epoch, as in training.fit: what changes is the model.
    with torch.no_grad():
        parts = evaluation.rate_distortion(model, test, generator=torch.Generator().manual_seed(0))
    rate, distortion = parts.rate.value, parts.distortion.value
    return row | {"test_elbo": -rate - distortion, "test_reconstruction": -distortion, "test_kl": rate}


def _picture(runs, live, beta):
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    axes = figure.subplot_mosaic("rp;kp", width_ratios=[1, 1.15])
    histories = [run["history"] for run in runs] + ([live] if live else [])
    shown = [(history["test_reconstruction"], history["test_kl"]) for history in histories]
    for number, columns in enumerate(shown, 1):
        last = number == len(shown)
        width, alpha, marker = (2.2, 1.0, ".") if last else (1.0, 0.5, "")
        for name, column, color in zip("rk", columns, ("reconstruction", "kl"), strict=True):
            steps = range(1, len(column) + 1)
            axes[name].plot(steps, column, color=COLORS[color], linewidth=width, alpha=alpha, marker=marker)
            axes[name].annotate(str(number), (len(column), column[-1]), (4, 0), textcoords="offset points", va="center")
    for name, label in (("r", "reconstruction"), ("k", "KL")):
        axes[name].set_ylabel(f"{label}, nats")
        axes[name].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes["k"].set_xlabel("epoch")
    plane, points = axes["p"], [(columns[1][-1], -columns[0][-1]) for columns in shown]
    middle = sum(rate for rate, _ in points) / len(points)
    for number, (rate, distortion) in enumerate(points, 1):
        under_way = live and number == len(points)
        face = "white" if under_way else COLORS["p"]
        plane.plot(rate, distortion, "o", color=COLORS["p"], markerfacecolor=face, markersize=7)
        label = f"{number}: beta {beta if under_way else runs[number - 1]['beta']:.2g}"
        place, side = ((-6, 6), "right") if rate > middle else ((6, 6), "left")
        plane.annotate(label, (rate, distortion), xytext=place, ha=side, textcoords="offset points")
    plane.set(xlabel="rate, nats", ylabel="distortion, nats", title="along a dotted line the ELBO is the same")
    plane.margins(0.25)
    low, high = plane.get_xlim(), plane.get_ylim()
    for step in range(-8, 9):  # one through the last point
        total = sum(points[-1]) + step * (high[1] - low[0] - high[0] + low[1]) / 8
        plane.plot(low, [total - rate for rate in low], ":", color="#777777", linewidth=0.9, zorder=0)
    plane.set(xlim=low, ylim=high)
    for ax in axes.values():
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(stream := io.BytesIO(), format="png", dpi=110, facecolor="white")
    alt = f"{len(points)} runs: reconstruction and KL over the epochs, and their points of rate and distortion."
    return (
        f'<img alt="{alt} The numbers stand in the table below." style="max-width: 100%" '
        f'src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'
    )


def _table(runs):
    if not runs:
        return ""
    rows = ""
    for number, run in enumerate(runs, 1):
        elbo = f"{-run['rate'] - run['distortion']:.2f}".replace("-", "−")
        cells = [f"{run['beta']:.3g}", run["latent_dim"], run["epochs"], f"{run['rate']:.2f}"]
        cells += [f"{run['distortion']:.2f}", elbo]
        rows += f'<tr><th scope="row">{number}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    heads = ("run", "beta", "latent size", "epochs", "rate", "distortion", "ELBO")
    head = "".join(f'<th scope="col" style="padding: 0 0.7em">{name}</th>' for name in heads)
    caption = "Nats per image, on the test images, after the last epoch"
    return f'<table style="text-align: right"><caption>{caption}</caption><tr>{head}</tr>{rows}</table>'
