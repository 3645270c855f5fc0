"""Nearest images, against every distance computed one by one, and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from vae_tutorial import evaluation, models, neighbours


@pytest.fixture
def bytes_():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (n, 1, 5, 4), dtype=torch.uint8, generator=generator) for n in (30, 90)]


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("piece", [2**23, 7 * 20])
def test_the_same_as_scikit_learn(bytes_, k, piece, monkeypatch):
    monkeypatch.setattr(neighbours, "PIECE", piece)
    images, among = bytes_
    found = evaluation.nearest_images(images, among, k)
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among.flatten(1).double().numpy() / 255)
    distance, index = near.kneighbors(images.flatten(1).double().numpy() / 255)
    np.testing.assert_allclose(found.distance, distance, atol=1e-12)
    np.testing.assert_array_equal(found.index, index)


def test_a_copy_is_found_at_distance_0_and_ties_go_to_the_first(bytes_):
    images, among = bytes_
    among = torch.cat([among, images, images])
    found = evaluation.nearest_images(images / 255, among, 3)  # floats against bytes
    assert (found.distance[:, :2] < 1e-6).all()  # float32 / 255 is not float64 / 255
    assert found.index[:, :2].sort(1).values.tolist() == [[90 + i, 120 + i] for i in range(30)]
    assert torch.equal(
        evaluation.nearest_images(images, among, 2).index, torch.arange(90, 120)[:, None] + torch.tensor([0, 30])
    )
    assert (evaluation.nearest_images(images, among).distance == 0).all()
    assert (found.distance[:, 2] > 0.5).all()


def test_the_square_counts_the_pixels_that_differ():
    one = torch.zeros(1, 1, 3, 3)
    two = one.clone()
    two[0, 0, 0, :2] = 1
    assert evaluation.nearest_images(one, two).distance.item() ** 2 == pytest.approx(2)


def test_nearly_equal_distances_are_put_in_order():
    # Bright images that differ by a millionth: in float32 the squares multiplied out cannot tell them apart.
    among = torch.full((6, 1, 28, 28), 0.9, dtype=torch.float64)
    for row, shift in enumerate((5e-6, 3e-6, 1e-6, 4e-6, 2e-6, 6e-6)):
        among[row] += shift
    found = evaluation.nearest_images(torch.full((1, 1, 28, 28), 0.9, dtype=torch.float64), among, 6)
    assert found.index[0].tolist() == [2, 4, 1, 3, 0, 5]
    torch.testing.assert_close(found.distance[0], 28 * 1e-6 * torch.arange(1, 7).double(), rtol=1e-6, atol=0)
    assert evaluation.nearest_images(torch.full((1, 1, 28, 28), 0.9, dtype=torch.float64), among).index.item() == 2


def test_memory_is_bounded(bytes_, monkeypatch):
    rows, flat = [], neighbours._flat
    monkeypatch.setattr(neighbours, "_flat", lambda x, *dtype: (rows.append(len(x)), flat(x, *dtype))[1])
    monkeypatch.setattr(neighbours, "PIECE", 5 * 20)
    evaluation.nearest_images(bytes_[0][:2], bytes_[1])
    assert max(rows) <= 9  # 5 at a time, and in the end the 9 candidates of each image
    assert rows.count(5) == 18


def test_what_is_not_a_tensor_is_taken_too(bytes_):
    class InAFile:
        """As images in a file behave: rows of them are tensors."""

        def __init__(self, images):
            self.images_, self.shape, self.dtype, self.ndim = images, images.shape, images.dtype, images.ndim
            self.device = images.device

        def __len__(self):
            return len(self.images_)

        def __getitem__(self, rows):
            return self.images_[rows]

        def index_select(self, dim, index):
            return self.images_.index_select(dim, index)

    images, among = bytes_
    wanted = evaluation.nearest_images(images, among, 2)
    for other in (InAFile(among), among.numpy(), list(among)):
        found = evaluation.nearest_images(images, other, 2)
        assert all(map(torch.equal, found, wanted))
    assert all(map(torch.equal, evaluation.nearest_images(InAFile(images), among, 2), wanted))


def test_samples_of_a_model(bytes_):
    torch.manual_seed(0)
    model = models.MLPVAE(2, (8,), image_shape=(1, 5, 4))
    assert evaluation.nearest_images(model.sample(3), bytes_[1]).index.shape == (3, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be a whole number of at least 1; got 0"),
        ({"k": 7}, ValueError, "k must be at most the 6 images of among; got 7"),
        ({"among": torch.zeros(6, 1, 3, 4)}, ValueError, r"of one shape, \(N, C, H, W\); got \(2, 1, 3, 3\) and \(6,"),
        ({"images": torch.zeros(3, 3)}, ValueError, "of one shape"),
        ({"images": torch.full((2, 1, 3, 3), 2.0)}, ValueError, "images ranges from 2 to 2"),
        ({"among": torch.zeros(6, 1, 3, 3).long()}, ValueError, "among has dtype torch.int64"),
        ({"among": "mnist"}, TypeError, "among is a str; expected a tensor"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluation.nearest_images(
            **{"images": torch.zeros(2, 1, 3, 3), "among": torch.zeros(6, 1, 3, 3), "k": 1, **arguments}
        )
