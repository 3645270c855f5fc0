"""Train from a file of images and from memory, in turn: resident memory, and images a second.

    python benchmarks/mapped.py FOLDER [--images 200000] [--rounds 7] [--steps 20] [--model conv] [--last 200000]

Makes so many images of 3 x 64 x 64 (2.5 GB of bytes, and the same again while they are made; they lie in FOLDER and are
deleted at the end), and a cache of them by data.from_arrays. Then two processes, of which one reads the cache and one
has loaded it into memory, take turns: in each round each trains for so many steps of 128 images drawn from all of them,
by training.run_epoch; the first round warms up. At the end the one that reads the cache goes once through --last of the
images, evenly spread, by training.fit, and measures 10,000: its peak of resident memory (VmHWM) is that of an epoch.
Printed are medians over the rounds, their range, and the ratio within each round; also by seconds of CPU, with those of
the thread that reads, for a machine that does other things as well.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vae_tutorial import _cache, data, models, training

SHAPE, BATCH = (3, 64, 64), 128
MODELS = {
    "conv": lambda: models.ConvVAE(32, (32, 64, 128, 256), "gaussian_shared", SHAPE),
    "mlp": lambda: models.MLPVAE(2, (8,), "gaussian_shared", SHAPE),  # reading is nearly all of its work
}


def make(path, count):
    """Write images of smooth colours and noise as one NumPy file, a thousand at a time."""
    x = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SHAPE))
    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        coarse = torch.from_numpy(rng.integers(0, 200, (min(1000, count - start), 3, 4, 4))).float()
        smooth = torch.nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bilinear").byte().numpy()
        x[start : start + 1000] = smooth + rng.integers(0, 50, smooth.shape, dtype=np.uint8)
        x.flush()


def peak():
    """The most resident memory that this process has had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def tell(**values):
    print(json.dumps(values), flush=True)


def contestant(where, path, model, steps, device):
    """One of the two processes: each line that it reads is a turn, and it answers with a line of JSON."""
    start = time.perf_counter()
    with open(path, "rb") as file:
        recipe = json.loads(_cache._described(file)[0]["recipe"])
    images, _, _ = _cache.read(path, recipe)
    tell(opened=time.perf_counter() - start)
    images = images[:] if where == "memory" else images
    images = images.to(device)
    torch.manual_seed(0)
    net = MODELS[model]().to(device)
    optimizer, generator = torch.optim.Adam(net.parameters()), torch.Generator().manual_seed(0)
    for turn in sys.stdin:
        rows = torch.randperm(len(images), generator=generator)[: steps * BATCH]
        start, cpu = time.perf_counter(), time.process_time()
        if last := int(turn):
            part, test = images.subset(slice(None, None, len(images) // last)), images.subset(slice(0, 10_000))
            training.fit(net, part, epochs=1, batch_size=BATCH, test=test, progress=False)
        else:
            some = images.subset(rows) if where == "file" else images[rows.to(device)]
            training.run_epoch(net, some, optimizer, batch_size=BATCH, generator=torch.Generator(device))
        tell(wall=time.perf_counter() - start, cpu=time.process_time() - cpu, peak=peak())


def ask(process, last=None):
    """Give a process its turn, and return what it answers. ``last``: images of an epoch, or 0 for a few steps."""
    if last is not None:
        process.stdin.write(f"{last}\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline())


def run(options, folder):
    array, path = folder / "x.npy", folder / "cache"
    make(array, options.images)
    start = time.perf_counter()
    data.from_arrays(np.load(array, mmap_mode="r"), split=0, cache=path)
    found = {"written": time.perf_counter() - start, "bytes": path.stat().st_size}
    array.unlink()
    command = [sys.executable, __file__, "--turns", str(path), options.model, str(options.steps), str(options.device)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = {where: subprocess.Popen([*command, where], **pipes) for where in ("file", "memory")}
    try:
        found["opened"] = {where: ask(process)["opened"] for where, process in processes.items()}
        rounds = [{w: ask(p, 0) for w, p in processes.items()} for _ in range(options.rounds + 1)][1:]
        found["peak of memory"] = ask(processes["memory"], 0)["peak"]
        whole = ask(processes["file"], min(options.last, options.images))
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait()
    found |= {"peak of file": whole["peak"], "epoch": whole["wall"], "rounds": rounds}
    for clock in ("wall", "cpu"):
        for where in processes:
            speeds = [options.steps * BATCH / round_[where][clock] for round_ in rounds]
            found[f"{where} {clock}"] = [statistics.median(speeds), min(speeds), max(speeds)]
        ratios = [round_["memory"][clock] / round_["file"][clock] for round_ in rounds]
        found[f"ratio {clock}"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return found


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--turns"]:
        path, model, steps, device, where = argv[1:]
        return contestant(where, path, model, int(steps), torch.device(device))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", choices=MODELS, default="conv")
    parser.add_argument("--last", type=int, default=200_000)
    parser.add_argument("--device", type=torch.device, default=training.best_device())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = run(options, Path(folder))
    print(f"{options.images:,} images, {found['bytes'] / 1e9:.2f} GB; written in {found['written']:.0f} s")
    print(f"opened and checked in {found['opened']['file']:.1f} s; an epoch from the file: {found['epoch']:.0f} s")
    for where in ("memory", "file"):
        middle, least, most = found[f"{where} wall"]
        print(f"from {where:7s}{middle:9,.0f} images/s ({least:,.0f} to {most:,.0f})", end="")
        print(f", {found[f'{where} cpu'][0]:,.0f} per second of CPU, peak {found[f'peak of {where}']:,.0f} MB")
    for clock in ("wall", "cpu"):
        middle, least, most = found[f"ratio {clock}"]
        print(f"file / memory, {clock:4s} {middle:6.3f} ({least:.3f} to {most:.3f}), of {options.rounds} rounds")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
