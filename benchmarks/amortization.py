"""The amortization gap of a small encoder on the curved model, over the length of training.

    python benchmarks/amortization.py [--seeds 5] [--quick --folder FOLDER]

The encoder of chapter 5 (2-128-128-2, tanh) learns q(z | x) for the curved model, whose decoder stays as it is. Each
step has 200 fresh draws of x; Adam's step falls from 0.003 to 0 along a cosine, over 500, 2,000 or 8,000 steps. A seed
sets weights and draws. Nothing is estimated: the ELBO, the best Gaussian for each x and log p(x) are integrals.
``mean`` and ``median``: the amortization gap over 2,000 other draws of the model. ``places`` and ``strip``: at x of its
own. ``peak``: the largest on the path from (-0.25, 0.5) to (0.25, 0.5), 2,001 points. ``width``: how much of x_1 there
has a gap above 1 nat. ``family_...``: the approximation gap at the same x.

``--quick``: a tiny run, as a smoke test.
"""

import argparse
import time
from pathlib import Path

import torch

from vae_tutorial import exact, information, stored

MODEL = exact.curved()
PLACES = [[0, -1], [0.01, 0.5], [0.1, 0.5], [0.5, 0], [1, 3], [1.5, 8]]
STRIP = [0, 0.01, 0.02, 0.05, 0.1]
# Three-point Gauss-Hermite quadrature, in standard deviations: exact here, as log p(x | z) has degree 4 in z.
NODES = torch.tensor([-(3**0.5), 0, 3**0.5], dtype=torch.float64)
WEIGHTS = torch.tensor([1 / 6, 2 / 3, 1 / 6], dtype=torch.float64)


def elbo(x, mu, logvar):
    """Return the ELBO of N(mu, exp logvar) under the curved model, ``(B,)``: ``MODEL.elbo``, with less work."""
    z = mu + torch.exp(0.5 * logvar) * NODES  # (B, 3)
    log_p_x_given_z = MODEL.log_likelihood(x[:, None], exact.parabola(z[..., None]))
    return log_p_x_given_z @ WEIGHTS - information.gaussian_kl(mu, logvar)


def draws(n, generator):
    z = torch.randn(n, 1, generator=generator).double()
    return exact.parabola(z) + 0.3 * torch.randn(n, 2, generator=generator).double()


def trained(seed, steps):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(2, 128), torch.nn.Tanh(), torch.nn.Linear(128, 128), torch.nn.Tanh()]
    encoder = torch.nn.Sequential(*layers, torch.nn.Linear(128, 2)).double()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed + 1)
    for _ in range(steps):
        x = draws(200, generator)
        loss = -elbo(x, *encoder(x).chunk(2, dim=-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return encoder.requires_grad_(False)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the result goes, if not into the package")
    arguments = parser.parse_args(argv)
    if arguments.quick and arguments.folder is None:
        parser.error("--quick needs --folder: a tiny run is no result")
    seeds, lengths = (1, (5,)) if arguments.quick else (arguments.seeds, (500, 2000, 8000))

    path = torch.linspace(-0.25, 0.25, 101 if arguments.quick else 2001).double()
    groups = {
        "draws": draws(50 if arguments.quick else 2000, torch.Generator().manual_seed(1000)),
        "places": torch.tensor(PLACES, dtype=torch.float64),
        "strip": torch.tensor([[x1, 0.5] for x1 in STRIP], dtype=torch.float64),
        "path": torch.stack([path, torch.full_like(path, 0.5)], 1),
    }
    best = {name: MODEL.elbo(x, *MODEL.best_gaussian(x)) for name, x in groups.items()}
    family = {name: MODEL.log_prob(x) - best[name] for name, x in groups.items()}

    runs, begun = [], time.process_time()
    for seed in range(seeds):
        for steps in lengths:
            encoder = trained(seed, steps)
            gap = {n: best[n] - MODEL.elbo(x, *encoder(x).chunk(2, dim=-1)) for n, x in groups.items()}
            runs.append(
                {
                    "seed": seed,
                    "steps": steps,
                    "mean": gap["draws"].mean().item(),
                    "median": gap["draws"].median().item(),
                    "places": gap["places"].tolist(),
                    "strip": gap["strip"].tolist(),
                    "peak": gap["path"].max().item(),
                    "width": 0.5 * (gap["path"] > 1).double().mean().item(),
                }
            )
            print(runs[-1], flush=True)
    stored.write(
        "amortization",
        {
            "places": PLACES,
            "strip": STRIP,
            "family_mean": family["draws"].mean().item(),
            "family_places": family["places"].tolist(),
            "family_strip": family["strip"].tolist(),
            "runs": runs,
        },
        command="python benchmarks/amortization.py" + (f" --seeds {seeds}" if seeds != 5 else ""),
        protocol=" ".join(__doc__.split("\n\n")[2].split()),
        trainings=seeds,
        minutes=(time.process_time() - begun) / 60,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
