"""The whole bill of an autoencoder and of a VAE, the holes between the codes, and the told class of chapter 7.

    python benchmarks/bill.py [--seeds 0 1 2] [--quick] [--folder FOLDER]

Both models have one hidden layer of 200 units and see the same 15,000 images of MNIST. A seed stands for initial
weights, order of the images, and a reader of its own. Both are billed alike: Gaussian noise on the code, and a density
fitted to 11,250 *noisy* codes. What the autoencoder is not trained to choose, one standard deviation s for all codes,
is chosen on the other 3,750 training images. Bills are the negative ELBO on the 10,000 test images, nats per image.
Writes the result "bill"; ``--quick``: 1,000 images, one epoch, one seed, to see that it runs.
"""

import argparse
import time

import torch
from scipy.spatial import KDTree
from sklearn.mixture import GaussianMixture
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from vae_tutorial import data, information, models, stored, training

COMPONENTS = {2: 64, 20: 16}
NOISE = {2: (0.07, 0.1, 0.14, 0.2, 0.28), 20: (0.3, 0.4, 0.5, 0.6, 0.7, 0.85)}  # values of s to choose from


def fitted(codes, components):
    part = codes[: 3 * len(codes) // 4].double().numpy()
    return GaussianMixture(components, reg_covar=1e-4, max_iter=60, random_state=0).fit(part)


def log_density(density, z):
    return torch.from_numpy(density.score_samples(z.double().numpy()))


def log_normal(z, mu, sigma):
    return Normal(mu.double(), sigma.double()).log_prob(z.double()).sum(1)


def bills(model, x, z, mu, sigma, densities):
    """The negative ELBO with one draw z of q = N(mu, sigma^2), for each density in the prior's place."""
    pixels = model.likelihood.log_prob(x, model.decode(z)).double()
    return {name: (log_normal(z, mu, sigma) - log_p(z) - pixels).mean().item() for name, log_p in densities.items()}


def three_densities(codes, components):
    one, mixture = fitted(codes, 1), fitted(codes, components)
    return {
        "N(0, I)": lambda z: Normal(0.0, 1.0).log_prob(z.double()).sum(1),
        "one Gaussian": lambda z: log_density(one, z),
        "mixture": lambda z: log_density(mixture, z),
    }, mixture


def autoencoder_bill(ae, x_train, x_test, components):
    """For each s, fit densities to codes with that noise; keep the s of the least bill on the held-out images."""
    codes, z, cut = ae.encode(x_train), ae.encode(x_test), 3 * len(x_train) // 4
    exact, tried = fitted(codes, components), []
    for s in NOISE[ae.latent_dim]:
        noisy, sigma = codes + s * torch.randn_like(codes), torch.full_like(codes, s)
        densities, _ = three_densities(noisy, components)
        densities["mixture of exact codes"] = lambda z: log_density(exact, z)
        held = bills(ae, x_train[cut:], noisy[cut:], codes[cut:], sigma[cut:], densities)
        at, sigma = z + s * torch.randn_like(z), torch.full_like(z, s)
        tried.append((held, bills(ae, x_test, at, z, sigma, densities), s))
    found = {name: min(tried, key=lambda t: t[0][name]) for name in tried[0][0]}
    return {name: one[1][name] for name, one in found.items()} | {"s": found["mixture"][2]}, exact


def vae_bill(vae, x_train, x_test, components):
    densities, mixture = three_densities(models.reparameterize(*vae.encode(x_train))[0], components)
    mu, logvar = vae.encode(x_test)
    z, sigma = models.reparameterize(mu, logvar)[0], torch.exp(0.5 * logvar)
    found = bills(vae, x_test, z, mu, sigma, densities)
    if vae.latent_dim == 2:
        found["KL(q(z) || p(z))"] = distance_to_prior(mu.double(), sigma.double())
    return found, mixture


def distance_to_prior(mu, sigma):
    """KL of the aggregate posterior from N(0, I) by quadrature on a 2-D grid, as in the chapter."""
    line = torch.linspace(-6, 6, 601).double()
    first, second = (Normal(mu[:, j, None], sigma[:, j, None]).log_prob(line).exp() for j in (0, 1))
    q_z, log_p = first.T @ second / len(mu), Normal(0.0, 1.0).log_prob(line)
    return ((torch.xlogy(q_z, q_z) - q_z * (log_p[:, None] + log_p)).sum() * (line[1] - line[0]) ** 2).item()


def pixel_entropy(ae, z):
    return Bernoulli(logits=ae.decode(z)).entropy().flatten(1).sum(1)


def holes(ae, x_train, x_test):
    """Share of a fitted Gaussian's draws in holes; entropy of the pixels there and at the nearest training code."""
    codes, z = ae.encode(x_train), ae.encode(x_test)
    tree = KDTree(codes.numpy())
    d_99 = torch.from_numpy(tree.query(z.numpy())[0]).quantile(0.99)
    drawn = MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0)).sample((20_000,))
    distance, nearest = tree.query(drawn.numpy())
    inside = torch.from_numpy(distance) > d_99
    there, near = pixel_entropy(ae, drawn[inside]), pixel_entropy(ae, codes[torch.from_numpy(nearest)][inside])
    return {
        "hole share": inside.double().mean().item(),
        "entropy in holes": there.mean().item(),
        "entropy at the nearest codes": near.mean().item(),
        "entropy at test codes": pixel_entropy(ae, z).mean().item(),
        "share of pairs lower in the hole": (there < near).double().mean().item(),
    }


