"""Gauges of what was learned: units that carry nats, the aggregate posterior, samples, modes, landmarks."""

from __future__ import annotations

import torch

from vae_tutorial import evaluation
from vae_tutorial.checkup.gauge import LIKELY, Finding, gauge
from vae_tutorial.checkup.nats import deviation, means
from vae_tutorial.checkup.subject import NotTested, intercepted, latent_of
from vae_tutorial.information import gaussian_kl

_MANY = 512  # images
_OTHERS = 8  # images that another's reconstruction is taken from


def codes_of(subject):
    """mu and standard deviations of up to 512 images, ``(N, Z)`` each, in evaluation mode."""
    if "codes" not in subject.memo:
        with torch.no_grad(), subject.weights.mode(False):
            parts = [subject.encode(x) for x in subject.batch(_MANY).split(128)]
        mu, second = (torch.cat(column).flatten(1).double() for column in zip(*parts, strict=True))
        subject.memo["codes"] = mu, deviation(subject, second).expand_as(mu)
    return subject.memo["codes"]


@gauge("the KL of each unit, and how many are active")
def units(subject):
    subject.needs_training()
    mu, s = codes_of(subject)
    kl, active = evaluation.unit_kl(mu, 2 * s.log()), evaluation.active_units(mu)
    subject.memo["units"] = kl.tolist(), active.tolist()
    if not active.any():
        yield Finding("collapse", f"None of {len(kl)} units varies with the image; the KL is {kl.sum():.2g} nats.")


@gauge("the reconstructions: is an image nearer to its own than to another's")
def mean_image(subject):
    subject.needs_training()
    x = subject.batch(256)
    with torch.no_grad(), subject.weights.mode(False):
        pictures = means(subject, subject.forward(x).output)
    x, n = x.flatten(1), len(x)
    own = (x - pictures).square().sum(1)
    others = sum((x - pictures.roll(k, 0)).square().sum(1) for k in range(1, _OTHERS + 1)) / _OTHERS
    gain, error = (others - own).mean().item(), (others - own).std().item() / n**0.5
    if gain < 4 * error:
        share = [100 * v / (x - x.mean(0)).square().sum(1).mean().item() for v in (gain, error)]
        says = f"An image is nearer to its own reconstruction than to another's by {share[0]:.2f} ± {share[1]:.2f} % "
        yield Finding("mean_image", says + "of the variance: all reconstructions are one picture.")


@gauge("the aggregate posterior against the prior, by mean and spread of each unit")
def aggregate(subject):
    subject.needs_training()
    mu, s = codes_of(subject)
    variance, mean = mu.var(0) + s.square().mean(0), mu.mean(0)
    far = gaussian_kl(mean.unsqueeze(-1), variance.log().unsqueeze(-1))
    worst = int(far.argmax())
    rate = gaussian_kl(mu, 2 * s.log()).mean()
    displaced = far.max() > 0.5 and far.sum() > 0.6 * rate
    wide = far.sum() > 5 and variance.max() > 1.8**2
    if displaced or wide:
        says = f"{100 * far.sum() / rate:.0f} % of the KL is what all codes together are away from the prior: unit "
        says += f"{worst + 1} has mean {mean[worst]:.2f} and standard deviation {variance[worst].sqrt():.2f}."
        yield Finding("aggregate_far", says, LIKELY)


@gauge("samples: from the prior that was trained with")
def prior_samples(subject):
    if subject.sample is None:
        raise NotTested("give sample=, a function from a number n to n images")
    seen = []

    def spied(z, *rest, **named):
        seen.append(z)
        return original(z, *rest, **named)

    original = subject.memo.get("raw_decode", subject.decode)
    with torch.no_grad(), subject.weights.mode(False), intercepted(original, spied, subject.sample):
        subject.sample(256)
    if not seen:
        raise NotTested("sample never called decode, so its z could not be seen")
    z = torch.cat([part.reshape(-1, latent_of(subject)) for part in seen]).double()
    mean, spread = z.mean(0).abs().max().item(), z.std(0)
    kurtosis = ((z - z.mean()) / z.std()).pow(4).mean().item()
    n = len(z)
    wide = [v.item() for v in (spread.min(), spread.max())]
    if mean > 6 / n**0.5 or wide[0] < 1 - 6 / (2 * n) ** 0.5 or wide[1] > 1 + 6 / (2 * n) ** 0.5:
        says = f"sample draws z with standard deviations {wide[0]:.2f} to {wide[1]:.2f} and means up to {mean:.2f}."
        yield Finding("wrong_prior", says)
    elif abs(kurtosis - 3) > 0.6:
        yield Finding("wrong_prior", f"sample draws z with kurtosis {kurtosis:.2f}; the prior's is 3.")


@gauge("training mode against evaluation mode")
def modes(subject):
    layers = subject.weights.has(torch.nn.modules.batchnorm._NormBase, torch.nn.modules.dropout._DropoutNd)
    if not layers:
        return  # the two modes are one, which the gauge "bound" has looked at
    subject.needs_training()
    x = subject.batch(256)
    losses = {}
    for training in (True, False):
        with torch.no_grad(), subject.weights.mode(training), subject.weights.kept():
            losses[training] = [subject.total(x).item() for _ in range(3)]
    train, test = (sum(losses[mode]) / 3 for mode in (True, False))
    scatter = max(max(values) - min(values) for values in losses.values())
    if test - train > 0.1 * abs(train) + 2 * scatter:
        kinds = ", ".join(sorted({type(layer).__name__ for layer in layers}))
        says = f"The same images cost {train:.4g} in training mode and {test:.4g} in evaluation mode ({kinds})."
        yield Finding("eval_differs", says)
