"""The shipped models: whole, small enough, as good as their cards say; and their training, on a small scale."""

import json
import re

import pytest
import torch

from vae_tutorial import cli as command
from vae_tutorial import data, evaluation, objectives, pixelvae, pretrained, stored
from vae_tutorial.pretrained import making, shipped

pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")

BETAS = [0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 20]


def test_names():
    first = ["mlp", "conv", "burda2016-vae", "pixel", "mlp-2d"]
    assert pretrained.names() == [*first, *(f"beta-{beta:g}" for beta in BETAS)]
    assert [pretrained.recipe(f"beta-{beta:g}")["beta"] for beta in BETAS] == BETAS
    assert pretrained.command("conv") == "python -m vae_tutorial pretrained conv"
    for ask in (pretrained.load, pretrained.card, pretrained.recipe, pretrained.command):
        with pytest.raises(ValueError, match=rf"name must be one of {', '.join(first)}.*got 'resnet'"):
            ask("resnet")


@pytest.mark.parametrize("name", pretrained.names())
def test_each_is_whole_and_has_its_card(name):
    model, card, how = pretrained.load(name), pretrained.card(name), pretrained.recipe(name)
    assert not model.training
    assert model.latent_dim == how["latent_dim"]
    assert card.name == name
    assert card.command in card._repr_markdown_()
    assert f"seed {how['seed']}" in card._repr_markdown_()
    # What the card says hangs together.
    assert card.elbo.value == pytest.approx(-card.rate.value - card.distortion.value, abs=1e-3)
    assert card.elbo.value <= card.log_p_encoder.value <= card.log_p.value + 0.02
    if how["latent_dim"] == 2:
        assert card.ess is None
        assert card.error < 0.4
    else:
        # A few draws too few make log p(x) too low: a model looks worse than it is, not better.
        assert card.low < (0.1 if "refined" in how else 0.05), "the card's log p(x) is not to be trusted"
        assert 0 <= card.change < 0.05
    doubt = "too low: do not trust it"
    assert (doubt in card._repr_markdown_()) == (card.low_encoder >= 0.05)
    assert len(card.unit_kl) == how["latent_dim"]
    assert sum(card.unit_kl) == pytest.approx(card.rate.value, abs=0.01)
    assert 0 <= card.active_units <= how["latent_dim"]
    assert card.seconds > 0


def test_together_they_are_small():
    files = [path for path in shipped.FOLDER.iterdir() if path.suffix == ".safetensors"]
    assert {path.stem for path in files} == set(pretrained.names())
    assert sum(path.stat().st_size for path in files) < 12e6


@pytest.mark.parametrize("name", ["mlp", "conv", "pixel", "mlp-2d", "beta-1", "beta-10"])
def test_the_card_is_right(name):
    test = data.test_binarization()
    if data.load("mnist", "test").name != "mnist":
        pytest.skip("the cards are of MNIST, which is not here")
    card, model = pretrained.card(name), pretrained.load(name)
    with torch.no_grad():
        elbo = objectives.elbo(model, test[:2000], generator=torch.Generator().manual_seed(3)).elbo
    found = evaluation.mean(elbo)
    assert found.value == pytest.approx(card.elbo.value, abs=5 * found.stderr)
    mu, _ = evaluation.encode(model, test)
    assert int(evaluation.active_units(mu).sum()) == card.active_units


