"""The benchmarks compare equals: the same layers on both sides, and the same loss."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vae_tutorial import data, models, objectives

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


def test_the_copied_loader_hands_out_the_images(benchmarks):
    """torchvision's way, by a picture of each, is slow and exact."""
    train = data.load("digits")
    batches = list(benchmarks["training"].copied_loader(train))
    x, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    assert len(batches[0][0]) == benchmarks["training"].BATCH
    assert torch.equal(x.sum((1, 2, 3)).sort().values, (train.images / 255).sum((1, 2, 3)).sort().values)
    assert torch.equal(labels.sort().values, train.labels.sort().values)


def test_a_gpu_is_busy_while_any_kernel_runs_and_not_between_them(benchmarks):
    def event(start, end, device=torch.autograd.DeviceType.CUDA, **more):
        return SimpleNamespace(time_range=SimpleNamespace(start=start, end=end), device_type=device, **more)

    events = [
        event(500, 700),
        event(100, 200, is_user_annotation=False),
        event(150, 300),  # on another stream
        event(160, 170),
        event(0, 1e6, torch.autograd.DeviceType.CPU),
        event(0, 1e6, is_user_annotation=True),  # Optimizer.step, with the pauses in it
    ]
    assert benchmarks["training"].busy_seconds(events) == pytest.approx(400e-6)
    assert benchmarks["training"].busy_seconds([]) == 0


def test_the_profiler_names_what_is_read_of_its_events(benchmarks):
    """Without a GPU its events are all the CPU's, and a GPU was never busy."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(3) + 1
    events = profiler.events()
    assert all(event.device_type == torch.autograd.DeviceType.CPU for event in events)
    assert events[0].time_range.end >= events[0].time_range.start
    assert benchmarks["training"].busy_seconds(events) == 0
    assert benchmarks["training"].waiting(models.MLPVAE, None, torch.device("cpu"), 1.0) is None


@pytest.fixture(scope="module")
def decoders():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        specification = importlib.util.spec_from_file_location("decoders", FOLDER / "decoders.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        yield module


def test_the_decoders_that_are_compared_are_what_they_are_called(decoders):
    nn = torch.nn
    for name in decoders.VARIANTS:
        model, _ = decoders.fresh(name, 0)
        assert model.decode(torch.randn(2, 32)).shape == (2, 3, 64, 64)
        kinds = [type(layer).__name__ for layer in model.modules()]
        stages = 4 if name.startswith("4") else 3
        assert kinds.count("ConvTranspose2d") == (0 if "upsampling" in name else stages)
        assert kinds.count("Upsample") == (stages if "upsampling" in name else 0)
        assert kinds.count("BatchNorm2d") == (2 * stages if "batch" in name else 0)
        assert kinds.count("Residual") == (2 * stages if "residual" in name else 0)
        own = 2 * stages if "residual" in name else 0  # a residual block has a norm of its own
        assert kinds.count("GroupNorm") == (2 * stages + own if "group" in name else 0)
        if "one group" in name:
            assert {layer.num_groups for layer in model.modules() if isinstance(layer, nn.GroupNorm)} == {1}


def test_kaiming_weights_keep_the_size_of_what_passes(decoders):
    """The mean square of what enters a ReLU is the same in all layers of the decoder; by default it falls."""

    def sizes(name):
        torch.manual_seed(0)
        found, x = [], torch.randn(200, 32)
        for layer in decoders.fresh(name, 0)[0].decoder.layers:
            x = layer(x)
            if isinstance(layer, torch.nn.ConvTranspose2d):
                found.append(
                    x[:, :, 4:-4, 4:-4].square().mean().item() if x.shape[-1] > 8 else x.square().mean().item()
                )
        return found

    with torch.no_grad():
        kept, fallen = sizes("4 stages, Kaiming"), sizes("4 stages")
    assert all(1 < size < 4 for size in kept)
    assert fallen[-1] < 0.01


def test_a_residual_block_adds_only_its_bias_at_first(decoders):
    block, x = decoders.Residual(16), torch.randn(2, 16, 5, 5)
    assert torch.equal(block(x), x + block.layers[-1].bias.view(16, 1, 1))
    block.layers[-1].weight.data.normal_()
    assert not torch.allclose(block(x) - x, (block(x) - x)[:, :, :1, :1])
