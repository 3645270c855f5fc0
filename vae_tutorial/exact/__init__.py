"""Models whose p(x) is known, to compare a bound, an estimate or a network with the truth.

``LinearGaussian`` has everything in closed form, ``GridLatent`` by quadrature over a latent of one or two dimensions,
``BernoulliMixture`` by a sum over its components. ``curved`` is the course's small example of a GridLatent. Each is a
file of its own, and can be read alone. All amounts of information are in nats.

Shapes: N examples (or B in a batch), D numbers in an example, Z latent dimensions, K components, G points of a grid.
"""

from vae_tutorial.exact.bernoulli_mixture import BernoulliMixture
from vae_tutorial.exact.curved_decoder import curved, gaussian_log_likelihood, parabola
from vae_tutorial.exact.grid_latent import GridLatent, KLSplit
from vae_tutorial.exact.linear_gaussian import LinearGaussian, surviving_directions

__all__ = [
    "BernoulliMixture",
    "GridLatent",
    "KLSplit",
    "LinearGaussian",
    "curved",
    "gaussian_log_likelihood",
    "parabola",
    "surviving_directions",
]
