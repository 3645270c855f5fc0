"""Gauges of the loss: its unit, its KL, its numbers."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checkup.form import BATCH, CONVENTIONS, form_of, probe_of
from vae_tutorial.checkup.gauge import LIKELY, PERHAPS, Finding, gauge
from vae_tutorial.checkup.nats import per_image
from vae_tutorial.checkup.pairing import aligned, crossed, ignored, paired, repeated
from vae_tutorial.checkup.spread import off_centre_of, spreads_of
from vae_tutorial.checkup.subject import NotTested, latent_of, number, parts_of
from vae_tutorial.exercises.losses import judge

_NORMALIZED = {"bce", "logits", "own", "pair"}
_JUDGED = {"bce": "bce", "logits": "bce", "squares": "mse", "Bernoulli": "bernoulli"}
_JUDGED |= {"ContinuousBernoulli": "continuous_bernoulli", "DiscretizedLogistic": "discretized_logistic"}
# What exercises.first_loss may say that no sound VAE gives. A factor below 2 is left out: new weights of some other
# scale, as behind batch norm, give it too. So is a sign: a learned variance makes squared errors negative.
_FIRST = {"mean_pixels", "mean_pixels_sum_kl", "divided_twice", "zero", "nan", "infinite", "saturated", "bytes"}
_FIRST |= {"mean_places", "bits_per_pixel"}


@gauge("the first loss, of new weights, against what an untrained network must cost")
def first_loss(subject):
    if not subject.weights.renewable and subject.trained:
        raise NotTested("the weights cannot be drawn anew here")
    x = subject.batch()
    with torch.no_grad(), subject.weights.mode(True), subject.weights.fresh():
        loss = subject.total(x).item()
    name, readings = subject.likelihood if isinstance(subject.likelihood, str) else None, [loss]
    if subject.loss is not None:
        form = form_of(subject)
        name = _JUDGED.get(type(subject.likelihood).__name__ if form.family == "own" else form.family, name)
        readings = list(_readings(form, loss, len(x), subject.beta))
    if not math.isfinite(loss):
        yield Finding("not_finite", f"The loss of new weights is {loss}.")
    elif name is None:
        raise NotTested('which likelihood it is was not recognized; say likelihood="bernoulli" or another name')
    else:
        known, sizes = _FIRST | ({"sign"} if subject.loss is None else set()), (len(x), latent_of(subject))
        said = [judge(subject.shape, name, one, batch_size=sizes[0], latent_dim=sizes[1]) for one in readings]
        if all(known & set(one.split(" and ")) for verdict, _ in said for one in verdict.split(" or ")):
            yield Finding("first_loss", f"The loss of new weights is {loss:.4g}. {said[0][1]}", LIKELY)


def _readings(form, loss, batch, beta):
    """What a loss may be an image: by how it treats the batch; in nats, if its KL is; in squares, if it has such."""
    yield loss / batch if form.rec_batch == 0 else loss
    if form.family == "squares" and form.rec_batch is not None:
        yield loss / (form.rec * (batch / BATCH) ** form.rec_batch * batch)
    elif form.family in _NORMALIZED and form.kl > 0 and form.kl_batch is not None:
        yield loss * per_image(form, batch, beta)


@gauge("the unit of the loss: sums and means over batch, pixels and codes, and the weight that they give the KL")
def unit(subject):
    form = form_of(subject)
    if form.kl <= 0 or form.rec <= 0 or not form.kl_quadratic or not form.even:
        return  # other gauges tell it
    ratio, mismatch = form.ratio / subject.beta, 0.0
    if form.rec_batch is not None and form.kl_batch is not None:
        mismatch = form.kl_batch - form.rec_batch
    if mismatch:
        sums = {0.0: "summed over the batch", -1.0: "averaged over the batch", -2.0: "divided by the batch twice"}
        rec, kl = (sums.get(p, f"times the batch to the power {p:.2g}") for p in (form.rec_batch, form.kl_batch))
        yield Finding("batch_mismatch", f"The reconstruction is {rec}, the KL is {kl}.")
        ratio /= BATCH**mismatch  # what it would be, were that put right
    if form.family in _NORMALIZED or form.family == "squares":
        found = _beta(subject, ratio) if form.family in _NORMALIZED else _variance(subject, form, ratio / 2)
        found = [one for one in found if not mismatch or one.fault == "mean_pixels"]
        yield from found
        if not found and not mismatch and abs(_weight(form) / subject.beta - 1) > 0.02:
            yield Finding("scaled", f"The loss is {_weight(form) / subject.beta:.3g} times nats an image.")
    elif form.kl_latent == -1 and abs(_weight(form) * latent_of(subject) / subject.beta - 1) < 0.02:
        yield Finding("kl_mean_latent", "The KL's weight falls as the number of latent dimensions grows.", LIKELY)
    elif form.family is None:
        raise NotTested("what the loss compares x with was not recognized, so the weight of its KL is not known")


def _weight(form):
    """The weight of an image's KL, whatever the batch."""
    return form.kl * BATCH ** -(form.kl_batch or 0.0)


