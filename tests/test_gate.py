"""Input validation: input is taken, or refused with advice; nothing is silently misread."""

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from vae_tutorial import data, evaluation, likelihoods, models, objectives, plotting, training
from vae_tutorial.likelihoods import _kinds

SHAPE = (1, 6, 6)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=SHAPE)


@pytest.fixture(scope="module")
def grey():
    """Half of the pixels are black: with fewer, Bernoulli would take them for photographs."""
    pixels = torch.randint(0, 256, (7, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pixels.masked_fill(pixels % 2 == 0, 0)


def fit(model, images, **arguments):
    return training.fit(new(), images, epochs=1, progress=False, **arguments)


def new():
    torch.manual_seed(0)
    return models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=SHAPE)


# Each takes (model, images); images on [0, 1].
ENTRANCES = {
    "fit": fit,
    "fit, test": lambda model, images: fit(model, torch.zeros(3, *SHAPE), test=images),
    "elbo": objectives.elbo,
    "encode": evaluation.encode,
    "rate_distortion": evaluation.rate_distortion,
    "log_marginal": lambda model, images: evaluation.log_marginal(model, images, 5),
    "log_marginal_grid": lambda model, images: evaluation.log_marginal_grid(model, images, points=9),
    "log_marginal_annealed": lambda model, images: evaluation.log_marginal_annealed(
        model, images, temperatures=2, chains=2
    ),
    "refine": lambda model, images: evaluation.refine(model, images, steps=1),
}
entrance = pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=ENTRANCES)


@entrance
def test_takes_what_people_have(model, grey, entrance):
    good = data.binarize(grey, torch.Generator().manual_seed(0))
    for images in (
        good,
        good.numpy(),
        good.numpy().astype(np.float64),
        good.numpy()[::-1],
        np.ma.array(good),
        good.double(),
        good.half(),
        good.bool(),
        data.Images(good, torch.zeros(7), "own", "train"),
        list(good),
        list(good.numpy()),
        good.clone().requires_grad_(),
    ):
        entrance(model, images)


@entrance
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda x: x * 255, ValueError, r"ranges from 0 to 255; pixels must lie in \[0, 1\] \(divide bytes by 255\)"),
        (lambda x: 2 * x - 1, ValueError, "ranges from -1 to 1; .*Normalize"),
        (lambda x: (x - 0.13) / 0.31, ValueError, "ranges from -0.4.*Normalize"),
        (lambda x: x.masked_fill(x == 1, math.nan), ValueError, "ranges from nan"),
        (lambda x: x.masked_fill(x == 1, math.inf), ValueError, "to inf"),
        (lambda x: x / 255, ValueError, "brightest pixel of .* divided by 255 twice"),
        (lambda x: x.to(torch.uint8), ValueError, r"only bytes of 0 and 1.*nearly black.*\.float\(\)"),
        (lambda x: (x * 255).long(), ValueError, r"dtype torch\.int64.*to\(torch\.uint8\) if these are 0 to 255"),
        (lambda x: x.numpy().astype(np.int32), ValueError, r"dtype torch\.int32"),
        (lambda x: x[0], ValueError, r"single image needs a batch axis: .*\.unsqueeze\(0\)"),
        (lambda x: x[:, 0], ValueError, r"channel axis is missing: .*\.unsqueeze\(1\)"),
        (lambda x: x.flatten(1), ValueError, r"unflatten them: .*\.reshape\(-1, 1, 6, 6\)"),
        (lambda x: x.permute(0, 2, 3, 1), ValueError, r"channels come first here: .*\.permute\(0, 3, 1, 2\)"),
        (lambda x: x[:0], ValueError, r"B >= 1; got \(0"),
        (lambda x: x.expand(-1, 3, -1, -1), ValueError, r"got \(7, 3, 6, 6\)"),
        (lambda x: (x, torch.arange(7)), TypeError, "pair, images and labels; pass the images alone"),
        (lambda x: DataLoader(TensorDataset(x)), TypeError, r"DataLoader; .*torch\.cat\(\[batch\[0\]"),
        (lambda x: TensorDataset(x), TypeError, r"TensorDataset; .*torch\.stack\(\[item\[0\]"),
        (lambda x: [], TypeError, "an empty list; expected a tensor"),
        (lambda x: None, TypeError, "a NoneType; expected a tensor"),
        (lambda x: "mnist", TypeError, "a str; expected a tensor"),
        (lambda x: [x[0], x[0, :, :3]], ValueError, "parts have different shapes"),
        (lambda x: np.array(["a"]), TypeError, "NumPy array of <U1"),
        (lambda x: np.ma.masked_equal(x.numpy(), 0), ValueError, r"masked values.*\.filled\(numpy\.nan\)"),
        (lambda x: [*np.ma.masked_equal(x.numpy(), 0)], ValueError, "masked values"),
    ],
)
def test_refuses_the_rest_with_the_mend(model, grey, entrance, spoil, error, message):
    images = spoil((grey > 127).float())
    if images is None and entrance is ENTRANCES["fit, test"]:
        return  # no test images is what None means there
    with pytest.raises(error, match=message):
        entrance(model, images)


