"""``python -m vae_tutorial reproduce``: train a published number again, and print ours beside theirs."""

import shlex
import statistics
import sys

import torch

from vae_tutorial import _checks, data, reproduce, stored, training
from vae_tutorial.cli._options import path


def describe(p):
    """Add the command's options to its parser."""
    p.add_argument("what", choices=["burda2016"], help="Importance weighted autoencoders, table 1, one layer, MNIST")
    p.add_argument("--row", choices=reproduce.ROWS, required=True, help="which row of the table")
    p.add_argument("--out", type=path, required=True, metavar="FOLDER", help="for ROW.pt, the state, and ROW.json")
    p.add_argument(
        "--epochs",
        type=int,
        default=reproduce.EPOCHS,
        help="passes over the images, in which the learning rate falls to 0 (default: %(default)s)",
    )
    p.add_argument(
        "--gradient",
        choices=("plain", "dreg"),
        default="plain",
        help="of an IWAE's encoder; the published rows have the plain one (default: %(default)s)",
    )
    p.add_argument("--samples", type=int, default=5000, help="draws of z for each test image (default: %(default)s)")
    p.add_argument("--evaluate", action="store_true", help="do not train; measure the state in FOLDER as it is")
    p.add_argument("--limit", type=int, metavar="N", help="take only N images to train and N to test: a trial")
    p.add_argument("--root", help="folder that holds MNIST/raw (default: VAE_TUTORIAL_DATA, else a cache folder)")
    p.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where PyTorch finds it, else cpu")


def run(arguments) -> int:
    """Train what is left to train, measure, print and store the row; return 0, or 130 where Ctrl-C came first."""
    limit = None if arguments.limit is None else _checks.whole("--limit", arguments.limit, least=2)
    samples = _checks.whole("--samples", arguments.samples, least=2)
    if arguments.gradient != "plain" and reproduce.ROWS[arguments.row].samples == 1:
        raise ValueError(f"--gradient is of an IWAE's encoder; --row {arguments.row} has none")
    device = torch.device(arguments.device) if arguments.device else training.best_device()
    state = arguments.out / f"{arguments.row}.pt"
    test = data.test_binarization("mnist", root=arguments.root, strict=True)[:limit].to(device)
    if not arguments.evaluate:
        images = data.load("mnist", "train", root=arguments.root, strict=True).images[:limit]
        arguments.out.mkdir(parents=True, exist_ok=True)
        print(f"{state}: {'going on' if state.exists() else 'from nothing'}, {device}", flush=True)
        history = reproduce.train(
            arguments.row, images, state, epochs=arguments.epochs, gradient=arguments.gradient, device=device
        )
        if len(history) < arguments.epochs:
            print(f"stopped after {len(history):,} of {arguments.epochs:,} passes; the same command goes on")
            return 130
    trained = reproduce.load(arguments.row, state)
    found = reproduce.measure(trained.model.to(device), test, samples)
    text, values = _report(arguments.row, trained, found)
    print(text)
    stored.write(
        arguments.row,
        values,
        command=shlex.join(["python", "-m", "vae_tutorial", *sys.argv[1:]]),
        protocol=text,
        trainings=1,
        minutes=(sum(trained.history["seconds"]) + found.seconds) / 60,
        folder=arguments.out,
    )
    return 0


def _report(name, trained, found):
    """The row as text and as values: ours beside theirs, with protocol and cost."""
    row, log_p, history = reproduce.ROWS[name], found.log_p, trained.history
    second = statistics.median(history["seconds"])  # a pause of the machine does not count
    hours = second * len(history) / 3600
    ours = f"{-log_p.value:.2f} ± {log_p.stderr:.2f}"
    goal = f"{row.samples} draws, {trained.gradient} gradient" if row.samples > 1 else "ELBO of one draw with exact KL"
    lines = [
        f"Burda, Grosse and Salakhutdinov (2016), table 1, MNIST, one stochastic layer: {row.title}",
        "            -log p(x), nats   active units of 50",
        f"  theirs    {row.nats:<18}{row.active_units}",
        f"  ours      {ours:<18}{found.active_units}",
        f"  (± is the standard error over {found.images:,} test images; another training differs too)",
        f"network     784-200-200-50 and back, tanh, Bernoulli; objective: {goal}",
        f"training    ours: {trained.images:,} images, {len(history):,} passes, batches of 200, Adam from 0.002 to 0 "
        f"along a cosine of {trained.epochs:,} passes, weights averaged (0.9995), one training",
        "            theirs: 59,600 images, 3,280 passes, batches of 20, Adam from 0.001 to 0.0001 in 8 stages",
        "            both: binarized anew at each presentation",
        "test        each image binarized once, at random with its grey values as probabilities, as in their code (not "
        "the fixed binarization of Larochelle and Murray, on which the nats are about 2 higher)",
        f"estimate    {log_p.samples:,} draws of q(z | x), as theirs; median ESS {log_p.ess:.0f}, below 10 for "
        f"{100 * log_p.low:.1f} % of images; {log_p.change:+.2f} nats from half of the draws",
        "active      where the variance of the posterior mean exceeds 0.01: over the test images (theirs: 500 of "
        "training)",
        f"cost        {second:.1f} s a pass, {hours:.1f} hours; measured in {found.seconds:.0f} s; "
        f"{stored.machine_name()}, {torch.get_num_threads()} thread(s)",
    ]
    if trained.images < 60_000 or found.images < 10_000:
        lines.append("A TRIAL on a part of the images: not the protocol of the table")
    if len(history) < trained.epochs:
        lines.append(f"NOT FINISHED: {len(history):,} of {trained.epochs:,} passes")
    values = {
        "nats": -log_p.value,
        "stderr": log_p.stderr,
        "published": row.nats,
        "active_units": found.active_units,
        "published_active_units": row.active_units,
        "images": found.images,
        "samples": log_p.samples,
        "ess": log_p.ess,
        "low": log_p.low,
        "change": log_p.change,
        "epochs": len(history),
        "seconds_of_an_epoch": second,
        "curve": history["elbo" if row.samples == 1 else "bound"],
    }
    return "\n".join(lines), values
