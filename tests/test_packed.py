"""The network that pages have: little is lost, its bytes say what PyTorch computes, and its files are up to date."""

import gzip
import itertools

import pytest
import torch

from vae_tutorial import data, objectives, pretrained
from vae_tutorial.explorers import _packed

pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")
DOUBLE = torch.float64


def chain(*sizes):
    """Random layers with ReLUs between them."""
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.ReLU())))[:-1]


def test_what_rounding_costs():
    """As the docstring says: 0.23 nats, from the same draws."""
    if data.load("mnist", "test").name != "mnist":
        pytest.skip("needs MNIST")
    x = data.test_binarization()[:2000].double()

    def elbo(model):
        return objectives.elbo(model, x, samples=2, generator=torch.Generator().manual_seed(0)).elbo

    with torch.no_grad():
        lost = elbo(pretrained.load("mlp-2d").double()) - elbo(_packed.vae())
        assert 0 < lost.mean() < 0.23 + 4 * lost.std() / len(lost) ** 0.5 < 0.8
        # Why two layers of the encoder have 16 bits:
        model = _packed.vae()
        model.encoder = _packed.rounded(pretrained.load("mlp-2d").encoder)
        assert (elbo(_packed.vae()) - elbo(model)).mean() > 3


def test_a_weight_is_as_near_as_its_bits_allow():
    torch.manual_seed(0)
    network = chain(30, 20, 10)
    with torch.no_grad():
        network[2].weight[3] = 0
    small = _packed.rounded(network, (8, 16))
    for layer, other, most in zip(_packed.linear(network), _packed.linear(small), (127, 32767), strict=True):
        step = layer.weight.double().abs().amax(1, keepdim=True) / most
        assert ((layer.weight - other.weight).abs() <= 0.5001 * step).all()
        assert torch.equal(layer.bias.double(), other.bias)
    assert torch.equal(network(torch.ones(30)), network.float()(torch.ones(30))), "the network itself stays"


@pytest.mark.parametrize("bits", [8, (8, 16, 8)])
def test_a_page_computes_what_pytorch_computes(explorer, bits):
    torch.manual_seed(1)
    network = chain(7, 40, 30, 5)
    layers = _packed.linear(network)
    inputs = torch.randn(20, 7, dtype=DOUBLE)
    found = explorer.page.evaluate(
        """async ([sizes, script, bits, inputs]) => {
          const { forward, unpackLayers } = await import('./explorers/shared.js');
          eval(script);
          const layers = unpackLayers(sizes, new DataView(window.explorerFiles.x.buffer), bits);
          return inputs.map(input => [...forward(layers, input)]);
        }""",
        [
            _packed.sizes(layers),
            _packed.script("x", _packed.packed(layers, bits)),
            3 * [8] if bits == 8 else bits,
            inputs.tolist(),
        ],
    )
    with torch.no_grad():
        wanted = _packed.rounded(network, bits)(inputs)
    torch.testing.assert_close(torch.tensor(found, dtype=DOUBLE), wanted, rtol=0, atol=1e-12)


def test_the_files_are_those_of_the_shipped_model():
    """`make figures` writes them."""
    for name, text in _packed.files().items():
        if name == "digits14" and data.load("mnist", "test").name != "mnist":
            continue
        assert (_packed.FILES / f"{name}.js").read_text("utf-8") == text, name
        assert len(gzip.compress(text.encode())) < 140_000
