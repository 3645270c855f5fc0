"""models.save and models.load: the same model comes back, and no other file is taken for one."""

import json
import os
import re
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vae_tutorial import _files, _saved, likelihoods, models, objectives, pretrained, training

MAKERS = {
    "mlp": lambda: models.MLPVAE(latent_dim=3, hidden=(16, 8)),
    "conv": lambda: models.ConvVAE(latent_dim=4, channels=(4, 8), image_shape=(3, 12, 9), likelihood="gaussian_shared"),
    "autoencoder": lambda: models.Autoencoder(hidden=(8,), likelihood="continuous_bernoulli"),
    "per_pixel": lambda: models.MLPVAE(3, (8,), "gaussian_per_pixel", (1, 5, 4)),
    "logistic": lambda: models.ConvVAE(2, (4,), "discretized_logistic", (3, 6, 6)),
    "own numbers": lambda: models.MLPVAE(2, (8,), likelihoods.Gaussian(0.1 + 0.2, floor=1e-3 / 3), (1, 5, 4)),
    "mixture": lambda: models.ConvVAE(2, (4,), "mixture_of_logistics", (3, 6, 6)),
    "table": lambda: models.MLPVAE(image_shape=(5,), latent_dim=2, hidden=(8,), likelihood="gaussian_learned"),
}


@pytest.fixture(params=MAKERS)
def model(request):
    torch.manual_seed(1)
    made = MAKERS[request.param]()
    with torch.no_grad():  # as after a training: no number is one that a new model would have
        for value in made.parameters():
            value.add_(torch.randn(value.shape) / 30)
    return made


@pytest.fixture
def file(tmp_path):
    """A file of a small model, to be damaged."""
    path = tmp_path / "small.safetensors"
    models.save(models.MLPVAE(2, (4,), "gaussian_shared", (1, 3, 3)), path)
    return path


def pixels(model):
    x = torch.rand(6, *model.image_shape, generator=torch.Generator().manual_seed(2))
    return x.round() if model.likelihood.binary else x


def measured(model):
    return objectives.elbo(model, pixels(model), samples=3, generator=torch.Generator().manual_seed(0))


def tensors_of(file):
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def rewritten(path, change, weights=None):
    """Write the file anew with a changed head, or other weights, and with a checksum that is right again."""
    with safe_open(path, "pt") as found:
        head, tensors = json.loads(found.metadata()["vae_tutorial"]), tensors_of(found)
    tensors = tensors if weights is None else weights(tensors)
    change(head)
    if "sha256" in head:
        head["sha256"] = _saved._digest(head, tensors)
    save_file(tensors, path, {"vae_tutorial": json.dumps(head)})