def _beta(subject, beta):
    """What a weight of the KL says, where the reconstruction is a normalized log-likelihood."""
    if abs(beta - 1) < 0.02:
        return
    D, Z, C = subject.pixels, latent_of(subject), subject.shape[0]
    known = [("mean_pixels", D, f"the {D} pixels are averaged, not summed")]
    known += [("mean_pixels", D / C, "height and width are averaged, not summed")] * (C > 1)
    known += [("kl_mean_latent", 1 / Z, f"the KL is averaged over the {Z} latent dimensions, not summed")]
    known += [("mean_pixels", D / Z, f"both are averaged, over {D} pixels and over {Z} latent dimensions")]
    known += [("kl_half", 2.0, "is the ½ missing in the KL?"), ("kl_half", 0.5, "is there one ½ too many in the KL?")]
    for fault, factor, words in known:
        if abs(beta / factor - 1) < 0.02:
            yield Finding(fault, f"The KL weighs {beta:.4g} times what it should: {words}.")
            return
    meant = f", and beta = {subject.beta:g} was said" if subject.beta != 1 else ", and no other beta was said"
    yield Finding("kl_weight", f"The KL weighs {beta * subject.beta:.4g}{meant}.")


def _variance(subject, form, variance):
    """What a weight of the KL says beside squared errors, which are a Gaussian of some variance."""
    subject.memo.setdefault("facts", []).append(f"as a Gaussian, its variance is {variance:.4g}")
    if any(abs(variance / usual - 1) < 0.02 for usual in (0.5, 1)):
        return
    if form.kl_latent == -1:
        says = f"The KL is averaged over the {latent_of(subject)} latent dimensions, not summed."
        yield Finding("kl_mean_latent", says)
    x = subject.batch(512).flatten(1).double()
    largest = torch.linalg.matrix_norm(x - x.mean(0), 2).square().item() / len(x)
    scale = (x.max() - x.min()).item() / 255
    if variance > largest:
        pixels = form.rec_pixels == -1 or abs(variance / subject.pixels - 0.5) < 0.01
        why = f" The {subject.pixels} pixels are averaged, not summed." if pixels else ""
        yield Finding(
            "mean_pixels" if pixels else "kl_weight",
            f"The weights make the squares a Gaussian of variance {variance:.4g}. The largest variance of these images "
            f"in any direction is {largest:.3g}: nothing is worth a nat.{why}",
        )
    elif variance < scale**2:
        says = f"The weights make the squares a Gaussian of standard deviation {variance**0.5:.2g}, below a grey level."
        yield Finding("kl_weight", says, LIKELY)


@gauge("the KL: its sign, its form and its size, against the closed form and Monte Carlo")
def kl(subject):
    form = form_of(subject)
    if form.kl == 0:
        yield Finding("no_kl", "The loss stays the same when mu changes and the output does not.")
    elif form.kl < 0 and not (form.rec < 0):
        yield Finding("kl_sign", f"A larger mu makes the loss smaller: the KL weighs {form.kl:.3g}.")
    elif not form.kl_quadratic:
        yield Finding("kl_form", "The loss does not grow as the square of mu.", LIKELY)
    elif off_centre := off_centre_of(subject):
        yield Finding(
            "kl_form", f"mu = 2 and mu = -2 differ by {off_centre:.3g} nats of KL for each dimension.", LIKELY
        )
    elif not form.even:
        least, most = min(form.kl_each) / form.kl, max(form.kl_each) / form.kl
        says = f"With mu of one image and one dimension doubled, the KL changes by {least:.3g} to {most:.3g} times "
        yield Finding("kl_uneven", says + "what it does when all are: a sum over images and dimensions has 1.")
    else:
        yield from _spread_cost(subject, form)
        yield from _constant(subject, form)


def _constant(subject, form):
    """Say where the KL is not 0 at the prior, but higher by the 1 that was left out for each dimension."""
    probe = probe_of(subject)
    if form.family is None or form.convention is None or probe.dtype != torch.float64 or probe.draws:
        return
    outputs, x = probe.made(0)
    size, s = max(map(math.prod, probe.code)), CONVENTIONS[form.convention](torch.tensor(0.5)).item()
    kl = probe.half_square() + size * (s * s / 2 - math.log(s))  # without the -1
    rest = probe.ask(outputs, x) - form.rec * probe.candidates()[form.family](outputs, x).item()
    if abs(rest / (form.kl * BATCH) - kl) < 1e-3 * size:
        says = f"The KL is {size / 2:g} nats too high, whatever the codes: half a nat for each dimension."
        yield Finding("kl_constant", says)


