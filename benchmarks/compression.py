"""Nats on disk: files of the shipped models beside gzip, bz2, xz, PNG and WebP, and what exact arithmetic costs.

    python benchmarks/compression.py [--quick --folder FOLDER]

All 10,000 test images of MNIST, binarized once and for all (``black and white``) or in 256 grey levels (``grey``), and
files of their first 1, 10, 100 and 1,000. ``bytes`` are whole files, headers included; ``first bits`` are the header
and what lies on the stack before the first image. A file is written in this process and read in another with one thread
and another batch size, and the images compared. The rivals get the same pixels: gzip, bz2 and xz one stream of all
images, eight black-and-white pixels to a byte; PNG and WebP (lossless) a file for each image, or all in one mosaic.
``cost``: nats per image that a file needs beyond the float64 model's negative ELBO, on 2,000 images with 4 draws of z
each, for several numbers of bits for each latent; paired: the file's bin and the model's z come from one uniform draw.
``damaged``: files of 50 images with a flipped bit, bytes cut off or changed, one half of them with the file's checksum
made right again; how many were refused. The grey model is MLPVAE 784-400-20-400-784 with a discretized logistic,
trained here for 20 epochs. Seconds are processor seconds, writing and reading.
"""

import argparse
import bz2
import gzip
import hashlib
import io
import lzma
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.distributions import Normal

from vae_tutorial import compress, data, evaluation, models, pretrained, stored, training
from vae_tutorial.compress import files
from vae_tutorial.compress.coding import Coding

UNCODED = ("pixel",)  # compress takes independent pixels alone
PRECISIONS = (3, 4, 5, 6, 8, 10, 12, 14)
READER = """
import sys, time, torch
from vae_tutorial import compress
model, start = torch.load(sys.argv[2], weights_only=False), time.process_time()
found = compress.read(sys.argv[1], model, batch_size=37)
print(time.process_time() - start)
torch.save(found, sys.argv[3])
"""


def written(model, x, folder, precision=12):
    """Write, read in another process, compare."""
    path = Path(folder) / "images.nats"
    start = time.process_time()
    found = compress.write(path, model, x, precision=precision)
    seconds = time.process_time() - start
    torch.save(model, Path(folder) / "model.pt")
    command = [sys.executable, "-c", READER, str(path), f"{folder}/model.pt", f"{folder}/found.pt"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert torch.equal(torch.load(Path(folder) / "found.pt", weights_only=True), x), "other images came back"
    return {
        "images": len(x),
        "bytes": found.bytes,
        "first bits": found.first_bits,
        "nats": found.nats,
        "negative ELBO": found.negative_elbo,
        "excess in %": 100 * found.excess,
        "excess beyond the first bits in %": 100 * found.excess_beyond_first,
        "seconds": [seconds, float(done.stdout)],
    }


def as_files(images, binary, ways):
    """The bytes of a file for each image, in the best of the ways."""
    return min(sum(as_file(image, binary, how) for image in images) for how in ways)


def as_file(pixels, binary, how):
    picture = Image.fromarray(pixels * 255).convert("1") if binary else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, **how)
    return len(buffer.getvalue())


def rivals(pixels, binary):
    """The sizes in bytes of uint8 pixels ``(N, H, W)``, 0 and 1 or 0 to 255."""
    raw = np.packbits(pixels).tobytes() if binary else pixels.tobytes()
    across = math.isqrt(len(pixels))
    tiles = pixels[: across * across].reshape(across, across, *pixels.shape[1:])
    mosaic = tiles.swapaxes(1, 2).reshape(across * pixels.shape[1], across * pixels.shape[2])
    png = [{"format": "PNG"}, {"format": "PNG", "optimize": True}]  # which of them is smaller depends on the pixels
    webp = [{"format": "WebP", "lossless": True, "quality": 100, "method": 6}]
    fast = [{"format": "WebP", "lossless": True, "quality": 100}]  # minutes less for a large picture
    return {
        "packed": len(raw),
        "gzip": len(gzip.compress(raw, 9)),
        "bz2": len(bz2.compress(raw, 9)),
        "xz": len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
        "PNG, one each": as_files(pixels, binary, png),
        "WebP, one each": as_files(pixels, binary, webp),
        "PNG, mosaic": as_files([mosaic], binary, png),
        "WebP, mosaic": as_files([mosaic], binary, fast),
    }