def test_pictures_of_pil(model, grey):
    pictures = [Image.fromarray(image[0].numpy()) for image in grey]
    mu, _ = evaluation.encode(model, grey)
    assert torch.equal(evaluation.encode(model, pictures)[0], mu)
    assert torch.allclose(evaluation.encode(model, pictures[0])[0], mu[:1], atol=1e-6)
    with pytest.raises(TypeError, match=r'mode RGBA; convert it: picture\.convert\("L"\)'):
        evaluation.encode(model, pictures[0].convert("RGBA"))
    with pytest.raises(ValueError, match=r"got \(1, 3, 6, 6\)"):
        evaluation.encode(model, pictures[0].convert("RGB"))
    for kind, top in ((np.uint16, 65535), (np.int32, 65535), (np.float32, 1)):
        deep = Image.fromarray((grey[0, 0].numpy() * (top / 255)).astype(kind))
        with pytest.raises(TypeError, match="the largest possible value") as told:
            evaluation.encode(model, deep)
        mend = str(told.value).partition("convert it: ")[2].partition(", with")[0]
        mended = eval(mend, {"np": np, "Image": Image, "picture": deep, "top": top})
        assert torch.equal(evaluation.encode(model, mended)[0], evaluation.encode(model, pictures[0])[0])


def test_bytes_of_0_and_1_are_not_nearly_black(grey):
    """They were once read as 0/255 and 1/255: a test ELBO of -3.9 nats a digit, far too good to be true."""
    mask = (grey > 127).to(torch.uint8)
    for use in (data.binarize, plotting.image_grid, lambda x: fit(None, x), lambda x: evaluation.encode(new(), x)):
        with pytest.raises(ValueError, match="only bytes of 0 and 1"):
            use(mask)
    assert torch.equal(data.binarize(mask.float()), mask.float())  # certain pixels stay what they are
    assert fit(None, torch.zeros(3, *SHAPE, dtype=torch.uint8)).rows  # black is black, whatever the scale


def test_encode_divides_bytes_and_no_other_range(model, grey):
    as_bytes, as_floats = evaluation.encode(model, grey), evaluation.encode(model, grey / 255)
    assert all(torch.equal(a, b) for a, b in zip(as_bytes, as_floats, strict=True))
    for wrong in (grey.float(), grey / 127.5 - 1, torch.full((1, *SHAPE), math.nan)):
        for encode in (model.encode, model, lambda x: evaluation.encode(model, x)):
            with pytest.raises(ValueError, match="pixels must lie in"):
                encode(wrong)


# The choice of likelihood is never silent.


