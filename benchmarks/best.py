"""What pays, at equal time, on the way to a low log p(x): convolutions, neighbours, a learned prior, two levels, k = 5.

    python benchmarks/best.py            an hour on one quiet core; needs MNIST
    python benchmarks/best.py --quick --folder FOLDER     a smoke test of seconds, on whatever data are there

Protocol: each candidate trains for as many steps as fit into 120 seconds of one quiet core, batches of 100 of the first
58,000 training images, binarized anew, Adam with a learning rate that rises over 200 steps to 0.002 and falls to 0
along a cosine, the KL's weight rising over the first tenth. How many steps fit is measured first, in turn, within one
process. Then, on 1,000 of the last 2,000 training images, binarized once, the ELBO and log p(x) with 50 draws from the
encoder's q. ``stderr`` is that of log p over images, which are the same for all candidates. ``kl``: nats in z; ``ess``:
the median effective sample size; ``cost``: seconds of a step.
"""

import math
import statistics
import time

import _common
import torch
import torch.nn.functional as F
from torch import nn

from vae_tutorial import data, models, pixelvae, reproduce
from vae_tutorial.data import binarize_bytes
from vae_tutorial.information import gaussian_kl
from vae_tutorial.marginal import averaged

BATCH, LR, SEEDS, SECONDS, HELD_OUT = 100, 2e-3, 2, 120, 2000
_LOG_2PI = math.log(2 * math.pi)


class Mixture(nn.Module):
    """A prior: a mixture of diagonal Gaussians. Source: Tomczak and Welling (2018), section 2, as MoG."""

    def __init__(self, latent_dim, components=100):
        super().__init__()
        self.mu = nn.Parameter(torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.full((components, latent_dim), -0.3))
        self.logits = nn.Parameter(torch.zeros(components))

    def log_prob(self, z):
        precision = (-2 * self.log_scale).exp()
        square = z.square() @ precision.T - 2 * z @ (self.mu * precision).T + (self.mu.square() * precision).sum(1)
        constant = self.logits.log_softmax(0) - self.log_scale.sum(1) - 0.5 * z.shape[-1] * _LOG_2PI
        return (constant - 0.5 * square).logsumexp(-1)


class _MaskedLinear(nn.Linear):
    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, input):
        return F.linear(input, self.weight * self.mask, self.bias)


class Flow(nn.Module):
    """A prior: two autoregressive layers over z. Sources: Papamakarios et al. (2017); Chen et al. (2017) as a prior."""

    def __init__(self, latent_dim, layers=2, hidden=200):
        super().__init__()
        unit, inner = torch.arange(latent_dim), torch.arange(hidden) % (latent_dim - 1)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            last = _MaskedLinear((unit[:, None] > inner).repeat(2, 1))
            nn.init.zeros_(last.weight)  # a new layer changes nothing
            nn.init.zeros_(last.bias)
            first, second = _MaskedLinear(inner[:, None] >= unit), _MaskedLinear(inner[:, None] >= inner)
            self.layers.append(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last))

    def log_prob(self, z):
        log_det = 0.0
        for layer in self.layers:
            shift, raw = layer(z).chunk(2, dim=-1)
            log_scale = 2 * torch.tanh(raw / 2)
            z, log_det = ((z - shift) * torch.exp(-log_scale)).flip(-1), log_det - log_scale.sum(-1)
        return _standard(z) + log_det