def test_the_same_bits_come_back(model, tmp_path):
    if model.likelihood.channels == 0 or len(model.image_shape) == 1:
        model.standardize(torch.randn(50, 5) * 7 + 3)
    path = tmp_path / "model.safetensors"
    before = torch.random.get_rng_state()
    models.save(model.train(), path)
    loaded = models.load(path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert model.training
    assert not any(module.training for module in loaded.modules())
    assert type(loaded) is type(model)
    assert repr(loaded.likelihood) == repr(model.likelihood)
    assert loaded.architecture == model.architecture
    for (name, value), (other, kept) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert (name, value.dtype, value.stride()) == (other, kept.dtype, kept.stride())
        assert torch.equal(value, kept)
    for here, there in zip(measured(model.eval()), measured(loaded), strict=True):
        assert torch.equal(here, there)
    models.save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_precision_comes_back_too(dtype, tmp_path):
    model = models.MLPVAE(2, (4,), "gaussian_shared", (1, 3, 3)).to(dtype)
    models.save(model, tmp_path / "m.safetensors")
    loaded = models.load(tmp_path / "m.safetensors")
    assert {value.dtype for value in loaded.state_dict().values()} == {dtype}
    assert all(torch.equal(v, loaded.state_dict()[n]) for n, v in model.state_dict().items())


def test_the_callers_defaults_do_not_matter(file):
    torch.set_default_dtype(torch.float64)
    try:
        loaded = models.load(file)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


def test_training_goes_on_where_it_was(tmp_path):
    images = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
    torch.manual_seed(0)
    model = models.MLPVAE(2, (8,), image_shape=(1, 4, 4))
    training.fit(model, images, epochs=2)
    models.save(model, tmp_path / "m.safetensors")
    loaded = models.load(tmp_path / "m.safetensors").train()
    assert loaded.epochs_trained == 2
    training.fit(model, images, epochs=1)
    training.fit(loaded, images, epochs=1)
    assert all(torch.equal(v, loaded.state_dict()[n]) for n, v in model.state_dict().items())


def test_names_of_columns_come_back(tmp_path):
    model = models.MLPVAE(2, (4,), "gaussian_shared", (1, 1, 3))
    model.columns = ("height", "Breite", "größe")
    models.save(model, tmp_path / "m.safetensors")
    assert models.load(tmp_path / "m.safetensors").columns == model.columns


@pytest.mark.process
def test_a_compiled_model_and_an_average(tmp_path):
    model = models.MLPVAE(2, (4,), image_shape=(1, 3, 3))
    models.save(torch.compile(model), tmp_path / "m.safetensors")
    weights = models.load(tmp_path / "m.safetensors").state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    average = torch.optim.swa_utils.AveragedModel(model)
    models.save(average.module, tmp_path / "m.safetensors")
    with pytest.raises(TypeError, match=r"save the model in it: average\.module"):
        models.save(average, tmp_path / "m.safetensors")


class Wider(models.MLPVAE):
    pass


class OwnLikelihood(likelihoods.Bernoulli):
    pass


def by_hand():
    return models.VAE(models.MLPEncoder(2, (4,)), models.MLPDecoder(2, (4,)), 2)


def changed():
    model = models.MLPVAE(2, (4,))
    model.decoder = models.MLPDecoder(2, (5,))
    return model


def pruned():
    model = models.MLPVAE(2, (4,))
    model.register_buffer("more", torch.zeros(2))
    return model


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (by_hand, ValueError, r"model is a VAE put together by hand, .*torch\.save\(model\.state_dict\(\), path\)"),
        (Wider, ValueError, r"model is a Wider .*of a class or likelihood of your own, so no file can say"),
        (changed, ValueError, r"model is a MLPVAE put together by hand"),
        (pruned, ValueError, r"model has been changed .*\(more is \(2,\) torch\.float32, and should be missing\)"),
        (lambda: models.MLPVAE(2, (4,), OwnLikelihood()), ValueError, r"likelihood of your own"),
        (lambda: models.MLPVAE().state_dict(), TypeError, r"must be an MLPVAE, a ConvVAE or an Autoencoder; got a"),
        (lambda: torch.nn.Linear(2, 2), ValueError, r"model is a Linear put together by hand"),
    ],
)
def test_models_that_cannot_be_built_again(make, error, message, tmp_path):
    with pytest.raises(error, match=message):
        models.save(make(), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_advice_for_a_model_by_hand_works(tmp_path):
    model, other = by_hand(), by_hand()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert all(torch.equal(v, other.state_dict()[n]) for n, v in model.state_dict().items())


def test_a_likelihood_that_was_replaced(tmp_path):
    model = models.MLPVAE(2, (4,), likelihoods.Gaussian(1.0), (1, 3, 3))
    model.likelihood = likelihoods.Gaussian(0.5)  # the file would say 1.0
    with pytest.raises(ValueError, match="so no file can say how to build it"):
        models.save(model, tmp_path / "m.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.999])
def test_a_truncated_file(file, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(models.ModelFileError, match=r"is damaged, or no model of models\.save"):
        models.load(file)


def test_every_changed_byte_is_noticed(file):
    whole = file.read_bytes()
    for place in [*range(0, 40), *range(40, len(whole), 29)]:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(models.ModelFileError):
            models.load(file)
    file.write_bytes(whole)
    models.load(file)


def text(path):
    path.write_text("These are the weights of my model: 1, 2, 3.\n" * 20)


def photograph(path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(path, "PNG")


def checkpoint(path):
    images = torch.rand(8, 1, 28, 28).round()
    training.fit(models.MLPVAE(2, (4,)), images, epochs=1, checkpoint=path)


FOREIGN = {
    "text": (text, "is damaged, or no model of models.save"),
    "photograph": (photograph, "is damaged, or no model of models.save"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged, or no model of models.save"),
    "checkpoint": (checkpoint, "training.load_checkpoint(path, model) reads those"),
    "state": (lambda path: torch.save(models.MLPVAE(2, (4,)).state_dict(), path), "is a file of torch.save"),
    "foreign": (lambda path: save_file({"w": torch.zeros(2)}, path), "but not of models.save"),
    "other head": (lambda path: save_file({"w": torch.zeros(2)}, path, {"format": "pt"}), "but not of models.save"),
    "header of 2^63 bytes": (lambda path: path.write_bytes(b"\xff" * 64), "is damaged, or no model of models.save"),
    "header of 90 MB": (lambda path: path.write_bytes(struct.pack("<Q", 90_000_000) + b"{" * 64), "is damaged"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_neither_loaded_nor_overwritten(kind, tmp_path):
    path = tmp_path / "file"
    write, message = FOREIGN[kind]
    write(path)
    with pytest.raises(models.ModelFileError, match=re.escape(message)):
        models.load(path)
    if kind != "empty":  # there is nothing to lose
        before = path.read_bytes()
        with pytest.raises(models.ModelFileError, match=r"It is not overwritten: delete it, or give another name"):
            models.save(models.MLPVAE(2, (4,)), path)
        assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_shipped_models_weights_are_no_model_of_ours():
    with pytest.raises(models.ModelFileError, match=r"does not say how to build the model"):
        models.load(pretrained.shipped.FOLDER / "mlp.safetensors")


def architecture(**arguments):
    return lambda head: head["architecture"]["arguments"].update(arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.update(format=2, version="9.1"), r"is of format 2 and vae_tutorial '9\.1'; .*newer"),
        (lambda head: head.update(format=[2], version="9.1"), r"is of format \[2\]"),
        (lambda head: head["architecture"].update({"class": "os.system"}), r"its class 'os\.system' is unknown"),
        (lambda head: head["architecture"].update({"class": "VAE"}), r"its class 'VAE' is unknown"),
        (lambda head: head["architecture"].update({"class": ["VAE"]}), r"cannot be built"),
        (lambda head: head.update(architecture={"class": "MLPVAE"}), r"cannot be built"),
        (lambda head: head.update(architecture=7), r"its description of the model cannot be read"),
        (lambda head: head.pop("architecture"), r"its description of the model cannot be read"),
        (lambda head: head.pop("sha256"), r"its description of the model cannot be read"),
        (lambda head: head.update(epochs_trained="many"), r"its description of the model cannot be read"),
        (lambda head: head.update(x="y" * 30_000), r"its description of the model cannot be read"),
        (lambda head: head.update(likelihood="Bernoulli()"), r"says that its likelihood is Bernoulli\(\), and builds"),
        (architecture(hiden=[4]), r"cannot be built: TypeError.*hiden"),
        (architecture(latent_dim="two"), r"cannot be built: ValueError: latent_dim must be a whole number"),
        (
            architecture(likelihood={"class": "Linear", "arguments": {}}),
            r"cannot be built: ValueError: likelihood must be .*'Linear'",
        ),
        (architecture(likelihood="no such"), r"cannot be built: ValueError: likelihood must be one of"),
        (architecture(hidden=[10**9]), r"does not hold the weights of its own architecture"),  # 72 GB
        (architecture(hidden=[10**6, 10**6]), r"does not hold the weights of its own architecture"),  # 4 TB
        (architecture(hidden=[10**30]), r"cannot be built"),
        (architecture(image_shape=[10**6, 10**6, 10**6]), r"cannot be built|does not hold the weights"),
        (architecture(latent_dim=3), r"encoder\.layers\.2\.weight is \(4, 4\) .*and should be \(6, 4\)"),
    ],
)
def test_heads_that_lie(file, change, message):
    rewritten(file, change)
    with pytest.raises(models.ModelFileError, match=message):
        models.load(file)


@pytest.mark.parametrize("deep", ["[" * 15_000, '{"a":' * 3_000, "1" * 15_000, "NaN", ""])
def test_heads_that_are_no_json(file, deep):
    with safe_open(file, "pt") as found:
        tensors = tensors_of(found)
    save_file(tensors, file, {"vae_tutorial": deep})
    with pytest.raises(models.ModelFileError, match=r"its description of the model cannot be read"):
        models.load(file)


def without(name):
    return lambda tensors: {n: v for n, v in tensors.items() if n != name}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (without("decoder.layers.0.bias"), r"decoder\.layers\.0\.bias is missing, and should be \(4,\) torch\.float32"),
        (lambda t: {**t, "more": torch.zeros(3)}, r"more is \(3,\) torch\.float32, and should be missing"),
        (lambda t: {**t, "decoder.layers.0.bias": torch.zeros(5)}, r"is \(5,\) torch\.float32, and should be \(4,\)"),
        (
            lambda t: {**t, "decoder.layers.0.bias": torch.zeros(4).double()},
            r"torch\.float32, and should be \(4, 9\) torch\.float64",
        ),
        (lambda t: {**t, "decoder.layers.0.bias": torch.zeros(4).int()}, r"decoder\.layers\.0\.bias is"),
    ],
)
def test_weights_of_another_model(file, weights, message):
    rewritten(file, lambda head: None, weights)
    with pytest.raises(models.ModelFileError, match=message):
        models.load(file)


def test_a_wrong_weight_of_the_right_shape(file):
    with safe_open(file, "pt") as found:
        head, tensors = found.metadata(), tensors_of(found)
    tensors["decoder.layers.0.bias"][2] += 1e-7
    save_file(tensors, file, head)
    with pytest.raises(models.ModelFileError, match=r"its checksum is wrong"):
        models.load(file)


def test_paths(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = models.load(str(file))
    models.load(os.fsencode(file))
    models.save(model, "relative.safetensors")
    (tmp_path / "link").symlink_to(file)
    assert torch.equal(models.load("link").decoder.layers[0].bias, model.decoder.layers[0].bias)
    with torch.no_grad():
        model.decoder.layers[0].bias.zero_()
    models.save(model, "link")
    assert (tmp_path / "link").is_symlink()
    assert not models.load(file).decoder.layers[0].bias.any()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for act in (models.load, lambda path: models.save(model, path)):
        with pytest.raises(ValueError, match=r"path must be that of a file; .* is a folder"):
            act(tmp_path)
        with pytest.raises(ValueError, match=r"path must lie in a folder that exists"):
            act(tmp_path / "no" / "m.safetensors")
        with pytest.raises(ValueError, match=r"path must be the path of a file; got 3"):
            act(3)
        with pytest.raises(models.ModelFileError, match=r"cannot open|cannot read"):
            act(tmp_path / "loop")
    with pytest.raises(models.ModelFileError, match=r"there is no model .*nothing"):
        models.load(tmp_path / "nothing")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no such device")
def test_devices_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in ("/dev/zero", tmp_path / "zero", tmp_path / "pipe"):
        for act in (models.load, lambda path: models.save(models.MLPVAE(), path)):
            with pytest.raises(ValueError, match=r"an ordinary file, not of a device or a pipe"):
                act(path)


def test_a_full_disk_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files, "write", full)
    with pytest.raises(models.ModelFileError, match=r"cannot write the model .*No space left.*nothing was changed"):
        models.save(models.MLPVAE(), file)
    assert file.read_bytes() == before


def test_devices_for_the_model(file):
    assert next(models.load(file, torch.device("cpu")).parameters()).device.type == "cpu"
    for device in ("gpu", "cuda" if not torch.cuda.is_available() else "cuda:99", 3.5):
        with pytest.raises(ValueError, match=r"device must be one that PyTorch has here; got"):
            models.load(file, device)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu(tmp_path):
    model = models.ConvVAE(2, (4,), "gaussian_shared", (3, 8, 8)).cuda()
    models.save(model, tmp_path / "m.safetensors")
    for device in ("cuda", "cpu"):
        loaded = models.load(tmp_path / "m.safetensors", device)
        assert next(loaded.parameters()).device.type == device
        assert all(torch.equal(v.cpu(), loaded.state_dict()[n].cpu()) for n, v in model.state_dict().items())