def crops(grey=True, size=32, n=100):
    """Squares cut from scikit-learn's two photographs, each shrunk by up to four: bytes (2 n, C, size, size)."""
    from sklearn.datasets import load_sample_images

    source, found = np.random.RandomState(0), []
    for photograph in load_sample_images().images:
        picture = Image.fromarray(photograph).convert("L" if grey else "RGB")
        for _ in range(n):
            side = size * source.choice([1, 2, 4])
            left, top = (source.randint(0, length - side + 1) for length in picture.size)
            found.append(np.array(picture.crop((left, top, left + side, top + side)).resize((size, size))))
    pixels = torch.from_numpy(np.stack(found))
    return pixels.unsqueeze(1) if grey else pixels.permute(0, 3, 1, 2)


def small(likelihood, images):
    return models.MLPVAE(latent_dim=2, hidden=(4,), likelihood=likelihood, image_shape=images.shape[1:])


def train(likelihood, images, **arguments):
    return training.fit(small(likelihood, images), images, epochs=1, progress=False, **arguments)


@pytest.mark.parametrize("floating", [False, True])
def test_colours_are_not_binarized_in_silence(floating):
    images = crops(grey=False, size=8, n=10)
    images = images / 255 if floating else images
    three = "'gaussian_shared'.*'mixture_of_logistics'.*data.binarize.*grey=True"
    with pytest.raises(ValueError, match=f"^images are in colour, and likelihood 'bernoulli' would .*{three}"):
        train("bernoulli", images)
    with pytest.raises(ValueError, match=r"^test are in colour"):
        train("bernoulli", (images > 0.5).float(), test=images)
    for choice in (likelihoods.Bernoulli(grey=True), "gaussian_shared", "mixture_of_logistics", "continuous_bernoulli"):
        assert math.isfinite(train(choice, images)["elbo"][0])
    assert math.isfinite(train("bernoulli", data.binarize(images))["elbo"][0])  # binarized by hand
    assert math.isfinite(train("bernoulli", data.binarize(images).mul(255).to(torch.uint8))["elbo"][0])
    assert math.isfinite(train("bernoulli", data.binarize(images).bool())["elbo"][0])


@pytest.mark.parametrize("floating", [False, True])
def test_grey_photographs_are_no_probabilities(floating):
    images = crops(size=8, n=50)
    images = images / 255 if floating else images
    said = "look like grey photographs: 9.% of the pixels .*'gaussian_shared'.*'discretized_logistic'.*data.binarize"
    with pytest.raises(ValueError, match=said):
        train("bernoulli", images)
    for choice in (likelihoods.Bernoulli(grey=True), "gaussian_shared", "discretized_logistic"):
        assert math.isfinite(train(choice, images)["elbo"][0])
    assert math.isfinite(train("bernoulli", data.binarize(images))["elbo"][0])


@pytest.mark.parametrize("name", ["mnist", "fashion", "digits"])
def test_the_grey_values_of_digits_and_clothes_are_probabilities(name):
    """The share of pixels between black and white: at most 0.61, of Fashion's pullovers alone; photographs 0.94."""
    found = data.load(name, "test")
    if found.name != name:
        pytest.skip(f"{name} is not here")
    parts = [found.images, *(found.images[found.labels == label] for label in range(10))]
    for images in (*parts, found.images / 255):
        assert _kinds.between(images) < 0.63
        likelihoods.Bernoulli().check(images, "images")
    larger = torch.nn.functional.interpolate(found.images[:500].float(), size=64, mode="bicubic").clamp(0, 255)
    likelihoods.Bernoulli().check(larger.to(torch.uint8), "images")


def test_photographs_are_far_from_the_threshold():
    for size in (16, 32, 64):
        share = _kinds.between(crops(size=size))
        assert share > 0.94
        assert share == _kinds.between(crops(size=size) / 255)
    levels = torch.tensor([0, 8, 9, 246, 247, 255], dtype=torch.uint8)
    assert _kinds.between(levels.view(1, 1, 1, 6)) == pytest.approx(2 / 6)


