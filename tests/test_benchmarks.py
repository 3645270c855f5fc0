"""The benchmarks compare equals: the same layers on both sides, and the same loss."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from vae_tutorial import models, objectives

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks():
    """Both scripts as modules; the second imports the first by its file's name."""
    loaded = {}
    for name in ("training", "likelihood"):
        specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        loaded[name] = sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(loaded[name])
    yield loaded
    for name in loaded:
        del sys.modules[name]


@pytest.mark.parametrize(("copied", "ours"), [("CopiedVAE", models.MLPVAE), ("CopiedConvVAE", models.ConvVAE)])
def test_both_sides_have_the_same_layers(benchmarks, copied, ours):
    copied = getattr(benchmarks["training"], copied)()
    assert sum(p.numel() for p in copied.parameters()) == sum(p.numel() for p in ours().parameters())
    probabilities, mu, logvar = copied(torch.rand(3, 1, 28, 28))
    assert probabilities.shape == (3, 784)
    assert mu.shape == logvar.shape == (3, 20)


def test_the_copied_loss_is_minus_the_elbo(benchmarks):
    """On the same weights and noise: its summed loss is minus the sum of our ELBOs."""
    torch.manual_seed(0)
    copied, x = benchmarks["training"].CopiedVAE(), torch.rand(5, 1, 28, 28)
    seen = benchmarks["likelihood"].AsOurs(copied)
    probabilities, mu, logvar = copied(x, torch.Generator().manual_seed(1))
    loss = torch.nn.functional.binary_cross_entropy(probabilities, x.view(-1, 784), reduction="sum")
    loss = loss - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    ours = objectives.elbo(seen, x, generator=torch.Generator().manual_seed(1)).elbo.sum()
    assert loss.item() == pytest.approx(-ours.item(), rel=1e-5)


def test_the_floors_run(benchmarks):
    assert benchmarks["training"].matrix_products(2, torch.device("cpu")) > 0
    assert benchmarks["training"].convolutions(2, torch.device("cpu")) > 0
