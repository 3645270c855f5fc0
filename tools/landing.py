"""Draw the pictures of the landing page and of links to it: book/_static/ledger.svg and card.png (`make figures`).

Beside each row of the ledger stand images drawn from the model of that row, so each model is fitted here again, as its
chapter does it, and its number compared with the ledger's. About a minute on two cores; needs MNIST.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import plots
import torch

from vae_tutorial import data, exact, ledger, models, objectives, plotting, training

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
HEADINGS = "what it draws", "what a real digit costs, in nats"
SHOWN = 4  # images drawn from each model, the first that come


def draws():
    """Return for each row of the ledger ``(SHOWN, 1, 28, 28)`` images from its model, in [0, 1].

    They are black and white, but where a model draws a latent variable first: there they are the probabilities of ink
    that it then has, without the noise of the pixels. Under the key "real": the first test images, binarized.
    Raises LedgerError where a model does not cost what the ledger says.
    """
    train, test = data.load("mnist", "train", strict=True), data.test_binarization(strict=True)
    generator = torch.Generator().manual_seed(3)
    mean_ink = train.images.double().mean(0) / 255  # (1, 28, 28)
    found = {"real": test[:SHOWN]}

    smooth = (len(train) * mean_ink + 0.5) / (len(train) + 1)
    for key, theta in [
        ("uniform", torch.full_like(mean_ink, 0.5)),
        ("shared", mean_ink.mean().expand_as(mean_ink)),
        ("independent", smooth),
    ]:
        ledger.check(key, -torch.distributions.Bernoulli(theta).log_prob(test.double()).sum((1, 2, 3)))
        found[key] = torch.bernoulli(theta.expand(SHOWN, 1, 28, 28), generator=generator)

    x = data.binarize(train.images, torch.Generator().manual_seed(0))
    for components in (10, 100):
        mixture = exact.BernoulliMixture.fit(x, components, iterations=25, tolerance=0.0)
        ledger.check(f"mixture_{components}", -mixture.log_prob(test))
        _, chosen = mixture.sample(SHOWN, generator)
        found[f"mixture_{components}"] = mixture.probs[chosen]

    torch.manual_seed(0)
    vae = models.MLPVAE(latent_dim=20, hidden=(400,))
    training.fit(vae, train.images, epochs=10, seed=0, progress=False)
    with torch.no_grad():
        ledger.check("mlp_vae", -objectives.elbo(vae, test, generator=torch.Generator().manual_seed(0)).elbo)
        found["mlp_vae"] = vae.decode(torch.randn(SHOWN, vae.latent_dim, generator=generator)).sigmoid()
    # Sixteen greys are enough for the eye, and less to load.
    return {key: (15 * image).round() / 15 for key, image in found.items()}


def said(row):
    """A row's number as the ledger says it: bound and floor are marked."""
    return f"≥ {row.nats:.1f}" if row.kind == "floor" else ("≤ " if row.kind == "bound" else "") + f"{row.nats:.0f}"


def staircase(rows, images, floor):
    """Return a figure: for each row of the ledger its images, and beside them its bar below its number and name.

    ``images``: by the rows' keys, and by "real" for the last row, of which only the ``floor`` is known;
    ``(SHOWN, 1, H, W)``. In every bar the part below the floor, which no model saves, is hatched.
    """
    fig, axes = plt.subplots(len(rows) + 1, 2, figsize=(5.0, 0.6 * (len(rows) + 1)), width_ratios=(1, 2))
    for axis, heading in zip(axes[0], HEADINGS, strict=True):
        axis.set_title(heading, loc="left", fontsize=10, color="#555555")
    longest = max(row.nats for row in rows)
    steps = [(row.key, row.nats, said(row), row.model) for row in rows]
    last = ("real", 0, said(floor), "real digits: the floor for any model")
    hatch = {"facecolor": "white", "edgecolor": plotting.COLORS["data"], "hatch": "/////", "linewidth": 0.8}
    for (key, nats, number, name), (left, right) in zip([*steps, last], axes, strict=True):
        plotting.image_grid(images[key], columns=SHOWN, ax=left)
        left.set_anchor("N")  # below its heading
        left.images[0].set_interpolation("none")  # the file keeps the pixels; the reader's screen enlarges them
        right.barh(0, nats, height=0.8, color=plotting.COLORS["data"])
        right.barh(0, floor.nats, height=0.8, **hatch)
        right.text(0, 0.62, number, weight="bold", fontsize=14)
        right.text(0.28 * longest, 0.62, name)
        right.set(xlim=(0, longest), ylim=(-0.5, 1.4))
        right.set_axis_off()
    return fig


def card(rows, images):
    """Return a figure of 1200 x 630 pixels, the form in which other sites show a link: title, question, staircase."""
    fig = plt.figure(figsize=(12, 6.3), dpi=100, layout="none")
    fig.text(0.05, 0.83, "Variational autoencoders, in nats", fontsize=40, weight="bold")
    fig.text(0.05, 0.72, "How many nats does it take to describe a handwritten digit?", fontsize=23)
    for position, row in enumerate(rows):
        left = fig.add_axes((0.05 + 0.155 * position, 0.30, 0.13, 0.30))
        plotting.image_grid(images[row.key], columns=2, ax=left)
        fig.text(0.115 + 0.155 * position, 0.17, said(row), fontsize=34, ha="center")
    fig.text(0.05, 0.06, "What models of the course draw, and what a real digit costs under each.", fontsize=17)
    return fig


def main():
    matplotlib.use("Agg")
    plotting.use_style()
    rows, images = ledger.rows(), draws()
    plots.write(STATIC / "ledger.svg", plots.svg(staircase(rows, images, ledger.floor())))
    plt.rcParams["font.family"] = "serif"
    card(rows, images).savefig(STATIC / "card.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