@torch.no_grad()
def cost(model, x, precision, draws):
    """Nats per image beyond the float64 model's negative ELBO, and its standard error over images."""
    coding, z_count = Coding(model, precision, 100), len(x) * model.latent_dim
    exact = models.MLPVAE() if isinstance(model, models.MLPVAE) else models.ConvVAE()
    exact.load_state_dict(model.state_dict())
    exact = exact.double().eval()
    mu, logvar = exact.encode(x.double())
    q, prior = Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)
    pixels = x.numpy().astype(np.int64)
    generator, differences = np.random.default_rng(0), 0.0
    for _ in range(draws):
        cdf = coding.posterior(pixels)
        total = cdf(np.full(z_count, 1 << precision))
        u = np.floor(generator.random(z_count) * total).astype(np.int64)
        bins = np.zeros(z_count, dtype=np.int64)
        for level in reversed(range(precision)):  # the bin in which the distribution function passes u
            bins += (cdf(bins + (1 << level)) <= u).astype(np.int64) << level
        back = np.log((cdf(bins + 1) - cdf(bins)) / total).reshape(len(x), -1).sum(1)
        weight = coding.likelihood(bins)
        level, top = pixels.ravel(), np.full(pixels.size, 2)
        log_p = np.log((weight(level + 1) - weight(level)) / weight(top)).reshape(len(x), -1).sum(1)
        length = back - log_p + model.latent_dim * precision * math.log(2)
        z = q.icdf(torch.from_numpy((u + 0.5) / total).view_as(mu))
        elbo = exact.likelihood.log_prob(x.double(), exact.decode(z)) + (prior.log_prob(z) - q.log_prob(z)).sum(1)
        differences = differences + (torch.from_numpy(length) + elbo) / draws
    return list(evaluation.mean(differences))


def damage(whole, kind, draw, mended):
    """Another content than ``whole``; ``mended``: with a checksum that fits it, so that only the pixels' can tell."""
    content, place = bytearray(whole), draw.randrange(len(whole))
    if kind == 0:
        content[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del content[place:]
    elif kind == 2:
        content[place : place + 8] = draw.randbytes(8)
    else:
        content += draw.randbytes(draw.randrange(1, 20))
    start, end = files._HEADER.size, files._HEADER.size + files._DIGEST
    if mended and len(content) > end:
        content[start:end] = hashlib.sha256(content[:start] + content[end:]).digest()[: files._DIGEST]
    return bytes(content) if content != whole else damage(whole, kind, draw, mended)


def damaged(model, x, folder, tries):
    """How many of ``tries`` damaged files are refused; any other must not give images at all."""
    path, bad = Path(folder) / "whole.nats", Path(folder) / "damaged.nats"
    compress.write(path, model, x)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    assert torch.equal(compress.read(path, model), x)
    for attempt in range(tries):
        bad.write_bytes(damage(whole, attempt % 4, draw, mended=attempt >= tries // 2))
        try:
            compress.read(bad, model)
        except compress.CompressError:
            refused += 1
    return {"files": tries, "refused": refused}


def pays_from(name, ours, rival):
    """From how many images on a file and the model's own bytes are together shorter than the rival's file."""
    model = (pretrained.shipped.FOLDER / f"{name}.safetensors").stat().st_size
    saved = (rival - ours["bytes"]) / ours["images"]
    return {"bytes of the model": model, "bytes saved per image": saved, "pays from": math.ceil(model / saved)}


def grey_model(epochs, images):
    torch.manual_seed(0)
    model = models.MLPVAE(likelihood="discretized_logistic")
    training.fit(model, images, epochs=epochs, seed=0, progress=False)
    return model.eval()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images: to see that it runs")
    parser.add_argument("--folder", help="where the result goes, if not into the package")
    arguments = parser.parse_args(argv)
    if arguments.quick and arguments.folder is None:
        parser.error("--quick needs --folder: a tiny run is no result")
    quick, start = arguments.quick, time.perf_counter()
    source, strict = ("digits", False) if quick else ("mnist", True)
    n, paired, tries, epochs = (20, 10, 5, 1) if quick else (10_000, 2_000, 1_000, 20)
    names = ["mlp"] if quick else [name for name in pretrained.names() if name not in UNCODED]
    black = data.test_binarization(source, strict=strict)[:n]
    grey = data.load(source, "test", strict=strict).images[:n]
    values = {
        "rivals": {
            "black and white": rivals(black.numpy().astype(np.uint8)[:, 0], True),
            "grey": rivals(grey.numpy()[:, 0], False),
        }
    }
    print(values, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        values["black and white"] = {}
        for name in names:
            values["black and white"][name] = written(pretrained.load(name), black, folder)
            print(name, values["black and white"][name], flush=True)
        mlp, smaller = pretrained.load("mlp"), [1] if quick else [1, 10, 100, 1000]
        values["first images"] = [written(mlp, black[:count], folder) for count in smaller]
        values["cost"] = {str(k): cost(mlp, black[:paired], k, 4) for k in PRECISIONS}
        print(values["cost"], flush=True)
        if "conv" in names:
            values["cost of conv"] = cost(pretrained.load("conv"), black[:paired], 12, 4)
        values["damaged"] = damaged(mlp, black[:50], folder, tries)
        print(values["damaged"], flush=True)
        trained = grey_model(epochs, data.load(source, "train", strict=strict).images)
        values["grey"] = {"epochs": epochs, **written(trained, grey, folder)}
        print(values["grey"], flush=True)
    bz2_bytes = values["rivals"]["black and white"]["bz2"]
    values["against bz2"] = {name: pays_from(name, values["black and white"][name], bz2_bytes) for name in names[:2]}
    stored.write(
        "compression",
        values,
        command="python benchmarks/compression.py",
        protocol=" ".join(__doc__.split("\n\n")[2].split()),
        trainings=1,
        minutes=(time.perf_counter() - start) / 60,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