def trained_reader(x, y, seed, epochs=5):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(784, 200), torch.nn.ReLU(), torch.nn.Linear(200, 10)
    reader = torch.nn.Sequential(torch.nn.Flatten(), *layers)
    optimizer = torch.optim.Adam(reader.parameters())
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(reader(x[chosen]), y[chosen]).backward()
            optimizer.step()
    return reader.requires_grad_(False)


def told(reader, x):
    r = reader(x).double().softmax(1)
    return (information.entropy(r.mean(0)) - information.entropy(r).mean()).item()


def told_classes(reader, ae, vae, x_train, x_test, ae_mixture, vae_mixture, draws=10_000):
    """T of 10,000 images from each source; ten times the prior reaches where there are hardly any codes."""
    codes, prior = ae.encode(x_train), torch.randn(draws, ae.latent_dim)
    one = MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0)).sample((draws,))

    def from_mixture(mixture):
        return torch.from_numpy(mixture.sample(draws)[0]).float()

    at_test = models.reparameterize(*vae.encode(x_test))[0]
    places = {
        "AE, test codes": (ae, ae.encode(x_test)),
        "AE, N(0, I)": (ae, prior),
        "AE, 10 N(0, I)": (ae, 10 * prior),
        "AE, one Gaussian": (ae, one),
        "AE, mixture": (ae, from_mixture(ae_mixture)),
        "VAE, test codes": (vae, at_test),
        "VAE, prior": (vae, prior),
        "VAE, 10 prior": (vae, 10 * prior),
        "VAE, mixture": (vae, from_mixture(vae_mixture)),
    }
    return {name: told(reader, net.likelihood.sample(net.decode(z))) for name, (net, z) in places.items()}


def row(train, x_train, x_test, latent_dim, epochs, seed):
    pair = {}
    for name, make in {"AE": models.Autoencoder, "VAE": models.MLPVAE}.items():
        torch.manual_seed(seed)
        pair[name] = make(latent_dim, hidden=(200,))
        images = train.images[: len(x_train)]
        training.fit(pair[name], images, epochs=epochs, batch_size=100, lr=2e-3, seed=seed, progress=False)
        pair[name].requires_grad_(False)
    ae, vae = pair.values()
    reader = trained_reader(x_train, train.labels[: len(x_train)], seed)
    components = min(COMPONENTS[latent_dim], len(x_train) // 50)
    ae_bill, ae_mixture = autoencoder_bill(ae, x_train, x_test, components)
    vae_bill_, vae_mixture = vae_bill(vae, x_train, x_test, components)
    pixels = ae.likelihood.log_prob(x_test, ae.decode(ae.encode(x_test))).mean().item()
    return {
        "latent_dim": latent_dim,
        "epochs": epochs,
        "seed": seed,
        "AE": ae_bill | {"pixels at exact codes": -pixels},
        "VAE": vae_bill_,
        "holes": holes(ae, x_train, x_test) if latent_dim == 2 else None,
        "told": told_classes(reader, ae, vae, x_train, x_test, ae_mixture, vae_mixture),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", help="where the result goes, if not into the package")
    parser.add_argument("--quick", action="store_true", help="few images, one epoch: to see that it runs")
    arguments = parser.parse_args(argv)
    start = time.perf_counter()
    name, n, tests = ("digits", 1000, 300) if arguments.quick else ("mnist", 15_000, 10_000)
    train, x_test = data.load(name, "train", strict=not arguments.quick), data.test_binarization(name)[:tests]
    x_train = data.binarize(train.images[:n], torch.Generator().manual_seed(0))
    jobs = [(2, 1), (20, 1)] if arguments.quick else [(2, 8), (20, 3), (20, 6), (20, 20)]
    rows = []
    for seed in arguments.seeds[: 1 if arguments.quick else None]:
        for latent_dim, epochs in jobs:
            rows.append(row(train, x_train, x_test, latent_dim, epochs, seed))
            print(rows[-1], flush=True)
    stored.write(
        "bill",
        {"rows": rows},
        command="python benchmarks/bill.py",
        protocol=__doc__.split("\n\n")[2],
        trainings=len(rows) // len(jobs),
        minutes=(time.perf_counter() - start) / 60,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