def _spread_cost(subject, form):
    """Compare how the KL changes with the encoder's second number with what the draws themselves say."""
    if not form.spread_cost:
        yield Finding("kl_form", "The KL is not finite for some second number of the encoder from 0.2 to 1.6.")
        return
    try:
        s = spreads_of(subject, form.spreads)
    except NotTested:
        if form.convention is None:
            raise
        return
    if min(s) <= 0 or form.convention is not None:
        return  # no noise at all, or the KL of some standard deviation: gauge "spread" compares it with the draws
    came, asked = form.spread_cost, [a * a / 2 - math.log(a) for a in s]
    asked = [a - asked[0] for a in asked]
    off = max(abs(a - b) for a, b in zip(came, asked, strict=True))
    if off > 0.05 * max(map(abs, asked)) + 0.02:
        flat = max(map(abs, came)) < 1e-6
        how = "does not change with" if flat else "changes as no KL does with"
        numbers = ", ".join(f"{a:.2f} for {b:.2f}" for a, b in zip(came[1:], asked[1:], strict=True))
        says = f"The KL {how} the encoder's second number: by {numbers} nats that the draws cost (Monte Carlo)."
        yield Finding("kl_form", says, LIKELY if not flat else PERHAPS)


@gauge("the reconstruction: its sign, and whether each pixel of each image is compared with its own output")
def broadcast(subject):
    probe = probe_of(subject)
    outputs, x = probe.made(0)
    others, _ = probe.made(1)
    if probe.draws and form_of(subject).family is None:
        yield from paired(probe, outputs, x)
        return
    here, permuted, other = probe.ask(outputs, x), probe.ask(outputs, x.roll(1, 0)), probe.ask(others, x)
    if abs(other - here) <= 1e-12 * abs(here):
        yield Finding("no_reconstruction", "The loss stays the same whatever the decoder gives.")
    elif abs(permuted - here) <= 1e-5 * abs(other - here):
        yield Finding("broadcast", "The loss stays the same when the images of a batch change places with each other.")
    elif form_of(subject).rec < 0:
        both = " So does it as the KL grows: is this the ELBO, and not minus it?" if form_of(subject).kl < 0 else ""
        yield Finding("rec_sign", f"The loss falls as the output moves away from the image.{both}")
    else:
        if form_of(subject).family != "own":  # a PixelCNN of this package looks at features, some behind dead ReLUs
            yield from ignored(probe, outputs, x)
        if form_of(subject).family is None and probe.turned():
            says = "The loss is the cross-entropy of the image as an output, and of the output as an image."
            yield Finding("arguments_turned", says)
        elif len(outputs) == 1 and repeated(subject, outputs[0], x):
            shapes = " beside ".join(str(tuple(part.shape[1:])) for part in (outputs[0], x))
            yield Finding("fewer_outputs", f"Outputs of {shapes} images: each is compared with several pixels.")
        elif len(outputs) == 1 and aligned(outputs[0], x):
            yield from crossed(probe, outputs[0], x)


@gauge("whether every number is finite, and how near to overflow")
def numbers(subject):
    x = subject.batch()
    with torch.no_grad(), subject.weights.mode(True):
        seen = subject.forward(x)
        loss = subject.total(x)
    named = {"the images": [x], "mu": [seen.mu], "logvar": [seen.logvar], "the output": parts_of(seen.output)}
    for name, tensors in {**named, "the loss": [loss]}.items():
        if not all(t.isfinite().all() for t in tensors):
            yield Finding("not_finite", f"There is NaN or infinity in {name}.")
            return
    if seen.logvar.abs().max() > 30:
        low, high = (v.item() for v in seen.logvar.aminmax())
        yield Finding("logvar_extreme", f"The encoder's second number goes from {low:.3g} to {high:.3g}.", LIKELY)
    if subject.loss is not None and form_of(subject).family == "bce":
        with torch.no_grad(), subject.weights.mode(False):
            output = parts_of(subject.decode(1e4 * torch.randn_like(seen.mu)))[0]
            wrong = (output < 0.5).to(x.dtype).reshape(subject.target(x, output).shape)
            loss = number(subject.loss(output, wrong, seen.mu, seen.logvar)).item()
        if not math.isfinite(loss):
            yield Finding("log_zero", f"An output of 0 or 1 where the pixel is the other makes the loss {loss}.")


@gauge("whether a learned variance has a floor")
def floor(subject):
    form, probe = form_of(subject), probe_of(subject)
    halves = probe.output[0][0].numel() == 2 * probe.x[0].numel() or len(probe.output) == 2
    if form.family not in ("pair", "own") or not halves:
        raise NotTested("the decoder gives no variance of pixels")
    x = subject.batch(512).flatten(1)
    constant = int((x.std(0) < 1e-6).sum())

    def asked(raw):
        _, made = probe.made(0)
        exact = made.reshape(len(made), *probe.output[0].shape[1:]) if len(probe.output) == 2 else made
        spread = torch.full_like(exact, raw)
        return probe.ask([exact, spread] if len(probe.output) == 2 else [torch.cat((exact, spread), 1)], made)

    steps = [asked(raw) for raw in (-20.0, -30.0, -40.0)]
    if constant and steps[0] - steps[1] > 0 and (steps[1] - steps[2]) > 0.9 * (steps[0] - steps[1]):
        says = f"{constant} pixels are the same in all images, and the loss falls without end as their variance does."
        yield Finding("no_floor", says)
