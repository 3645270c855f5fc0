"""Gauges of pixels and networks: do images and last layers fit the likelihood, does the decoder see z and z alone."""

from __future__ import annotations

import contextlib

import torch

from vae_tutorial.checkup.form import form_of, probe_of
from vae_tutorial.checkup.gauge import CERTAIN, LIKELY, Finding, gauge
from vae_tutorial.checkup.subject import NotTested, parts_of

_GROWN = (
    50.0  # by what all weights and codes are multiplied, to see whether a last layer keeps the outputs from growing
)
_MANY = 1000  # numbers of an encoder: enough to say that they are never negative
_ZEROS = 0.05  # share of exact zeros that a ReLU leaves


@gauge("the range of the pixels against the likelihood and against what the decoder can give")
def pixels(subject):
    low, high = (v.item() for v in subject.images.aminmax())
    family = _family(subject)
    if 0 < high <= 1 / 255 + 1e-6 and low >= 0:
        yield Finding("pixels_tiny", f"The brightest pixel is {high:.5f}.")
    elif high > 100 and torch.equal(subject.images, subject.images.round()):
        yield Finding("bytes", f"The pixels are whole numbers from {low:g} to {high:g}.")
    elif family in ("bce", "logits"):
        if low < -0.01 or high > 1.01:
            yield Finding("pixels_outside", f"The pixels go from {low:.3g} to {high:.3g}, outside [0, 1].")
        elif ((subject.images > 0.02) & (subject.images < 0.98)).float().mean() > 0.01 and not _draws(subject):
            yield Finding("grey_bernoulli", "The pixels are grey, and the likelihood is of black and white.")
    elif family is None:
        raise NotTested("the likelihood was not recognized")
    else:
        outputs, bounded = _outputs(subject)
        if not bounded or family == "own":
            return
        least, most = (v.item() for v in outputs.aminmax())
        beyond = ((subject.images < least - 0.02) | (subject.images > most + 0.02)).float().mean().item()
        if beyond > 0.01:
            says = f"{100 * beyond:.0f} % of the pixels lie outside [{least:.3g}, {most:.3g}], where the decoder stays."
            yield Finding("unreachable", says, LIKELY)


@gauge("the last layers of decoder and encoder: a sigmoid too many or too few, a ReLU")
def last_layer(subject):
    with torch.no_grad(), subject.weights.mode(False):
        code = subject.encode(subject.batch(256))
    for name, head in zip(("mu", "the encoder's second number"), code, strict=True):
        zeros = (head == 0).float().mean().item()
        if head.min() >= 0 and zeros > _ZEROS:
            yield Finding("relu_head", f"{name} is never negative, and exactly 0 for {100 * zeros:.0f} %.")
    if _proportional(*code):
        yield Finding("same_head", "The encoder's second number is mu itself, or mu times a number.")
    yield from _confined(subject, code)
    yield from _clipped(subject)
    family, (outputs, bounded) = _family(subject), _outputs(subject)
    least, most = (v.item() for v in outputs.aminmax())
    if family == "logits":
        if bounded and least >= 0 and most <= 1:
            yield Finding("sigmoid_twice", "The loss takes logits, and the decoder's outputs never leave [0, 1].")
        elif bounded:
            yield Finding("bounded_logits", f"The logits never leave [{least:.2g}, {most:.2g}], whatever the weights.")
        elif least >= 0 and (outputs == 0).float().mean() > _ZEROS:
            yield Finding("bounded_logits", "The logits are never negative: no pixel can be black.")
    elif family == "bce" and (least < -1e-6 or most > 1 + 1e-6):
        yield Finding("no_sigmoid", f"The loss takes probabilities, and outputs go from {least:.3g} to {most:.3g}.")
    elif family == "bce" and torch.allclose(outputs.sum(1), torch.ones(len(outputs)).to(outputs), atol=1e-3):
        yield Finding("softmax_output", "The outputs of an image sum to 1, as of a softmax over its pixels.")
    elif family is None:
        raise NotTested("the likelihood was not recognized (the encoder's heads were looked at)")


def _confined(subject, code):
    """Heads of the encoder that stay in a range, even with large weights, which keeps q(z | x) from where it may go."""
    logarithm = subject.loss is not None and (form_of(subject).convention or "").startswith("log")
    if not subject.weights.renewable:
        return
    # New weights: those of a training may well give log-variances of one sign alone.
    with torch.no_grad(), subject.weights.mode(False), subject.weights.fresh(), _grown(subject):
        mu, second = subject.encode(subject.batch(64))
    if logarithm and min(code[1].min(), second.min()) >= 0 < code[1].min() and code[1].numel() >= _MANY:
        says = f"The encoder's second number is never below {code[1].min():.2g}: no noise is narrower than the prior's."
        yield Finding("relu_head", says)
    if mu.abs().max() < 1.01 and (mu != 0).any():
        yield Finding("confined_head", f"Whatever the weights, mu stays in [{mu.min():.2g}, {mu.max():.2g}].")
    if logarithm and second.max() < -0.5 and second.numel() >= _MANY // 10:
        says = f"The encoder's second number is never above {second.max():.2g}: no unit can be as wide as the prior."
        yield Finding("confined_head", says)


def _proportional(mu, second):
    """Whether the second number is mu times a number."""
    if mu.shape != second.shape or mu.numel() < _MANY // 10:
        return False
    mu, second = mu.double().flatten(), second.double().flatten()
    factor = (mu @ second) / (mu @ mu).clamp(min=1e-12)
    return bool(factor.abs() > 1e-3 and (second - factor * mu).abs().max() <= 1e-5 * second.abs().max())