class TwoLevels(nn.Module):
    """A prior of z = (upper, lower): N(0, I) for the upper, a Gaussian that it foretells for the lower."""

    def __init__(self, latent_dim, upper=16, hidden=200):
        super().__init__()
        self.upper, lower = upper, latent_dim - upper
        self.layers = nn.Sequential(nn.Linear(upper, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(hidden, 2 * lower)

    def log_prob(self, z):
        shift, raw = self.out(self.layers(z[..., : self.upper])).chunk(2, dim=-1)
        log_scale = 2 * torch.tanh(raw / 2)
        lower = (z[..., self.upper :] - shift) * torch.exp(-log_scale)
        return _standard(torch.cat([z[..., : self.upper], lower], -1)) - log_scale.sum(-1)


class _Lower(nn.Module):
    """A decoder that is given the lower level alone."""

    def __init__(self, decoder, upper=16):
        super().__init__()
        self.decoder, self.upper = decoder, upper

    def forward(self, z):
        return self.decoder(z[..., self.upper :])


class _Float(nn.Module):
    """A decoder whose logits are in float32, for a likelihood that sums them as they are."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, z):
        return self.decoder(z).float()


def _standard(z):
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * _LOG_2PI)


def convolutions():
    small = (64, 7, 7)
    encoder, decoder = pixelvae._Encoder(32, 32, 64, small), pixelvae._Decoder(32, 32, 64, small, 1)
    return models.VAE(encoder, _Float(decoder), 32).to(memory_format=torch.channels_last)


def two_levels():
    upper, lower = pixelvae.PixelVAE(48), pixelvae.PixelVAE(32)
    return models.VAE(upper.encoder, _Lower(lower.decoder), 48, (1, 28, 28), lower.likelihood)


CANDIDATES = {  # the network, the prior (None: N(0, I)), the draws k in the objective
    "Burda's MLP": (lambda: reproduce.network(torch.initial_seed()), None, 1),
    "convolutions": (convolutions, None, 1),
    "neighbours, 1 away": (lambda: pixelvae.PixelVAE(reach=1), None, 1),
    "neighbours": (pixelvae.PixelVAE, None, 1),
    "neighbours, 5 away": (lambda: pixelvae.PixelVAE(reach=5), None, 1),
    "neighbours, mixture prior": (pixelvae.PixelVAE, lambda: Mixture(32), 1),
    "neighbours, flow prior": (pixelvae.PixelVAE, lambda: Flow(32), 1),
    "neighbours, two levels": (two_levels, lambda: TwoLevels(48), 1),
    "neighbours, k = 5": (pixelvae.PixelVAE, None, 5),
    "neighbours, half as wide": (lambda: pixelvae.PixelVAE(channels=(16, 32)), None, 1),
}


class Candidate(nn.Module):
    """A network, its prior and its objective."""

    def __init__(self, name, seed):
        super().__init__()
        torch.manual_seed(seed)
        network, prior, self.k = CANDIDATES[name]
        self.model, self.prior = network(), prior and prior()

    def log_weights(self, x, samples):
        """Return log p(x | z) and log p(z) - log q(z), both (S, B), and the exact KL where there is one."""
        mu, logvar = self.model.encode(x)
        z = models.reparameterize(mu, logvar, samples)
        log_p_x_given_z = self.model.likelihood.log_prob(x, self.model.decode(z))
        log_q = -0.5 * ((z - mu).square() * torch.exp(-logvar) + logvar + _LOG_2PI).sum(-1)
        if self.prior is None:
            return log_p_x_given_z, _standard(z) - log_q, gaussian_kl(mu, logvar)
        return log_p_x_given_z, self.prior.log_prob(z) - log_q, None

    def loss(self, x, beta):
        log_p_x_given_z, rest, kl = self.log_weights(x, self.k)
        if self.k == 1 and kl is not None:
            rest = -kl
        return -((log_p_x_given_z + beta * rest).logsumexp(0) - math.log(self.k)).mean()


def step(candidate, optimizer, images, beta, batch):
    chosen = torch.randint(len(images), (batch,))
    loss = candidate.loss(binarize_bytes(images[chosen]), beta)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def adam(candidate):
    return torch.optim.Adam(candidate.parameters(), lr=LR, fused=True)


def seconds_of_a_step(images, rounds, steps, batch):
    """Return the least CPU seconds that a step of each candidate took, over rounds in turn: those of a quiet core."""
    all_of_them = {name: Candidate(name, 0) for name in CANDIDATES}
    optimizers = {name: adam(candidate) for name, candidate in all_of_them.items()}
    found = {name: [] for name in CANDIDATES}
    for _ in range(rounds):
        for name, candidate in all_of_them.items():
            start = time.process_time()
            for _ in range(steps):
                step(candidate, optimizers[name], images, 1.0, batch)
            found[name].append((time.process_time() - start) / steps)
    return {name: min(times[1:]) for name, times in found.items()}


def train(name, seed, images, steps, batch):
    candidate = Candidate(name, seed)
    optimizer = adam(candidate)
    for i in range(steps):
        rate = LR * min(1, (i + 1) / 200) * 0.5 * (1 + math.cos(math.pi * i / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        step(candidate, optimizer, images, min(1, 10 * i / steps), batch)
    return candidate.eval()


@torch.no_grad()
def measure(candidate, x, draws):
    elbos, kls, logs = [], [], []
    for part in x.split(50):
        pieces = [candidate.log_weights(part, 10) for _ in range(draws // 10)]
        log_w = torch.cat([first + second for first, second, _ in pieces]).double()  # (S, B)
        elbos.append(log_w.mean(0))
        kls.append(-torch.cat([second for _, second, _ in pieces]).mean(0))
        logs.append(averaged(log_w)[::2])
    log_p, ess = (torch.cat(column) for column in zip(*logs, strict=True))
    return {
        "elbo": torch.cat(elbos).mean().item(),
        "log_p": log_p.mean().item(),
        "stderr": log_p.std().item() / len(x) ** 0.5,
        "kl": torch.cat(kls).mean().item(),
        "ess": ess.median().item(),
    }


def main(argv=None):
    arguments = _common.parse(__doc__, argv, SEEDS)
    torch.set_num_threads(1)
    quick = arguments.quick
    images = data.load("mnist", "train", strict=not quick).images
    held, batch = (20, 4) if quick else (HELD_OUT, BATCH)
    x = binarize_bytes(images[-held:][: held // 2], torch.Generator().manual_seed(5))
    images = images[:-held]
    rounds, each = (2, 1) if quick else (6, 3)
    cost, minutes = _common.kept(arguments.keep, "cost", lambda: seconds_of_a_step(images, rounds, each, batch))
    steps = {name: 1 if quick else int(SECONDS / seconds) for name, seconds in cost.items()}
    found = {name: [] for name in CANDIDATES}
    for seed in range(1 if quick else arguments.seeds):
        for name in CANDIDATES:

            def run(name=name, seed=seed):
                return measure(train(name, seed, images, steps[name], batch), x, 10 if quick else 50)

            result, took = _common.kept(arguments.keep, f"{name}, seed {seed}", run)
            found[name].append(result)
            minutes += took
            print(f"{name}, seed {seed}: {result}", flush=True)
    values = {"cost": cost, "steps": steps, "found": found, "seconds": SECONDS}
    values["log_p"] = {name: statistics.mean(run["log_p"] for run in runs) for name, runs in found.items()}
    _common.write("best", values, __doc__, arguments.seeds, SEEDS, minutes, arguments.folder)


if __name__ == "__main__":
    main()
