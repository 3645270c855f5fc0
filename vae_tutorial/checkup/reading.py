"""From a model, or from anybody's functions, to a :class:`Subject`: how the parts are called, and what they want."""

from __future__ import annotations

import contextlib
import itertools
import math

import torch
from torch import Tensor, nn

from vae_tutorial import _checks, _modes, data, models
from vae_tutorial.checkup import weights
from vae_tutorial.checkup.halves import Halves, alone, fails_with_few, halved
from vae_tutorial.checkup.its_loss import attempt, with_loss
from vae_tutorial.checkup.returned import stray
from vae_tutorial.checkup.subject import CheckupError, Pass, Subject, intercepted, parts_of
from vae_tutorial.information import gaussian_kl

__all__ = ["pixels_of", "read"]

LEAST = 16  # images


class _Stop(Exception):
    """Ends a pass once z was seen."""


class _Fails(CheckupError):
    """A function that takes the images in no form."""


def read(model, images, encode, decode, loss, reparameterize, forward, **rest) -> Subject:
    """Return the :class:`Subject` that ``examine`` was given. Raises CheckupError where parts are missing or fail."""
    model = None if model is None else _modes.unwrapped(model)
    if isinstance(model, models.Autoencoder):
        raise CheckupError("model is an autoencoder: it has no q(z | x), no KL and no prior to examine (chapter 7)")
    if isinstance(model, models.VAE):
        return _of_ours(model, images, loss, rest)
    own = [getattr(model, name, None) for name in ("sample", "generate")]
    rest["sample"] = rest.get("sample") or next(filter(callable, own), None)
    if encode is None and decode is None and isinstance(model, nn.Module):
        model = _taken_apart(model, _generic_images(images, next(model.parameters(), None)))
    encode, decode = encode or getattr(model, "encode", None), decode or getattr(model, "decode", None)
    for name, part, what in (
        ("encode", encode, "x to (mu, logvar)"),
        ("decode", decode, "z to logits or means"),
        ("loss", loss, "(output, x, mu, logvar) to one number"),
    ):
        if not callable(part):
            raise CheckupError(f"{name} is missing: a function from {what}; got {part!r}")
    reparameterize = reparameterize or getattr(model, "reparameterize", None)
    forward = forward or (model if isinstance(model, nn.Module) and _has_forward(model) else None)
    found = weights.find(*[part for part in (model, encode, decode, loss, reparameterize, forward) if part is not None])
    x = _generic_images(images, next(iter(found.parameters), None))
    with torch.no_grad(), found.kept():
        if forward is None:
            return _of_functions(x, encode, decode, loss, reparameterize, found, rest)
        return _of_forward(x, encode, decode, loss, reparameterize, forward, found, rest)


def _taken_apart(model, x):
    """A model as it is, or its :class:`Halves` where it has no encode and decode, or where encode gives no pair."""
    if alone(model):
        return halved(model, x)
    if callable(getattr(model, "encode", None)) and hasattr(model, "decode") and _has_forward(model):
        try:
            with torch.no_grad(), weights.find(model).kept(), contextlib.suppress(_Fails):
                _fitted("encode", model.encode, x, lambda r: _pair(r, "encode"))
        except CheckupError:
            with contextlib.suppress(CheckupError):
                return halved(model, x)
    return model


def pixels_of(model, images) -> Tensor:
    """Return images as a model of this package trains on them: bytes binarized or divided by 255, others unchanged."""
    images = data.load("digits").images if images is None else _checks.tensor(images, "images")
    if images.dtype == torch.uint8:
        images = data.binarize(images, torch.Generator().manual_seed(0)) if model.likelihood.binary else images / 255
    return _enough(_checks.images(images.to(next(model.parameters()).device), model, "images"))


def _of_ours(model, images, loss, rest):
    x = pixels_of(model, images)
    beta = rest["beta"]

    def forward(x):
        seen = {}
        with intercepted(model.decode, _noting(model.decode, seen)):
            output, mu, logvar = model(x)
        return Pass(output[0], mu, logvar, seen["z"][0] if "z" in seen else None)

    def own(output, x, mu, logvar):
        return (beta * gaussian_kl(mu, logvar) - model.likelihood.log_prob(x, output)).mean()

    rest.setdefault("likelihood", None)
    rest["likelihood"] = rest["likelihood"] or (model.likelihood if loss is None else None)
    rest["sample"] = rest.get("sample") or model.sample
    subject = Subject(x, model.encode, model.decode, forward, _draw_of(model, x, model.encode, model.decode, None),
                      own, None, weights.find(model), tuple(model.image_shape), **rest)  # fmt: skip
    return subject if loss is None else with_loss(subject, loss)


def _of_functions(x, encode, decode, loss, reparameterize, found, rest):
    x, (mu, logvar) = _fitted("encode", encode, x, lambda r: _pair(r, "encode"))

    def code(x):
        return _pair(encode(x), "encode")

    def forward(x):
        mu, logvar = code(x)
        z = reparameterize(mu, logvar) if reparameterize else mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return Pass(decode(z), mu, logvar, z)

    attempt("decode", lambda: parts_of(decode(mu[:2])))
    if reparameterize:
        attempt("reparameterize", lambda: reparameterize(mu, logvar))
    subject = Subject(x, code, decode, forward, reparameterize, None, None, found, _shape(x), **rest)
    return with_loss(subject, loss)


