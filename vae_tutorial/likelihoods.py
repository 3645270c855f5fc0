"""p(x | z) for one pixel value at a time: the decoder's parameters in; log-probability, mean and samples out.

A likelihood has no state. Its ``channels`` says how many parameters it needs for each pixel channel, and
``binary`` whether its data are black and white.
"""

import torch

__all__ = ["Bernoulli", "get"]


class Bernoulli:
    """Black-and-white pixels, each on with probability sigmoid(logit), independently given z."""

    name = "bernoulli"
    channels = 1
    binary = True

    def log_prob(self, x, logits):
        """Return log p(x | z), summed over the pixels of an image, in nats.

        ``x``: ``(..., C, H, W)``, zeros and ones; ``logits``: the same shape, or broadcast. Returns ``(...)``,
        in the dtype of the logits.
        From logits, never from sigmoids: log(sigmoid(-100)) is -100, but log(1 - sigmoid(100)) is minus infinity.
        Grey values are taken too, as expected log-probability under pixels drawn from them, not as a density.
        """
        return _BernoulliLogProb.apply(*torch.broadcast_tensors(x.to(logits.dtype), logits)).sum((-3, -2, -1))

    def mean(self, logits):
        """Return E[x | z], the probability that each pixel is on; same shape, in [0, 1]."""
        return torch.sigmoid(logits)

    def sample(self, logits, generator=None):
        """Return images drawn from p(x | z): zeros and ones, same shape. The mean is not such a draw."""
        uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
        return (uniform < torch.sigmoid(logits)).to(logits.dtype)


class _BernoulliLogProb(torch.autograd.Function):
    """x l - log(1 + exp l), pixel by pixel.

    What minus torch's ``binary_cross_entropy_with_logits`` computes, but with one exponential for value and gradient
    together: with s = sigmoid(l), log(1 + exp l) is max(l, 0) - log(max(s, 1 - s)), and its derivative is s.
    The rounding of s costs up to 6e-8 nats a pixel, 5e-5 an image: below what float32 can tell in a sum of 100 nats.
    """

    @staticmethod
    def forward(ctx, x, logits):
        probability = torch.sigmoid(logits)
        ctx.save_for_backward(x, logits, probability)
        log_larger = torch.maximum(probability, 1 - probability).log_()  # between log(1/2) and 0
        return log_larger.addcmul_(x, logits).sub_(logits.clamp_min(0))

    @staticmethod
    def backward(ctx, gradient):
        x, logits, probability = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: a second derivative needs to see where s came from
            probability = torch.sigmoid(logits)
        return (gradient * logits if ctx.needs_input_grad[0] else None), (x - probability).mul_(gradient)


_KNOWN = {likelihood.name: likelihood for likelihood in (Bernoulli,)}


def get(name):
    """Return the likelihood of that name, or the likelihood itself. Raises ValueError for an unknown name."""
    if isinstance(name, str):
        if name not in _KNOWN:
            raise ValueError(f"likelihood must be one of {', '.join(map(repr, _KNOWN))}; got {name!r}")
        return _KNOWN[name]()
    return name
