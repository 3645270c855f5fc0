"""The recipes as commands: ``python -m vae_tutorial train --model conv --epochs 10 --checkpoint conv.pt``.

In parallel, one process for each GPU or CPU core:
``torchrun --nproc-per-node 2 -m vae_tutorial train ...``. The loop knows nothing of it: each process trains on its
share of the images, with its share of the batch, and PyTorch's DistributedDataParallel averages their gradients.
"""

import argparse
import os
import sys

from vae_tutorial import doctor

if __name__ == "__main__" and sys.argv[1:2] == ["doctor"]:  # before the imports: it says why one of them fails
    sys.exit(doctor.main(sys.argv[2:]))

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from vae_tutorial import data, evaluation, likelihoods, models, objectives, pretrained, training

MODELS = {"mlp": models.MLPVAE, "conv": models.ConvVAE, "autoencoder": models.Autoencoder}
ERRORS = (
    ValueError,
    data.DataError,
    pretrained.PretrainedError,
    training.CheckpointError,
    training.TrainingDiverged,
)


class Parallel(DistributedDataParallel):
    """A model on several processes: its gradients are averaged over them, and all else is the model's own."""

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":  # not there yet: DistributedDataParallel is still being made
                raise
            return getattr(self.module, name)

    def state_dict(self, *arguments, **named):
        """Return the model's own state, without the wrapper's names, so that a checkpoint fits one process too."""
        return self.module.state_dict(*arguments, **named)

    def load_state_dict(self, *arguments, **named):
        """Load the model's own state."""
        return self.module.load_state_dict(*arguments, **named)


def share(images, rank, world):
    """Return every world-th image from the rank-th on: as many for each process, so that none waits for ever."""
    return images[: len(images) - len(images) % world][rank::world]


def build(arguments):
    """Return the model that the arguments describe, its first weights drawn from the seed."""
    sizes = {name: value for name, value in vars(arguments).items() if name in ("latent_dim", "hidden", "channels")}
    wrong = "hidden" if arguments.model == "conv" else "channels"
    if wrong in sizes:
        raise ValueError(f"--{wrong} does not go with --model {arguments.model}")
    torch.manual_seed(arguments.seed)
    return MODELS[arguments.model](likelihood=arguments.likelihood, **sizes)


def train(arguments):
    """Train, say how well the test images are described, and return the exit status."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type != "cpu" and not getattr(torch, device.type).is_available():
        raise ValueError(f"--device {device} is not to be had here; leave it out, or give cpu")
    if world > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if arguments.batch_size % world:
            raise ValueError(f"--batch-size {arguments.batch_size} cannot be shared by {world} processes")
    model = build(arguments).to(device)

    where = {"root": arguments.root, "device": device, "strict": arguments.strict}
    for turn in range(2 if world > 1 else 1):  # the first process may have to download; the others come after it
        if (rank == 0) == (turn == 0):
            images = data.load(arguments.dataset, "train", **where)
            if model.likelihood.binary:
                test = data.test_binarization(arguments.dataset, **where)
            else:
                test = data.load(arguments.dataset, "test", **where).images
        if world > 1:
            dist.barrier()
    if rank == 0:
        size = sum(p.numel() for p in model.parameters())
        print(
            f"{type(model).__name__}, {size:,} parameters, on {images.name} ({len(images):,} images), {device}", end=""
        )
        print(f", {world} processes" if world > 1 else "", flush=True)

    average = schedule = None
    if arguments.average is not None:
        decay = torch.optim.swa_utils.get_ema_multi_avg_fn(arguments.average)
        average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay)
    if arguments.cosine:

        def schedule(optimizer):
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.epochs)

    def warming_up(progress):
        return arguments.beta * min(1.0, progress / arguments.warm_up)

    history = training.fit(
        Parallel(model) if world > 1 else model,
        share(images.images, rank, world),
        epochs=arguments.epochs,
        batch_size=arguments.batch_size // world,
        lr=arguments.lr,
        beta=warming_up if arguments.warm_up else arguments.beta,
        free_bits=arguments.free_bits,
        schedule=schedule,
        average=average,
        precision=arguments.precision,
        seed=arguments.seed + 15_485_863 * rank,  # other noise in each process
        test=test,
        checkpoint=arguments.checkpoint if rank == 0 else None,
        resume=arguments.resume,
        progress=rank == 0,
    )
    if world > 1:
        average_over_processes(history, device)
        dist.destroy_process_group()
    if rank == 0:
        report(history, model if average is None else average.module, test, arguments.seed)
    return 0 if len(history) >= arguments.epochs else 130  # what a shell expects after Ctrl-C


def average_over_processes(history, device):
    """Replace the training columns, which each process knows of its own images, by their mean over all.

    The epochs before a resumption keep those of the first process, as its checkpoint has them.
    """
    columns = ("elbo", "reconstruction", "kl")
    values = torch.tensor([[row[c] for c in columns] for row in history.rows], device=device)
    dist.all_reduce(values)
    for row, means in zip(history.rows, (values / dist.get_world_size()).tolist(), strict=True):
        row.update(zip(columns, means, strict=True))


@torch.no_grad()
def report(history, model, test, seed):
    """Print the history, and the test images' mean ELBO with its standard error over the images."""
    if not history.rows:
        print("interrupted before the end of the first epoch")
        return
    print(history.to_frame().round(2).to_string())
    generator = torch.Generator(test.device).manual_seed(seed)
    scale = 255 if test.dtype == torch.uint8 else 1
    parts = [objectives.elbo(model, x.float() / scale, generator=generator) for x in test.split(1000)]
    elbo, reconstruction, kl = (torch.cat(column) for column in zip(*parts, strict=True))
    error = elbo.std() / len(elbo) ** 0.5
    name = "log p(x | z), not a bound" if isinstance(model, models.Autoencoder) else "ELBO"
    print(f"test {name}: {elbo.mean():.2f} +- {error:.2f} nats per image", end="")
    print(f" (reconstruction {reconstruction.mean():.2f}, KL {kl.mean():.2f}, {len(elbo):,} images)")


