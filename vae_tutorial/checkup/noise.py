"""Gauges of the noise: how wide it is, whether it is there, and whether gradients pass it."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checkup.form import CONVENTIONS, form_of
from vae_tutorial.checkup.gauge import LIKELY, Finding, gauge
from vae_tutorial.checkup.nats import per_image, reference
from vae_tutorial.checkup.spread import draws, spread_of, turned
from vae_tutorial.checkup.subject import NotTested, parts_of

_EXACT = 1e-6
_FEW = 64  # images, or codes


@gauge("what the encoder's second number is, by the spread of the draws and by the KL")
def spread(subject):
    found = spread_of(subject)
    asked = form_of(subject).convention if subject.loss is not None else None
    with torch.no_grad(), subject.weights.mode(False):
        second = subject.encode(subject.batch(256))[1]
    if found.convention == "standard deviation" and (second < 0).any():
        share = 100 * (second < 0).float().mean().item()
        yield Finding("negative_std", f"{share:.0f} % of the encoder's standard deviations are negative.")
    if found.convention == "fixed" and turned(subject):
        says = "The draws are centred on the encoder's second number, and their width does not change with it. Or is "
        yield Finding("turned_code", says + "that number the mean, returned second? Then return it first.", LIKELY)
        return
    if found.convention == "fixed" and asked != "fixed":
        yield Finding("noise_ignores_logvar", "The draws are as wide whatever the encoder's second number is.")
        return
    if asked is None:
        return  # nothing to compare with; gauge "kl" compares an unknown KL with the draws
    ratios = {v: s / CONVENTIONS[asked](torch.tensor(v)).item() for v, s in found.measured.items()}
    ratios = {v: r for v, r in ratios.items() if r > 0 and math.isfinite(r)}
    if all(abs(r - 1) < 0.03 for r in ratios.values()):
        return
    if max(ratios.values()) < 1.03 * min(ratios.values()):
        factor = sum(ratios.values()) / len(ratios)
        yield Finding("shrunk_noise", f"The noise is {factor:.3g} times as wide as the KL says, a {asked}.")
        return
    drawn = f"a {found.convention}" if found.convention else "none that is known here"
    drawn += f", times {found.factor:.3g}" if found.convention and abs(found.factor - 1) > 0.03 else ""
    example = f"for {1.6:g}, the draws have the standard deviation {found.measured[1.6]:.3g}"
    says = f"The KL reads the encoder's second number as a {asked}, the draws as {drawn}: {example}."
    yield Finding("spread_mismatch", says)


@gauge("the noise of a training: there, fresh, of its own for each image and dimension, normal")
def noise(subject):
    first, second = draws(subject, 0.2, _FEW), draws(subject, 0.2, _FEW)
    if subject.memo["overwritten"]:
        yield Finding("mu_overwritten", "The draw is written over mu, and the KL is given z in its place.")
    with torch.no_grad(), subject.weights.mode(True), subject.weights.kept():
        if subject.forward(subject.batch(_FEW)).z_for_mu:
            yield Finding("z_for_mu", "forward returns z where mu belongs, and mu itself nowhere: the KL is that of z.")
    if first.abs().max() < _EXACT:
        yield Finding("no_noise", "In training mode z is mu, without noise.")
    elif torch.equal(first, second):
        yield Finding("frozen_noise", "Two passes of a training draw the same noise.")
    elif first.std(0).max() < _EXACT:
        yield Finding("shared_noise", "All images of a batch get the same noise.")
    elif first.shape[1] > 1 and first.std(1).max() < _EXACT:
        yield Finding("shared_noise", "All latent dimensions of an image get the same noise.")
    else:
        many = draws(subject, 0.2).double().flatten()
        mean, spread = many.mean().item(), many.std().item()
        kurtosis = ((many - mean) / spread).pow(4).mean().item()
        if (abs(mean) > 0.05 * spread or abs(kurtosis - 3) > 0.5) and not turned(subject):
            says = f"The noise has mean {mean / spread:.2f} and kurtosis {kurtosis:.2f}; normal noise has 0 and 3."
            yield Finding("not_normal", says)


@gauge("the loss of the same images twice, with fresh noise")
def twice(subject):
    x = subject.batch()
    with torch.no_grad(), subject.weights.mode(True), subject.weights.kept():
        losses = [subject.total(x).item() for _ in range(4)]
        z = [subject.forward(x).z for _ in range(2)] if subject.alone is None else [None]
    fresh = z[0] is not None and not torch.equal(z[0], z[1])  # then the loss does not look at z
    if len(set(losses)) == 1 and math.isfinite(losses[0]) and not fresh:
        yield Finding("no_noise", f"Four passes in training mode give {losses[0]:.6g} each time, to the last digit.")


@gauge("gradients: through z to mu and logvar, from the KL, and to every weight")
def gradient(subject):
    x = subject.batch(_FEW)
    with torch.enable_grad(), subject.weights.mode(True), subject.weights.kept():
        seen = subject.forward(x)
        if not (seen.mu.requires_grad or seen.logvar.requires_grad):
            yield Finding("cut", "What the encoder gives has no gradient at all.")
            return
        probe = sum((part * torch.randn_like(part)).sum() for part in parts_of(seen.output))
        none = _is_mean(seen)
        codes = seen.sources or (seen.mu, seen.logvar)
        pairs = (("mu", *codes), ("logvar", *codes[::-1]))
        lost = [name for name, one, other in pairs if not (_reaches(probe, one) or _weighs(subject, probe, one, other))]
        if none and lost == ["logvar"]:
            lost = []  # without noise there is nothing to reach; gauge "noise" tells it
        if lost:
            yield Finding("cut", f"No gradient gets from the decoder's output through z to {' and '.join(lost)}.")
        if subject.loss is not None and form_of(subject).kl:
            output = tuple(part.detach() for part in parts_of(seen.output))
            # Codes that are far from the prior: free bits give no gradient near it.
            mu, logvar = torch.full_like(seen.mu, 2.0, requires_grad=True), torch.full_like(seen.logvar, 1.6)
            logvar.requires_grad_()
            cost = subject.cost(output[0] if len(output) == 1 else output, x, mu, logvar)
            missing = [name for name, code in (("mu", mu), ("logvar", logvar)) if not _reaches(cost, code)]
            if missing:
                yield Finding("kl_cut", f"No gradient gets from the KL to {' and '.join(missing)}.")
        if not lost:
            yield from _unreached(subject, x)


def _reaches(value, code):
    if not (value.requires_grad and code.requires_grad):
        return False
    (found,) = torch.autograd.grad(value, code, retain_graph=True, allow_unused=True)
    return found is not None and bool((found != 0).any())  # NaN is some gradient, and told apart


def _weighs(subject, value, code, other):
    """Whether a gradient gets to weights that decide this code alone: z may be drawn from a copy of the code."""
    weights = subject.weights.parameters
    if not (weights and value.requires_grad and code.requires_grad):
        return False
    slopes = []
    for one in (value, code.sum(), other.sum() if other.requires_grad else None):
        found = (
            [None] * len(weights)
            if one is None
            else torch.autograd.grad(one, weights, retain_graph=True, allow_unused=True)
        )
        slopes.append([torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)])
    return any(bool(((c != 0) & (o == 0) & (v != 0)).any()) for v, c, o in zip(*slopes, strict=True))


def _unreached(subject, x):
    """Weights that no gradient reaches. Where a bias comes before batch norm, it is rounding alone."""
    if not subject.weights.named:
        raise NotTested("no weights were found behind these functions")
    yield from _unregistered(subject, x)
    frozen = [name for root in subject.weights.roots for name, p in root.named_parameters() if not p.requires_grad]
    if frozen:
        yield Finding("unreached", f"{len(frozen)} tensors of weights are frozen: {_some(frozen)}.")
    names, weights = zip(*subject.weights.named, strict=True)
    loss = subject.total(x)
    if not loss.requires_grad:
        yield Finding("cut", "The loss has no gradient at all.")
        return
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    wrong = [n for n, g in zip(names, found, strict=True) if g is not None and not g.isfinite().all()]
    if wrong:
        says = f"The gradient is NaN or infinite for {len(wrong)} of {len(names)} tensors of weights."
        yield Finding("not_finite", says)
        return
    missing = [n for n, g in zip(names, found, strict=True) if g is None or not g.abs().max() > 0]
    detached = [(n, w) for (n, w), g in zip(subject.weights.named, found, strict=True) if g is None]
    if detached and _matter(subject, x, [w for _, w in detached]):
        says = f"The loss depends on weights that get no gradient: {_some([n for n, _ in detached])}."
        yield Finding("cut", says)
    elif missing:
        says = f"No gradient reaches {len(missing)} of {len(names)} tensors of weights: {_some(missing)}."
        yield Finding("unreached", says)


def _unregistered(subject, x):
    """Weights behind the output and the code of a model that are none of its parameters; of functions nobody knows."""
    if not subject.memo.get("model"):
        return
    seen, known = subject.forward(x), {id(p) for p in subject.weights.parameters}
    found, done = {}, set()
    waiting = [part.grad_fn for part in (*parts_of(seen.output), seen.mu, seen.logvar)]
    while waiting:
        node = waiting.pop()
        if node is None or node in done:
            continue
        done.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            found[id(leaf)] = leaf
        waiting.extend(before for before, _ in node.next_functions)
    if found:
        shapes = _some([str(tuple(leaf.shape)) for leaf in found.values()])
        says = f"{len(found)} tensors of weights decide the output and are none of the model's parameters: {shapes}."
        yield Finding("unregistered", says)


def _matter(subject, x, weights):
    """Whether the loss changes with these weights, the noise being the same."""
    losses = []
    with torch.no_grad(), subject.weights.kept():
        for factor in (1.0, 1.5):
            for weight in weights:
                weight.mul_(factor)
            torch.manual_seed(0)
            losses.append(subject.total(x).item())
    return losses[0] != losses[1]


def _some(names):
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


@gauge("the number in evaluation mode, against a bound with honest noise and against log p(x)")
def bound(subject):
    x = subject.batch(_FEW)
    with torch.no_grad(), subject.weights.mode(False):
        if subject.evaluate is not None:
            said = torch.as_tensor(subject.evaluate(x)).double().mean().item()
            scale = per_image(form_of(subject), len(x), subject.beta)
        else:
            said, scale = sum(subject.total(x).item() for _ in range(4)) / 4, 1.0
        costs, log_p = reference(subject, x)
        honest, error = costs.mean().item() * scale, costs.std().item() * scale
        calm = _is_mean(subject.forward(x))
    with torch.no_grad(), subject.weights.mode(True), subject.weights.kept():
        calm = calm and not _is_mean(subject.forward(x))
    better = said < honest - max(4 * error, 1e-4 * abs(honest))
    if not better and not (calm and subject.evaluate is None):
        return
    unit = "" if subject.evaluate is None else " nats an image"
    says = f"It is {said:.5g}{unit}; with noise as wide as the KL says it is {honest:.5g}."
    if log_p is not None and subject.beta == 1:
        nats = said if subject.evaluate is not None else said * per_image(form_of(subject), len(x), subject.beta)
        beaten = f", which {nats:.1f} would beat" if nats < -log_p else ""
        says += f" By importance sampling -log p(x) is at most {-log_p:.1f} nats an image{beaten}."
    if calm and subject.evaluate is None:
        yield Finding("mean_code", f"In evaluation mode z is mu, and the loss is no bound. {says}")
    else:
        yield Finding("beats_bound", f"The number in evaluation mode is too good. {says}", LIKELY)


def _is_mean(seen):
    """Whether the decoder was given mu itself; False where nobody sees what it was given."""
    return seen.z is not None and torch.allclose(seen.z.reshape(seen.mu.shape), seen.mu, atol=_EXACT)
