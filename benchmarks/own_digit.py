"""The bills of test digits beside which chapter 11 puts the reader's own, and the digits to begin with.

    python benchmarks/own_digit.py [--quick --folder FOLDER]

pretrained "mlp-2d", its weights rounded as for pages. A bill is minus the ELBO of an image, in nats, its mean over
q(z | x) by Gauss-Hermite quadrature at 5 x 5 places. ``average``: the ledger's 10,000 test images, their mean and its
standard error; ``classes``: the mean of each class; ``percentiles``: from 0 to 100, of all; ``least`` and ``most``:
the 100 lowest and the 100 highest, in order. ``centred``: the mean of 2,000 of them, every fifth, each as a page of
56 x 56 points, by MNIST's recipe and the explorer's coins. ``digits``: of those the pages, as text, whose bills by the
recipe are nearest to the means of their classes, and to those without it.
``cheaper``: for a blank page and for the explorer's bar the shares of the test 1s and of the others that cost less.

``--quick``: 200 images, as a smoke test.
"""

import time

import _common
import numpy as np
import torch

from vae_tutorial import data, evaluation
from vae_tutorial.explorers import _drawing, _packed, own_digit


def bills(vae, images):
    """Return the bill of each image, ``(N,)``."""
    return torch.cat([own_digit.bills(vae, part.double()).sum(1) for part in images.split(200)])


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=0)
    start = time.process_time()
    test = data.load("mnist", "test", strict=not arguments.quick)
    x = data.test_binarization("mnist", strict=not arguments.quick)
    count, step = (200, 2) if arguments.quick else (len(x), 5)
    labels, vae = test.labels[:count], _packed.vae()
    all_bills = bills(vae, x[:count])
    classes = [all_bills[labels == digit].mean().item() for digit in range(10)]
    pages = [_drawing.from_image(image[0].numpy() / 255) for image in test.images[:count:step]]
    own, plain = (
        bills(vae, torch.cat([own_digit.thrown(recipe(page)) for page in pages]))
        for recipe in (_drawing.centred, _drawing.grey)
    )
    distance = (own - torch.tensor(classes)[labels[::step]]).abs() + (own - plain).abs()
    chosen = [distance.where(labels[::step] == digit, torch.inf).argmin().item() for digit in range(10)]
    strange = {"blank": 0 * own_digit.bar(), "bar": own_digit.bar()}
    costs = {name: bills(vae, own_digit.thrown(_drawing.centred(page))) for name, page in strange.items()}
    one = labels == 1
    values = {
        "average": evaluation.mean(all_bills)._asdict(),
        "classes": classes,
        "percentiles": np.percentile(all_bills, range(101)).tolist(),
        "least": all_bills.sort().values[:100].tolist(),
        "most": all_bills.sort().values[-100:].tolist(),
        "centred": evaluation.mean(own)._asdict(),
        "cheaper": {
            name: {
                "ones": (all_bills[one] < cost).double().mean().item(),
                "others": (all_bills[~one] < cost).double().mean().item(),
            }
            for name, cost in costs.items()
        },
        "digits": [_drawing.encode(pages[k]) for k in chosen],
    }
    _common.write("own_digit", values, __doc__, 0, 0, (time.process_time() - start) / 60, arguments.folder)


if __name__ == "__main__":
    main()