def _of_forward(x, encode, decode, loss, reparameterize, forward, found, rest):
    x, _ = _fitted("forward", forward, x, lambda r: r)
    form = _fitted("encode", encode, x, lambda r: _pair(r, "encode"))[0]
    like = (lambda x: x.reshape(len(x), *form.shape[1:])) if form.shape != x.shape else (lambda x: x)

    def run(x):
        seen = {}
        code, spied = _noting(encode, seen, "code"), _noting(decode, seen)
        with intercepted(encode, code, forward), intercepted(decode, spied, forward):
            returned = forward(x)
        return _as_pass(returned, seen)

    def after(z):
        """The output for z as the training's pass gives it, with what that does behind the decoder."""
        blank = x[:1].expand(len(z), *x.shape[1:])
        with intercepted(decode, lambda *_: decode(z), forward):
            returned = forward(blank)
        return returned[0] if isinstance(returned, tuple | list) else returned

    draw = _draw_of(forward, x, encode, decode, reparameterize)
    seen = attempt("forward", lambda: run(x[:4]))
    same = seen.z is None or _equal(seen.output, decode(seen.z))
    rest["memo"] = {"model": isinstance(forward, nn.Module)}
    subject = Subject(x, lambda x: _pair(encode(like(x)), "encode"), decode if same else after, run, draw,
                      None, None, found, _shape(x), **rest)  # fmt: skip
    if isinstance(forward, Halves):
        subject.memo["facts"] = [forward.says()]
    return with_loss(subject, loss, forward)


def _as_pass(returned, seen):
    parts = list(returned) if isinstance(returned, tuple | list) else [returned]
    output = parts[0] if isinstance(parts[0], Tensor | tuple | list) else seen.get("output")
    code = _pair(seen["code"], "encode") if "code" in seen else None
    tensors = [part for part in parts[1:] if isinstance(part, Tensor)]
    pairs = [pair for pair in itertools.pairwise(tensors) if pair[0].shape == pair[1].shape]
    if code is not None:
        pairs = [pair for pair in pairs if pair[0] is code[0] or _equal(pair[0], code[0])] or [code]
    if not pairs:
        raise CheckupError("forward must return (output, mu, logvar), or call encode")
    z = seen.get("z")
    z_for_mu = code is not None and len(tensors) > 1 and stray(tensors, code, z)
    return Pass(output, *pairs[0], z, getattr(returned, "sources", ()), z_for_mu)


def _draw_of(forward, x, encode, decode, reparameterize):
    """A function (mu, logvar) -> z: the training's pass, this code in the encoder's place, up to the decoder."""

    def draw(mu, logvar):
        seen = {}

        def stop(z, *_):
            seen["z"] = z
            raise _Stop

        rows = x[torch.arange(len(mu)) % len(x)]
        with (
            intercepted(encode, lambda *_: (seen.setdefault("asked", mu), logvar), forward),
            intercepted(decode, stop, forward),
            contextlib.suppress(_Stop),
        ):
            forward(rows)
        if "asked" in seen and "z" in seen:
            return seen["z"]
        return None if reparameterize is None else reparameterize(mu, logvar)

    return draw


# What parts want


def _noting(function, seen, what="z"):
    def noted(*arguments, **named):
        result = function(*arguments, **named)
        if what == "code":
            seen["code"] = result
        else:
            seen["z"], seen["output"] = arguments[0] if arguments else next(iter(named.values())), result
        return result

    return noted


def _fitted(name, function, x, check):
    """The images in the first form that a function takes, with what it returned for four of them."""
    forms = [x, x.flatten(1)]
    side = math.isqrt(x[0].numel())
    if x.ndim == 2 and side * side == x.shape[1]:
        forms.append(x.reshape(-1, 1, side, side))
    if x.ndim == 3:
        forms.append(x.unsqueeze(1))
    failed = None
    for form in forms:
        try:
            return form, check(function(form[:4]))
        except CheckupError:
            raise
        except Exception as error:
            failed = failed or error
    raise _Fails(fails_with_few(name, function, x, failed))


def _pair(code, name):
    found = [part for part in code if isinstance(part, Tensor)] if isinstance(code, tuple | list) else []
    if len(found) < 2:
        raise CheckupError(f"{name} must return (mu, logvar), two tensors; got a {type(code).__name__}")
    if len(found) > 2 and found[0].shape == found[1].shape == found[2].shape:
        raise CheckupError(
            f"{name} returns {len(found)} tensors of one shape; which are mu and logvar? Return these two"
        )
    return found[0], found[1]


def _generic_images(images, like):
    x = data.load("digits").images if images is None else _checks.tensor(images, "images").detach()
    if x.dtype == torch.uint8:
        x = x / 255  # as ToTensor does
    x = x if x.is_floating_point() else x.float()
    return _enough(x if like is None or not like.is_floating_point() else x.to(like.device, like.dtype))


def _enough(x):
    if x.ndim < 2 or len(x) < LEAST:
        raise CheckupError(f"images must be at least {LEAST}, (N, ...); got {tuple(x.shape)}")
    return x


def _shape(x):
    """(C, H, W) of an image, as far as one can tell."""
    if x.ndim == 4:
        return tuple(x.shape[1:])
    side = math.isqrt(x[0].numel())
    return (1, side, side) if side * side == x[0].numel() else (1, 1, x[0].numel())


def _has_forward(model):
    return type(model).forward is not nn.Module.forward


def _equal(a, b):
    return all(
        x.shape == y.shape and torch.allclose(x, y, atol=1e-5) for x, y in zip(parts_of(a), parts_of(b), strict=False)
    )