def _describe_model(p):
    none = argparse.SUPPRESS  # then the model's own default holds
    p.add_argument("--model", choices=MODELS, default="mlp", help="which networks (default: %(default)s)")
    p.add_argument(
        "--likelihood", choices=likelihoods.NAMES, default="bernoulli", help="of a pixel (default: %(default)s)"
    )
    p.add_argument("--latent-dim", type=int, default=none, help="(default: 20; 2 for an autoencoder)")
    p.add_argument("--hidden", type=int, nargs="+", default=none, help="widths of mlp and autoencoder (default: 400)")
    p.add_argument("--channels", type=int, nargs="+", default=none, help="channels of conv (default: 32 64)")


def _describe_data(p):
    p.add_argument("--dataset", choices=data.NAMES, default="mnist", help="which images (default: %(default)s)")
    p.add_argument("--root", help="folder that holds MNIST/raw (default: VAE_TUTORIAL_DATA, else a cache folder)")
    p.add_argument("--strict", action="store_true", help="fail where the images cannot be had, without a stand-in")


def parse(argv=None):
    """Return the command line as a namespace; argparse ends the process where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m vae_tutorial", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("train", help="train a model and measure it")
    _describe_model(p)
    _describe_data(p)
    p.add_argument("--epochs", type=int, default=10, help="passes over the images (default: %(default)s)")
    p.add_argument("--batch-size", type=int, default=128, help="of all processes together (default: %(default)s)")
    p.add_argument("--lr", type=float, default=1e-3, help="Adam's learning rate (default: %(default)s)")
    p.add_argument("--cosine", action="store_true", help="let the learning rate fall to 0 along a cosine")
    p.add_argument("--beta", type=float, default=1.0, help="weight of the KL (default: %(default)s)")
    p.add_argument("--warm-up", type=float, default=0.0, metavar="FRACTION", help="of the training, with a rising beta")
    p.add_argument("--free-bits", type=float, default=0.0, help="nats that each latent dimension has for nothing")
    p.add_argument("--average", type=float, metavar="DECAY", help="of a moving average of the weights, such as 0.999")
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the layers")
    p.add_argument("--seed", type=int, default=0, help="of first weights, order and noise (default: %(default)s)")
    p.add_argument("--device", choices=("cpu", "cuda", "mps"), help="(default: cuda where there is one, else cpu)")
    p.add_argument("--checkpoint", metavar="FILE", help="holds the whole state after each epoch")
    p.add_argument("--resume", metavar="FILE", help="the checkpoint to go on from")
    p = commands.add_parser("evaluate", help="say how many nats a model needs for an image, and how sure that is")
    p.add_argument(
        "what", metavar="NAME_OR_FILE", help="a shipped model, or the checkpoint of a model as described by:"
    )
    _describe_model(p)
    _describe_data(p)
    p.add_argument("--images", type=int, default=1000, help="how many test images (default: %(default)s)")
    p.add_argument("--samples", type=int, default=500, help="draws of z for each (default: %(default)s)")
    p.add_argument("--proposal", choices=("refined", "encoder"), default="refined", help="what z is drawn from")
    p.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    p = commands.add_parser("pretrained", help="train shipped models anew, and compare them with their cards")
    p.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(pretrained.names())} (default: all)")
    p.add_argument("--folder", default="build/pretrained", help="where they go (default: %(default)s)")
    p.add_argument("--install", action="store_true", help="put them in the place of the shipped ones")
    p.add_argument("--measure", action="store_true", help="do not train; measure the shipped ones anew")
    p = commands.add_parser("doctor", help="say what on this machine keeps the course from running, and what to do")
    p.add_argument("--json", action="store_true", help="for a bug report")
    return parser.parse_args(argv)


def evaluate(arguments):
    """Print ELBO, its parts and log p(x) of test images, with what speaks against the last; return 0."""
    if arguments.what in pretrained.names():
        model = pretrained.load(arguments.what)
    else:
        if arguments.model == "autoencoder":
            raise ValueError("--model autoencoder has no log p(x): it has no prior (chapter 7)")
        model = build(arguments)
        training.load_checkpoint(arguments.what, model)
    where = {"root": arguments.root, "strict": arguments.strict}
    if model.likelihood.binary:
        test = data.test_binarization(arguments.dataset, **where)[: arguments.images]
    else:
        test = data.load(arguments.dataset, "test", **where).images[: arguments.images].float() / 255
    generator = torch.Generator().manual_seed(arguments.seed)
    parts = evaluation.rate_distortion(model.eval(), test, samples=10, generator=generator)
    found = evaluation.log_marginal(model, test, arguments.samples, generator, proposal=arguments.proposal).summary()
    print(f"{arguments.what}, {len(test):,} test images of {arguments.dataset}, nats per image")
    print(f"ELBO {-parts.negative_elbo.value:.2f} ± {parts.negative_elbo.stderr:.2f}", end="")
    print(f" (rate {parts.rate}, distortion {parts.distortion})")
    print(f"log p(x), {arguments.proposal} proposal: {found}")
    return 0


def retrain(arguments):
    """Train the shipped models anew; return 1 where one differs from its card, else 0."""
    different = False
    for name in arguments.names or pretrained.names():
        print(f"{name}: {pretrained.recipe(name)}", flush=True)
        found = (pretrained.remeasure if arguments.measure else pretrained.train)(name, arguments.folder)
        print(f"  ELBO {found.elbo}, log p(x) {found.log_p} nats, {found.active_units} active units", end="")
        print(f", {found.seconds:.0f} s", flush=True)
        if arguments.install:
            pretrained.install(name, arguments.folder, card_only=arguments.measure)
        for line in pretrained.differences(found, pretrained.card(name)):
            different = True
            print(f"  differs: {line}", flush=True)
    return int(different)


def main(argv=None):
    """Run one command and return its exit status."""
    arguments = parse(argv)
    try:
        if arguments.command == "doctor":
            return doctor.main(["--json"] * arguments.json)
        if arguments.command in ("pretrained", "evaluate"):
            return {"pretrained": retrain, "evaluate": evaluate}[arguments.command](arguments)
        if not 0 <= arguments.warm_up <= 1:
            raise ValueError(f"--warm-up must be a fraction from 0 to 1; got {arguments.warm_up}")
        return train(arguments)
    except ERRORS as error:
        print(f"python -m vae_tutorial: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before or after the training, which itself returns what it has
        return 130


if __name__ == "__main__":
    sys.exit(main())
