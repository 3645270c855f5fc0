"""Does training on the bound with five draws pay? The VAE and the IWAE, k = 5, of Burda et al., at equal passes.

    python benchmarks/equal_passes.py [--keep FOLDER] [--passes 250] [--quick --folder FOLDER]

Protocol: ``reproduce.train`` of each row, one training, seed 0, stopped early: the learning rate is that of the
3,000-pass schedule, so neither row is finished, and the two have seen the same images as often. Then, with the averaged
weights, on the ledger's 10,000 test images: log p(x) with 1,000 draws from the encoder's q, the paper's way; and on the
first 1,000 with 500 draws from a refined proposal. ``gain``: the IWAE's estimate minus the VAE's on the same images.

``--keep``: a folder for the checkpoints ROW.pt; from what is there it goes on. ``--quick``: a smoke test.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from _thread import interrupt_main
from pathlib import Path

import torch

from vae_tutorial import data, evaluation, reproduce, stored

ROWS = ("vae", "iwae5")


def trained(row, passes, images, folder, epochs):
    """Train a row up to so many passes of its schedule; return what a checkpoint holds then, kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, file, done = folder / f"{row}-{passes}.pt", folder / f"{row}.pt", threading.Event()

    def keep():
        if file.exists() and not kept.exists() and len(reproduce.load(row, file).history) == passes:
            shutil.copy(file, kept)
        return kept.exists()

    def watch():
        while not done.wait(0.3):
            if keep():
                return interrupt_main()  # after Ctrl-C a training ends well

    if not keep():
        if passes < epochs:
            threading.Thread(target=watch, daemon=True).start()
        try:
            reproduce.train(row, images, file, epochs=epochs, progress=False)
        finally:
            done.set()
        if not keep():
            raise SystemExit(f"{file} has {len(reproduce.load(row, file).history)} passes, not {passes}")
    return reproduce.load(row, kept)


def measured(model, test, draws):
    """Return the estimates of log p(x) of all images by the encoder's draws, and of the first ones by refined draws."""
    generator = torch.Generator().manual_seed(0)
    encoder = evaluation.log_marginal(model, test, 2 * draws, generator)
    return encoder, evaluation.log_marginal(model, test[: len(test) // 10], draws, generator, proposal="refined")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="a folder for the checkpoints")
    parser.add_argument("--passes", type=int, default=250)
    parser.add_argument("--quick", action="store_true", help="a few images, two passes")
    parser.add_argument("--folder", type=Path, help="where the result goes, if not into the package")
    arguments = parser.parse_args(argv)
    if arguments.quick and arguments.folder is None:
        parser.error("--quick needs --folder: a tiny run is no result")
    quick, start = arguments.quick, time.process_time()
    passes, epochs, draws = (2, 2, 5) if quick else (arguments.passes, reproduce.EPOCHS, 500)
    images = data.load("mnist", "train", strict=not quick).images[: 200 if quick else None]
    test = data.test_binarization("mnist", strict=not quick)[: 20 if quick else None]
    torch.set_num_threads(1)
    values, estimates, minutes = {"passes": passes, "of": epochs}, {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            found = trained(row, passes, images, arguments.keep or Path(folder), epochs)
            estimates[row] = measured(found.model, test, draws)
            named = zip(("encoder", "refined"), estimates[row], strict=True)
            values[row] = {way: list(estimate.summary()[:5]) for way, estimate in named}
            values[row]["active units"] = int(evaluation.active_units(evaluation.encode(found.model, test)[0]).sum())
            minutes += statistics.median(found.history["seconds"]) * passes / 60
            print(row, values[row], flush=True)
    pairs = zip(("encoder", "refined"), *(estimates[row] for row in ROWS), strict=True)
    values["gain"] = {way: list(evaluation.mean(iwae.value - vae.value)) for way, vae, iwae in pairs}
    print(values["gain"], flush=True)
    stored.write(
        "equal_passes",
        values,
        command="python benchmarks/equal_passes.py",
        protocol=" ".join(__doc__.split("\n\n")[2].split()),
        trainings=1,
        minutes=minutes + (time.process_time() - start) / 60,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