def test_a_few_of_many_images_are_looked_at():
    many = torch.zeros(6000, 1, 2, 2, dtype=torch.uint8)
    many[::3] = 128
    assert _kinds.between(many) == 1.0  # 0, 3, 6, ...
    many[1] = 77
    assert not _kinds.black_and_white(many)  # whereas all are looked at for this


def test_likelihoods_of_the_readers_own_have_no_check(grey):
    class Own(torch.nn.Module):
        channels, binary = 1, False

        def log_prob(self, x, parameters):
            return -(x - parameters).square().sum((-3, -2, -1))

    assert math.isfinite(train(Own(), grey)["elbo"][0])
    assert small(Own(), grey).architecture is None


SUGGESTED = [
    (
        lambda: crops(grey=False),
        "gaussian_shared",
        "colours; .*\n'mixture_of_logistics': for prob.*\n'bernoulli': no, unl",
    ),
    (
        lambda: crops(grey=False) / 255,
        "gaussian_shared",
        "\n'mixture_of_logistics': for probabilities of the 256 levels",
    ),
    (
        lambda: crops(grey=False) / 300,
        "gaussian_shared",
        "\n'mixture_of_logistics': no, these are no multiples of 1/255",
    ),
    (lambda: crops(), "gaussian_shared", r"grey photographs \(9.% of .*\n'discretized_logistic': for probabilities"),
    (lambda: data.load("digits"), "bernoulli", "7.% of .*probability.*fit draws .*\n'continuous.*\n'discretized_log"),
    (lambda: data.load("digits").images / 255, "bernoulli", r"data.binarize\(images\) draws them"),
    (
        lambda: data.binarize(crops()),
        "bernoulli",
        "^likelihood='bernoulli': black and white, so that each pixel has one",
    ),
    (
        lambda: crops(grey=False) > 99,
        "bernoulli",
        "each channel of each pixel has one probability.\n'gaussian_shared': no",
    ),
    (lambda: torch.randn(9, 4), "gaussian_learned", "a table; one variance is learned for each column.*units.\n"),
    (lambda: (torch.randn(9, 4) > 0).numpy(), "bernoulli", "zeros and ones in all 4 columns"),
    (
        lambda: torch.randint(9, (50, 2)),
        "gaussian_learned",
        r"columns 0, 1 of whole numbers \(counts or cat.*\n'bernou",
    ),
]


@pytest.mark.parametrize(("make", "name", "said"), SUGGESTED)
def test_a_suggestion_for_each_kind(make, name, said):
    images = make()
    found = likelihoods.suggest(images)
    assert found.name == name
    assert re.search(said, str(found), re.DOTALL)
    assert 2 <= len(str(found).splitlines()) <= 4
    assert {found.name, *found.others} <= set(likelihoods.NAMES)


def test_a_suggestion_names_odd_columns_and_is_taken_by_fit():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    x[:, 1], x[:, 2], x[:, 3] = 3.5, (x[:, 2] > 0).float(), (5 * x[:, 3]).round()
    said = str(likelihoods.suggest(x))
    assert "column 1 constant (leave out); column 2 of zeros and ones; column 3 of whole numbers (counts or" in said
    for images in (x[:, ::2], crops(grey=False, size=8), crops(size=8), data.load("digits").images[:, :, ::4, ::4]):
        assert math.isfinite(train(likelihoods.suggest(images).name, images)["elbo"][0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 28, 28), r"images must have shape \(N, C, H, W\), or \(N, D\) for a table; got \(3, 28, 28\)"),
        (torch.zeros(0, 1, 28, 28), r"got \(0, 1, 28, 28\)"),
        (torch.tensor([[1.0, math.nan], [2.0, 3.0]]), "NaN or infinite values in column 1; leave"),
        (torch.full((1, 1, 2, 2), 3.0), "images ranges from 3 to 3"),
        (torch.ones(1, 1, 2, 2, dtype=torch.uint8), "only bytes of 0 and 1"),
    ],
)
def test_no_suggestion_for_what_no_model_takes(images, message):
    with pytest.raises(ValueError, match=message):
        likelihoods.suggest(images)


