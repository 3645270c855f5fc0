"""Group normalization in ConvVAE: against its definition; and without it nothing has changed."""

import json

import pytest
import torch
from torch import nn

from vae_tutorial import data, models, objectives, training


def new(**arguments):
    torch.manual_seed(0)
    return models.ConvVAE(
        **{"latent_dim": 3, "channels": (16, 12), "image_shape": (3, 8, 8), "norm": "group"} | arguments
    )


def test_without_it_the_first_weights_are_those_of_the_plain_layers():
    """Bit for bit: the weights that are shipped were trained from them."""
    torch.manual_seed(0)
    plain = models.ConvVAE()
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 32, 4), nn.Conv2d(32, 64, 4), nn.Linear(64 * 49, 40)]
    layers += [nn.Linear(20, 64 * 49), nn.ConvTranspose2d(64, 32, 4), nn.ConvTranspose2d(32, 1, 4)]
    wanted = [p for layer in layers for p in layer.parameters()]
    found = list(plain.parameters())
    assert len(found) == len(wanted)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    names = [f"{part}.layers.{i}" for part, places in (("encoder", (0, 2, 5)), ("decoder", (0, 3, 5))) for i in places]
    assert list(plain.state_dict()) == [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]


def test_it_stands_between_each_convolution_and_its_relu():
    model, plain = new(), new(norm=None)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.GroupNorm)]
    assert [(norm.num_groups, norm.num_channels) for norm in norms] == [(4, 16), (1, 12), (1, 12), (4, 16)]
    for layers in (model.encoder.layers, model.decoder.layers):
        kinds = [type(layer) for layer in layers]
        assert all(kinds[i + 1] is nn.ReLU for i, kind in enumerate(kinds) if kind is nn.GroupNorm)
        assert kinds.count(nn.GroupNorm) == kinds.count(nn.ReLU) == 2
    drawn = [p for p in model.parameters() if p.ndim > 1]  # it draws nothing, so the others are as they were
    assert all(torch.equal(a, b) for a, b in zip(drawn, (p for p in plain.parameters() if p.ndim > 1), strict=True))


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (3, 1), (8, 2), (18, 2), (20, 1), (24, 2), (32, 8), (256, 8)])
def test_a_group_has_four_channels_or_more(channels, groups):
    norm = next(layer for layer in new(channels=(channels,)).modules() if isinstance(layer, nn.GroupNorm))
    assert norm.num_groups == groups
    assert channels % groups == 0


def test_codes_differ_where_one_pixel_is_left():
    """Groups of one channel would be normalized away there."""
    model = new(channels=(8, 8, 8), image_shape=(1, 8, 8))
    with torch.no_grad():
        mu, _ = model.encode(torch.rand(5, 1, 8, 8))
    assert mu.std(0).min() > 1e-3


def test_it_computes_what_it_is_defined_as():
    model, x = new(), torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape))
        layers = model.encoder.layers
        y = layers[0](x)
        groups = y.unflatten(1, (4, 4))  # four of 16 channels each
        var, mean = torch.var_mean(groups, dim=(2, 3, 4), correction=0, keepdim=True)
        wanted = ((groups - mean) / (var + 1e-5).sqrt()).flatten(1, 2)
        wanted = wanted * layers[1].weight.view(16, 1, 1) + layers[1].bias.view(16, 1, 1)
        torch.testing.assert_close(layers[:3](x), wanted.relu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 7, 9), (2, 37, 50)])
@pytest.mark.parametrize("depth", [1, 2])
def test_odd_sizes_come_back(shape, depth):
    model = new(channels=(8, 5)[:depth], image_shape=shape, likelihood="gaussian_per_pixel")
    mu, logvar = model.encode(torch.rand(2, *shape))
    assert mu.shape == logvar.shape == (2, 3)
    assert model.decode(torch.randn(4, 2, 3)).shape == (4, 2, 2 * shape[0], *shape[1:])
    assert model.sample(2).shape == (2, *shape)


def test_an_image_is_alone_and_the_mode_does_not_matter():
    """Unlike with batch normalization."""
    model, x = new(likelihood="gaussian_shared"), torch.rand(6, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x)[0][:1], model.encode(x[:1])[0])
        modes = [
            objectives.elbo(model.train(mode), x, generator=torch.Generator().manual_seed(0)).elbo
            for mode in (True, False)
        ]
    assert torch.equal(*modes)


def test_it_is_kept_with_the_model(tmp_path):
    model = new(likelihood="gaussian_shared")
    assert json.loads(json.dumps(model.architecture))["arguments"]["norm"] == "group"
    training.fit(
        model, data.Images(torch.randint(0, 256, (20, 3, 8, 8)).byte(), torch.zeros(20), "a", "train"), epochs=1
    )
    models.save(model, tmp_path / "model.safetensors")
    loaded, x = models.load(tmp_path / "model.safetensors"), torch.rand(4, 3, 8, 8)
    assert loaded.architecture == model.architecture
    with torch.no_grad():
        assert torch.equal(loaded.encode(x)[0], model.encode(x)[0])
    assert models.ConvVAE().architecture["arguments"]["norm"] is None


@pytest.mark.parametrize("norm", ["batch", "Group", "", 1, True, nn.GroupNorm])
def test_bad_input(norm):
    with pytest.raises(ValueError, match="norm must be None or 'group'; got"):
        new(norm=norm)
