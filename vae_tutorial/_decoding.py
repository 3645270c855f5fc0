"""log p(x | z) of many draws, without gradients: as fast as the decoder's matrix products allow, in little memory."""

import torch

from vae_tutorial.likelihoods import Bernoulli

_CACHE = 2**18  # pixels decoded at a time on a CPU: 1 MB in float32; outside a cache all but the products is slow
_LARGE = 2**22  # and on a GPU


def log_likelihood(model, x, z):
    """Return log p(x | z), nats, ``(S, B)``, for images ``(B, C, H, W)`` and draws ``(S, B, Z)``, without gradients.

    For a Bernoulli likelihood in float32 the result differs from ``likelihood.log_prob`` by rounding alone, up to some
    1e-5 nats.
    """
    most = max(1, (_CACHE if x.device.type == "cpu" else _LARGE) // x.numel())
    return torch.cat([_of_piece(model, x, piece) for piece in z.split(most)])


def _of_piece(model, x, z):
    parameters = model.decode(z)
    if type(model.likelihood) is not Bernoulli or parameters.dtype not in (torch.float32, torch.float64):
        return model.likelihood.log_prob(x, parameters)
    return _bernoulli(x.flatten(1), parameters.flatten(-3))


def _bernoulli(x, logits):
    """The sum over pixels of x l - log(1 + exp l), for pixels (B, P) and logits (S, B, P).

    log(1 + exp l) = max(l, 0) - log sigmoid(|l|). The logarithms of 16 sigmoids are that of their product, which is at
    least 2^-16: a sixteenth of the logarithms, which are slow.
    """
    rest = logits.clamp_min(0)
    rest.addcmul_(x, logits, value=-1)  # max(l, 0) - x l: small where the model is right, so that no digits cancel
    product = logits.abs().sigmoid_()
    while product.shape[-1] % 2 == 0 and 16 * product.shape[-1] > logits.shape[-1]:
        one, other = product.chunk(2, dim=-1)
        product = one * other  # contiguous: the logarithm of a slice is slow
    return product.log_().sum(-1) - rest.sum(-1)
