"""Training and evaluation mode, gradients, and the random numbers of layers such as dropout. Skip it at first."""

import contextlib
import functools

import torch

# Layers that compute without random numbers. Any other may draw from torch's global generator.
_CALM = ("activation", "batchnorm", "container", "conv", "flatten", "linear", "normalization", "padding", "pooling")


def unwrapped(model):
    """Return the model inside ``torch.compile``'s wrapper, whose weights have other names than the model's own."""
    return getattr(model, "_orig_mod", model)


@contextlib.contextmanager
def mode(model, training):
    """Put all layers into training or evaluation mode, and restore each layer's own mode afterwards."""
    found = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield model
    finally:
        for module, was in found:
            module.training = was


@contextlib.contextmanager
def training(model):
    """Training mode with gradients, even within no_grad or inference_mode; each layer's mode is restored."""
    with torch.inference_mode(False), torch.enable_grad(), mode(model, training=True):
        yield


def measuring(function):
    """Decorate a function of a model: no gradients, evaluation mode, and each layer's own mode restored.

    Within ``torch.autocast`` the weights that it converted, which know no gradients, are forgotten.
    """

    @functools.wraps(function)
    def measured(model, *arguments, **named):
        try:
            with torch.no_grad(), mode(model, training=False):
                return function(model, *arguments, **named)
        finally:
            torch.clear_autocast_cache()

    return measured


@contextlib.contextmanager
def seeded(model, seed, device):
    """Give layers that draw from torch's global generator (dropout) a seed; the generator is restored afterwards.

    The generator belongs to the whole process. It is therefore left alone where no layer of the model draws from it,
    so that a training in a thread does not disturb the rest.
    """
    if all(_calm(module) for module in model.modules()):
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _calm(module):
    place, name = type(module).__module__, type(module).__name__
    if name in ("RReLU", "MultiheadAttention", "FractionalMaxPool2d", "FractionalMaxPool3d"):
        return False
    return place.startswith("vae_tutorial.") or place.removeprefix("torch.nn.modules.") in _CALM