def _clipped(subject):
    """Outputs of new weights that are cut off exactly where the image is not: a ReLU, or a clamp."""
    if not subject.weights.renewable or _family(subject) not in ("bce", "squares", "absolute"):
        return
    x = subject.batch(64)
    with torch.no_grad(), subject.weights.mode(False), subject.weights.fresh():
        output = parts_of(subject.forward(x).output)[0]
    if output.numel() != x.numel():
        return
    target = subject.target(x, output).reshape(output.shape)
    for edge in (output.min(), output.max()):
        wrong = (target - edge).abs() > 0.02
        share = ((output == edge) & wrong).sum().item() / max(1, wrong.sum().item())
        if share > _ZEROS:
            says = (
                f"With new weights the output is exactly {edge:.3g} for {100 * share:.0f} % of the pixels that differ."
            )
            yield Finding("clipped_output", says, CERTAIN if _family(subject) == "bce" else LIKELY)
            return


@gauge("does the decoder see z, and z alone; does the encoder see x")
def sees_x(subject):
    x = subject.batch(8)
    with torch.no_grad(), subject.weights.mode(False):
        mu, _ = subject.encode(x)
        if len(mu) > 1 and (mu - mu[:1]).abs().max() == 0:
            yield Finding("ignores_x", "mu is the same for all images.")
        one, again = (_flat(subject.decode(mu)) for _ in range(2))
        if not torch.allclose(one, again, atol=1e-6):
            yield Finding("decoder_noise", "The decoder's output is another each time, for the same z.")
            return
        seen = subject.forward(x)
        if seen.z is not None and not _near(_flat(seen.output), _flat(subject.decode(seen.z.reshape(mu.shape)))):
            says = "With the same z, the decoder's output in a pass differs from its output alone."
            yield Finding("decoder_sees_x", says)
            return
        after = []
        for other in (x, x.flip(0) * 0.5):
            subject.forward(other)
            after.append(_flat(subject.decode(mu)))
        if not _near(*after):
            yield Finding(
                "decoder_sees_x", "With the same z, the decoder's output depends on which images came before."
            )
            return
        far = _flat(subject.decode(10 * torch.randn_like(mu)))
        if _near(far[:1].expand_as(far), far, 1e-7):
            yield Finding("ignores_z", "The decoder's output is the same for all z.")
            return
        yield from _mixed(subject, x, mu)
        yield from _linear(subject, mu)


def _mixed(subject, x, mu):
    """Whether an image's code, or the output of a z, changes with the others of its batch."""
    norms = subject.weights.has(torch.nn.modules.batchnorm._NormBase)
    if any(getattr(layer, "running_mean", None) is None for layer in norms):
        return  # statistics of the batch, in evaluation too
    for name, function, some in (("encoder", lambda x: torch.cat([p.flatten(1) for p in subject.encode(x)], 1), x),
                                 ("decoder", lambda z: _flat(subject.decode(z)), torch.randn_like(mu))):  # fmt: skip
        other = some.clone()
        other[1:] = other[1:].flip(0) * 0.5
        if not _near(function(some)[:1], function(other)[:1], 1e-3):
            says = f"What the {name} gives for the first of a batch changes with the others, in evaluation mode."
            yield Finding("mixed_batch", says)
            return


def _linear(subject, mu):
    """Whether new weights give a decoder that is linear before its last function."""
    if not subject.weights.renewable:
        return
    a, b = torch.randn_like(mu), torch.randn_like(mu)
    with subject.weights.fresh():
        outputs = [parts_of(subject.decode(z))[0].double() for z in (a + b, a, b, torch.zeros_like(a))]
    for before in (lambda p: p, torch.logit, torch.atanh):
        both, first, second, none = map(before, outputs)
        scale = (first - second).abs().max()
        off = (both - first - second + none).abs().max()  # NaN where a function does not take the outputs
        if scale > 1e-3 and off < 1e-3 * scale:
            yield Finding("linear_decoder", "The decoder of a + b is that of a, plus that of b, less that of 0.")
            return


def _draws(subject):
    """Whether the loss draws black and white itself."""
    return subject.loss is not None and probe_of(subject).draws


def _family(subject):
    if subject.loss is not None:
        family = form_of(subject).family
        if family == "own" and type(subject.likelihood).__name__ == "Bernoulli":
            return "logits"
        return family
    return {"bernoulli": "logits", "bce": "bce"}.get(subject.likelihood)


def _outputs(subject):
    """Outputs for usual and for large codes and weights, ``(B, D)``, and whether those of large weights are bounded."""
    if "outputs" not in subject.memo:
        with torch.no_grad(), subject.weights.mode(False):
            mu, _ = subject.encode(subject.batch(64))
            usual = parts_of(subject.decode(torch.randn_like(mu)))[0].flatten(1)
            with _grown(subject):
                large = parts_of(subject.decode(_GROWN * torch.randn_like(mu)))[0].flatten(1)
        subject.memo["outputs"] = torch.cat((usual, large)), bool(large.abs().max() <= 5)
    return subject.memo["outputs"]


@contextlib.contextmanager
def _grown(subject):
    """All weights multiplied, for a while."""
    with subject.weights.kept():
        for weight in subject.weights.parameters:
            weight.mul_(_GROWN)
        yield


def _flat(output):
    return torch.cat([part.flatten(1) for part in parts_of(output)], 1)


def _near(a, b, share=1e-4):
    return bool((a - b).abs().max() <= share * max(1e-3, b.abs().max().item()))