@pytest.mark.parametrize("name", ["mlp-2d", "beta-0.1", "beta-1", "mlp", "conv", "burda2016-vae"])
def test_witnesses_that_never_ask_the_encoder_agree_with_the_refined_estimate(name):
    """By annealing, on real and on simulated images, and on a grid: benchmarks/witnesses.py."""
    found, card = stored.load("witnesses").values[name], pretrained.card(name)
    test, simulated = found["test"], found["simulated"]
    assert test["images"] >= 200
    difference, error = test["annealed minus refined"]
    # Annealing is the looser of the two: on real images it is too low by as much as on simulated ones.
    assert -simulated["refined minus lower"][0] - 3 * error - 0.1 < difference < 3 * error
    below, above = simulated["refined minus lower"], simulated["upper minus refined"]
    assert below[0] > -3 * below[1]
    assert above[0] > -3 * above[1]
    assert simulated["upper minus lower"][0] < (1 if name == "mlp" else 2)
    if name == "mlp-2d":
        assert all(abs(test[f"{way} minus grid"][0]) < 0.1 for way in ("refined", "annealed"))
        assert test["error of the grid"] < 0.02
    if name == "beta-0.1":
        assert test["refined minus encoder"][0] > 6.5
    assert f"by annealing {test['annealed'][0]:.2f}" in card._repr_markdown_()


def test_a_card_measured_anew_is_the_card_but_for_the_draws(tiny, capsys):
    assert command.main(["pretrained", "tiny", "--folder", str(tiny / "new"), "--install"]) == 0
    first = pretrained.card("tiny")
    (tiny / "new" / "tiny.safetensors").unlink()
    assert command.main(["pretrained", "tiny", "--folder", str(tiny / "new"), "--measure", "--install"]) == 0
    assert pretrained.card("tiny") == first
    assert "differs" not in capsys.readouterr().out


def test_a_file_that_is_not_the_cards(tmp_path, monkeypatch):
    for name in ("recipes.json", "mlp-2d.json", "mlp-2d.safetensors"):
        (tmp_path / name).write_bytes((shipped.FOLDER / name).read_bytes())
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert pretrained.load("mlp-2d").latent_dim == 2
    weights = tmp_path / "mlp-2d.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(pretrained.PretrainedError, match="do not have the checksum of their card"):
        pretrained.load("mlp-2d")
    weights.unlink()
    with pytest.raises(pretrained.PretrainedError, match="cannot be read"):
        pretrained.load("mlp-2d")
    (tmp_path / "mlp-2d.json").write_text("{")
    with pytest.raises(pretrained.PretrainedError, match=r"card .* is missing or damaged"):
        pretrained.card("mlp-2d")
    for damage in (b"{", b""):
        (tmp_path / "recipes.json").write_bytes(damage)
        with pytest.raises(pretrained.PretrainedError, match=r"recipes.json is missing or damaged"):
            pretrained.names()
    (tmp_path / "recipes.json").unlink()
    with pytest.raises(pretrained.PretrainedError, match=r"recipes.json is missing or damaged"):
        pretrained.load("mlp-2d")