# A decoder or encoder of the wrong shape was broadcast: all images against all, summed over the batch.


class Answers(torch.nn.Module):
    def __init__(self, *shapes):
        super().__init__()
        self.shapes, self.weight = shapes, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        answers = [self.weight + torch.zeros(*x.shape[:-1], *shape) for shape in self.shapes]
        return answers[0] if len(answers) == 1 else answers


class Codes(Answers):
    def forward(self, x):
        return [self.weight + torch.zeros(len(x), *shape) for shape in self.shapes]


def own(decoder=SHAPE, encoder=((2,), (2,)), image_shape=SHAPE, likelihood="bernoulli"):
    return models.VAE(Codes(*encoder), Answers(decoder), 2, image_shape, likelihood)


@pytest.mark.parametrize("decoder", [(6, 6), (3, 6, 6), (1, 6), (1, 1, 1), (1, 6, 1), (36,), (1, 1, 6, 6), (2, 6, 6)])
def test_a_decoder_of_the_wrong_shape_is_refused(decoder):
    x = torch.zeros(50, *SHAPE)
    for use in (
        lambda m: objectives.elbo(m, x),
        lambda m: evaluation.log_marginal(m, x, 50),
        lambda m: training.fit(m, x, epochs=1, progress=False),
        lambda m: m.sample(3),
    ):
        with pytest.raises(ValueError, match=r"the decoder must return \(.*1, 6, 6\); got"):
            use(own(decoder))


def test_as_many_channels_as_the_likelihood_needs():
    with pytest.raises(ValueError, match=r"must return \(1, 5, 2, 6, 6\)"):
        objectives.elbo(own(SHAPE, likelihood="gaussian_per_pixel"), torch.zeros(5, *SHAPE))
    with pytest.raises(ValueError, match=r"must return \(1, 5, 3, 6, 6\)"):
        objectives.elbo(own(SHAPE, image_shape=(3, 6, 6)), torch.zeros(5, 3, 6, 6))
    assert objectives.elbo(own(), torch.zeros(5, *SHAPE)).elbo.tolist() == pytest.approx([-36 * math.log(2)] * 5)


@pytest.mark.parametrize(
    "encoder", [((1,), (1,)), ((2,), (1,)), ((1,), (2,)), ((), ()), ((2, 1), (2, 1)), ((3,), (3,))]
)
def test_an_encoder_of_the_wrong_shape_is_refused(encoder):
    with pytest.raises(ValueError, match=r"the encoder must return \(5, 2\); got"):
        objectives.elbo(own(encoder=encoder), torch.zeros(5, *SHAPE))


@pytest.mark.parametrize("name", likelihoods.NAMES)
def test_a_likelihood_broadcasts_over_images_and_never_over_pixels(name):
    likelihood = likelihoods.get(name, (3, 2, 2))
    x, c = torch.zeros(4, 3, 2, 2), likelihood.outputs(3)
    assert likelihood.log_prob(x, torch.zeros(5, 1, c, 2, 2)).shape == (5, 4)
    for shape in [(4, likelihood.outputs(1), 2, 2), (4, c, 2, 1), (4, c, 1, 1), (4, 2 * c, 2, 2), (), (c,)]:
        with pytest.raises(ValueError, match="parameters must be"):
            likelihood.log_prob(x, torch.zeros(shape))


def test_numbers_of_numpy(grey):
    history = training.fit(
        models.MLPVAE(np.int64(2), (np.int32(8),), image_shape=SHAPE),
        grey,
        epochs=np.int64(2),
        batch_size=np.int64(3),
        lr=np.float32(1e-3),
        beta=np.float64(0.5),
        progress=False,
    )
    assert len(history) == 2
    assert len(training.fit(new(), grey, epochs=2.0, batch_size=3.0, progress=False)) == 2
    with pytest.raises(ValueError, match="epochs must be a whole number of at least 1; got True"):
        training.fit(new(), grey, epochs=True)
    with pytest.raises(ValueError, match="epochs must be a whole number of at least 1; got '3'"):
        training.fit(new(), grey, epochs="3")
    for sizes in ({"hidden": 400}, {"hidden": (2.5,)}, {"image_shape": (28, 28)}, {"latent_dim": "2"}):
        with pytest.raises(ValueError, match=f"{next(iter(sizes))} must"):
            models.MLPVAE(**sizes)


