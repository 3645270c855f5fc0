"""``examine``: run all gauges on a VAE, leave it as it was, and report."""

from __future__ import annotations

import contextlib
import importlib
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from vae_tutorial import _checks
from vae_tutorial.checkup.form import form_of
from vae_tutorial.checkup.gauge import GAUGES
from vae_tutorial.checkup.nats import means
from vae_tutorial.checkup.reading import read
from vae_tutorial.checkup.report import Found, Report, sorted_by_sureness
from vae_tutorial.checkup.subject import CheckupError, NotTested, latent_of
from vae_tutorial.checkup.weights import seeded
from vae_tutorial.exercises._run import seeds_kept, told

__all__ = ["examine"]

for _family in ("losses", "noise", "decoders", "codes", "steps"):  # each lists its gauges, in this order
    importlib.import_module(f"vae_tutorial.checkup.{_family}")

_SEED = 190_919  # no seed that somebody drew the images with: their noise and ours would be the same
_FAMILIES = {"bce": "binary cross-entropy of probabilities", "logits": "binary cross-entropy of logits"}
_FAMILIES |= {
    "squares": "squared error",
    "absolute": "absolute error",
    "pair": "a Gaussian with a variance for each pixel",
}


def examine(
    model=None,
    images: Tensor | None = None,
    *,
    encode: Callable | None = None,
    decode: Callable | None = None,
    loss: Callable | None = None,
    reparameterize: Callable | None = None,
    forward: Callable | None = None,
    sample: Callable | None = None,
    evaluate: Callable | None = None,
    beta: float | Callable[[float], float] = 1.0,
    lr: float | None = None,
    optimizer: Callable = torch.optim.Adam,
    trained: bool | None = None,
    likelihood: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Report:
    """Examine a VAE by all gauges, and return a :class:`Report`. The VAE is left as it was, weights, mode and all.

    Give a ``model`` of this package; or an ``nn.Module`` and its ``loss``. The module has methods ``encode`` and
    ``decode``; or its ``forward`` returns output, mu and logvar (or a standard deviation), and z if you like: a tuple,
    a dict, an object with the usual names, or with a Gaussian of ``torch.distributions``. Or give functions:

    - ``encode``: x to (mu, logvar); ``decode``: z to logits or means, or a pair of mean and log-variance of pixels;
    - ``loss``: (output, x, mu, logvar) to one number, in this order unless its arguments have the usual names. A
      fifth argument ``beta`` gets the weight of the KL. So is a loss of (all that ``forward`` returns, x) taken; a loss
      of x alone is, too, but shows less;
    - ``reparameterize``: (mu, logvar) to z. Without it, and without a model's ``forward``, the noise is not tested;
    - ``forward``: x to (output, mu, logvar), where a training does more than these;
    - ``sample``: a number n to n images. ``evaluate``: x to the number that you report, in nats an image.

    ``images``: at least 16, as ``encode`` takes them, bytes divided by 255; a few hundred will do. Without them
    scikit-learn's digits, 28 x 28, stand in, and what was learned is not examined. ``beta``: the weight of the KL that
    you mean, or a function of the training's progress, from 0 to 1; ``lr``, ``optimizer``: for the gauge of the
    learning rate; ``trained``: whether the weights are, where it cannot be seen; ``likelihood``: its name, where it
    cannot be seen. Raises CheckupError, a ValueError, for what cannot be examined. Takes seconds.
    """
    start = time.perf_counter()
    schedule = beta if callable(beta) else None
    rest = {"beta": _checks.amount("beta", schedule(1.0) if schedule else beta), "schedule": schedule}
    if rest["beta"] == 0:
        raise CheckupError("beta is 0: without a KL it is an autoencoder (chapter 7), and there is nothing to examine")
    rest |= {"lr": None if lr is None else _checks.amount("lr", lr), "optimizer": optimizer, "likelihood": likelihood}
    rest |= {"declared_trained": trained, "sample": sample, "evaluate": evaluate, "stand_in": images is None}
    with seeds_kept(), warnings.catch_warnings(), torch.inference_mode(False):
        warnings.simplefilter("ignore")
        seeded(_SEED + seed)
        subject = read(model, images, encode, decode, loss, reparameterize, forward, **rest)
        found, silent, not_tested = [], [], {}
        with subject.weights.kept():
            for key, gauge in GAUGES.items():
                seeded(_SEED + seed)
                try:
                    findings = [Found.of(key, finding) for finding in gauge.look(subject)]
                except NotTested as reason:
                    not_tested[key] = str(reason)
                    continue
                except Exception as error:  # a gauge that cannot cope says so, and the others go on
                    not_tested[key] = f"the gauge failed. {told(error)}"
                    continue
                found += findings
                if not any(not one.fault.note for one in findings):
                    silent.append(key)
            facts, seen = _facts(subject), _seen(subject)
    notes = tuple(one for one in found if one.fault.note)
    name = name or (type(model).__name__ if model is not None else "Your VAE")
    faults = sorted_by_sureness([one for one in found if not one.fault.note])
    return Report(name, facts, faults, notes, tuple(silent), not_tested, time.perf_counter() - start, seen)


def _facts(subject):
    """How the VAE was read, a few words each: what a reader can see to be wrong."""
    shape = tuple(subject.images.shape[1:])
    facts = [
        f"{len(subject.images):,} images of {shape}, {latent_of(subject)} latent dimensions, {subject.weights.says()}"
    ]
    with contextlib.suppress(NotTested):
        form = form_of(subject)
        family = "the package's own likelihood" if form.family == "own" else _FAMILIES.get(form.family or "")
        over = {0.0: "summed over the batch", -1.0: "averaged over the batch"}.get(form.rec_batch)
        parts = [family or "a reconstruction that was not recognized", over]
        parts += [f"the KL reads a {form.convention}" if form.convention else "a KL that was not recognized"]
        facts.append(", ".join(part for part in parts if part))
    with contextlib.suppress(NotTested):
        facts.append("trained" if subject.trained else "not trained yet")
    return tuple(facts + subject.memo.get("facts", []))


def _seen(subject):
    """What the picture shows: images and their reconstructions, codes, the KL of each unit."""
    x = subject.batch(8)
    seen = {"shape": subject.shape, "images": x.flatten(1), "units": subject.memo.get("units")}
    seen["codes"] = subject.memo.get("codes")
    with contextlib.suppress(Exception), torch.no_grad(), subject.weights.mode(False):
        mu, _ = subject.encode(x)
        seen["reconstructions"] = means(subject, subject.decode(mu))
        seen["samples"] = means(subject, subject.decode(torch.randn_like(mu)))
    return seen