def test_loading_leaves_the_readers_random_numbers_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    pretrained.load("mlp-2d")
    first = pretrained.build(pretrained.recipe("mlp-2d")).state_dict()
    assert torch.equal(torch.rand(3), wanted)
    again = pretrained.build(pretrained.recipe("mlp-2d")).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """One model of a few weights, trained on the digits in a second, in the place of the shipped ones."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    recipe = {"tiny": {"model": "mlp", "latent_dim": 2, "hidden": [8], "epochs": 2}}
    (folder / "recipes.json").write_text(json.dumps(recipe))
    monkeypatch.setattr(shipped, "FOLDER", folder)
    images, test = data.load("digits").images[:256], data.test_binarization("digits")[:40]
    monkeypatch.setattr(data, "load", lambda *a, **k: data.Images(images, torch.zeros(256).long(), "digits", "train"))
    monkeypatch.setattr(data, "test_binarization", lambda *a, **k: test)
    return tmp_path


def test_training_anew_and_comparing(tiny, capsys):
    arguments = ["pretrained", "tiny", "--folder", str(tiny / "new")]
    assert command.main([*arguments, "--install"]) == 0
    first = pretrained.card("tiny")
    assert first.samples == 500
    assert sorted(path.name for path in (tiny / "shipped").iterdir()) == [
        "recipes.json",
        "tiny.json",
        "tiny.safetensors",
    ]

    # Trained again from the start: the same weights, to the bit, and no difference.
    (tiny / "new" / "tiny.pt").unlink()
    assert command.main(arguments) == 0
    assert (tiny / "new" / "tiny.safetensors").read_bytes() == (tiny / "shipped" / "tiny.safetensors").read_bytes()
    assert "differs" not in capsys.readouterr().out

    # A card that promises more than the training gives is found out, and the shipped files stay.
    card = tiny / "shipped" / "tiny.json"
    better = re.sub(r'("elbo": \[\s*)-([\d.]+)', lambda m: f"{m[1]}-{float(m[2]) - 3}", card.read_text())
    card.write_text(better)
    assert command.main(arguments) == 1
    assert re.search(r"differs: elbo is -[\d.]+ ± [\d.]+, the card says -", capsys.readouterr().out)
    assert card.read_text() == better


def test_a_training_that_was_cut_off_goes_on(tiny, monkeypatch):
    whole = pretrained.train("tiny", tiny / "whole", samples=2)
    from vae_tutorial import training

    fit = training.fit

    def one_epoch_only(*arguments, epochs, **named):
        return fit(*arguments, epochs=1, **named)

    monkeypatch.setattr(training, "fit", one_epoch_only)
    with pytest.raises(KeyboardInterrupt):
        pretrained.train("tiny", tiny / "cut", samples=2)
    monkeypatch.setattr(training, "fit", fit)
    again = pretrained.train("tiny", tiny / "cut", samples=2)
    assert again.elbo == whole.elbo


def test_some_images_may_stand_for_all_where_refining_is_dear(tiny):
    recipes = shipped.FOLDER / "recipes.json"
    how = {"model": "pixel", "latent_dim": 3, "channels": [2, 4], "features": 2, "reach": 1, "epochs": 1}
    recipes.write_text(json.dumps({"some": {**how, "refined": 10}}))
    card = pretrained.train("some", tiny / "some", samples=20)
    test, generator = data.test_binarization(), torch.Generator().manual_seed(0)
    model = shipped.read("some", tiny / "some")
    assert isinstance(model, pixelvae.PixelVAE)
    evaluation.rate_distortion(model, test, samples=10, generator=generator)  # draws as many numbers as the measuring
    encoder = evaluation.log_marginal(model, test, 20, generator)
    refined = evaluation.log_marginal(model, test[:10], 20, generator, proposal="refined")
    rise = (refined.value - encoder.value[:10]).mean()
    assert card.log_p_encoder.value == pytest.approx(encoder.value.mean().item())
    assert card.log_p.value == pytest.approx((encoder.value.mean() + rise).item())
    assert card.log_p.stderr >= card.log_p_encoder.stderr
    assert card.ess == refined.summary().ess
    assert "for the first 10 images" in card.protocol


def test_what_is_given_is_used_and_only_what_is_missing_is_loaded(tiny, monkeypatch):
    given = torch.zeros(40, 1, 28, 28)
    given[:, :, 10:18, 10:18] = 1
    monkeypatch.setattr(data, "test_binarization", lambda *_, **__: pytest.fail("the test images were given"))
    loaded = making.train("tiny", tiny / "one", test=given, samples=2)
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("the images were given"))
    images = (255 * given).to(torch.uint8).repeat(7, 1, 1, 1)
    assert making.train("tiny", tiny / "two", images=images, test=given, samples=2).sha256 != loaded.sha256


def test_the_folder_may_lie_in_the_home_folder(tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny))
    monkeypatch.setenv("USERPROFILE", str(tiny))
    pretrained.train("tiny", "~/new", samples=2)
    assert (tiny / "new" / "tiny.safetensors").is_file()


def test_unknown_name_on_the_command_line(capsys):
    assert command.main(["pretrained", "resnet"]) == 2
    assert "name must be one of mlp, conv" in capsys.readouterr().err