def test_float64_models_and_images(grey):
    model = new().double()
    for images in (grey, grey / 255, (grey / 255).double()):
        assert len(training.fit(model, images, epochs=1, test=grey, progress=False)) == 1
    assert evaluation.encode(model, grey)[0].dtype == torch.float64
    assert objectives.elbo(model, grey / 255).elbo.dtype == torch.float64


def test_codes_and_values_may_be_arrays():
    values = [1.0, 2.0, 4.0]
    assert evaluation.mean(values) == evaluation.mean(np.array(values)) == evaluation.mean(torch.tensor(values))
    codes, labels = np.array([[0.0], [0.1], [1.0], [1.1]]), np.array([0, 0, 1, 1])
    assert evaluation.nearest_neighbours(codes, labels, codes, labels, 1).value == 1
    assert evaluation.active_units(codes).tolist() == [True]


# Pictures


def shown(images, **arguments):
    return plotting.image_grid(images, **arguments).images[0].get_array()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.tensor([[[0, 255]]]), r"dtype torch\.int64; .*images\.to\(torch\.uint8\)"),
        (torch.tensor([[[0.0, 255.0]]]), "ranges from 0 to 255"),
        (torch.tensor([[[-1.0, 1.0]]]), "ranges from -1 to 1"),
        (torch.tensor([[[math.nan, 1.0]]]), "ranges from nan"),
        (torch.tensor([[[0.0, math.inf]]]), "to inf"),
        (torch.tensor([[[0, 1]]], dtype=torch.uint8), "only bytes of 0 and 1"),
        (torch.rand(28, 28, 1), r"channels come first here: images\.permute\(2, 0, 1\)\[None\]"),
        (torch.rand(28, 28, 4), r"channels come first here: images\[\.\.\., :3\]\.permute\(2, 0, 1\)\[None\]"),
        (torch.rand(9, 1, 8, 8) - 0.5, r"ranges from -0.*pixels must lie in \[0, 1\].*undo a normalization"),
    ],
)
def test_a_grid_does_not_draw_other_ranges_black(images, message):
    with pytest.raises(ValueError, match=message):
        shown(images)


def test_a_grid_cuts_off_a_little_and_more_when_asked():
    assert shown(torch.tensor([[[-0.1, 1.2]]]))[1, 1:3].tolist() == [0, 1]
    wide = torch.tensor([[[-3.0, 4.0]]])
    assert shown(wide, clip=True)[1, 1:3].tolist() == [0, 1]
    with pytest.raises(ValueError, match="clip=True"):
        shown(wide)
    with pytest.raises(ValueError, match="nan"):
        shown(torch.tensor([[[math.nan, 1.0]]]), clip=True)


def test_a_curve_leaves_out_what_is_masked():
    line = plotting.curves([1, 2, 3], {"elbo": np.ma.masked_equal([-3.0, -999.0, -1.0], -999)}).lines[0]
    assert line.get_ydata().min() == -3


def test_a_grid_draws_colours_on_white_paper():
    red = torch.zeros(3, 3, 2, 2)
    red[:, 0] = 1
    picture = shown(red, columns=2)
    assert picture.shape == (8, 8, 3)
    assert picture[1, 1].tolist() == [1, 0, 0]
    assert picture[0, 0].tolist() == picture[7, 7].tolist() == [1, 1, 1]  # between the images, and where none is
    assert np.array_equal(shown((red * 255).to(torch.uint8), columns=2), picture)
    assert np.array_equal(shown(red.bool().numpy(), columns=2), picture)
