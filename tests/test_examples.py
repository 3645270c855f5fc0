"""examples/vae.py is the package in one file: the same first weights, the same training, the same ELBOs."""

import importlib.util
from pathlib import Path

import pytest
import torch

from vae_tutorial import data, models, objectives, training

FILE = Path(__file__).parents[1] / "examples" / "vae.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_vae", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("networks", "package"), [("mlp_networks", models.MLPVAE), ("conv_networks", models.ConvVAE)])
def test_is_the_package(example, networks, package, capsys):
    torch.manual_seed(0)
    ours = package()
    torch.manual_seed(0)
    theirs = example.VAE(*getattr(example, networks)())
    weights = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)

    images = data.load("digits").images[:200]
    history = training.fit(ours, images, epochs=2, progress=False)
    assert example.train(theirs, images, epochs=2) == pytest.approx(history["elbo"], abs=2e-3)
    assert capsys.readouterr().out.count("nats per image") == 2

    x = data.test_binarization("digits")[:50]
    with torch.no_grad():
        found = example.elbo(theirs, x, torch.Generator().manual_seed(1))
        expected = objectives.elbo(ours, x, generator=torch.Generator().manual_seed(1))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=2e-3)


def test_is_short_and_imports_torch_and_data_only():
    text = FILE.read_text("utf-8")
    assert len(text.splitlines()) <= 110
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert all("torch" in line or line == "from vae_tutorial import data" for line in imports)
