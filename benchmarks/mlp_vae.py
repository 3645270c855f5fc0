"""What another training changes: chapter 8's VAE from several seeds, longer, deeper, and with more latent dimensions.

    python benchmarks/mlp_vae.py [--seeds 5] [--keep FOLDER] [--quick --folder FOLDER]

models.MLPVAE, 60,000 training images, 10 epochs of training.fit with its defaults; the seed sets the first weights, the
order of the images and all noise. The first three seeds go on to 30 epochs, and are trained with two hidden layers and
with 50 latent dimensions as well. elbo, with its stderr over images: the ledger's 10,000 test images, one draw of z.
running: the mean ELBO over the last epoch of training. train: the ELBO at its end. asleep: latent dimensions whose mean
KL on the test images is below 0.01 nats. few: the first 200 test images, with log p(x) by the refined proposal of
evaluation.log_marginal, and the number of the mean code. moved: root mean square over latent dimensions of how far the
refined mean is from the encoder's, in the encoder's standard deviations; widened: the ratio of the two standard
deviations; medians over images. ``--keep``: a folder for the finished trainings, so that a run
that was cut off goes on. ``--quick`` runs it tiny, to see that it runs.
"""

import tempfile
from pathlib import Path

import _common
import torch

from vae_tutorial import data, evaluation, models, objectives, training

WAYS = {"default": {}, "deeper": {"hidden": (400, 400)}, "wider code": {"latent_dim": 50}}


def trained(way, seed, images, epochs, folder):
    """Return the model after ``epochs`` and its history; what ``folder`` holds is not trained again."""
    torch.manual_seed(seed)
    model = models.MLPVAE(**WAYS[way])
    path = folder / f"{way} {seed} {epochs}"
    if path.exists():
        return model, training.load_checkpoint(path, model)
    part = path.with_name(f"part of {path.name}")  # of an interrupted training
    finished = sorted(folder.glob(f"{way} {seed} *"))
    resume = part if part.exists() else finished[-1] if finished else None
    history = training.fit(model, images, epochs=epochs, seed=seed, checkpoint=part, resume=resume, progress=False)
    part.rename(path)
    return model, history


@torch.no_grad()
def elbos(model, x):
    """Return the ELBO of each image, from one draw of z."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([objectives.elbo(model, batch, generator=generator).elbo for batch in x.split(1000)]).double()


@torch.no_grad()
def few(model, x):
    """Return ELBO, log p(x) and the mean code's number for some images, and the share where it is above log p(x)."""
    bound = objectives.elbo(model, x, samples=100, generator=torch.Generator().manual_seed(0))
    found = evaluation.log_marginal(model, x, 1000, torch.Generator().manual_seed(0), proposal="refined")
    mu, logvar = model.encode(x)
    better = evaluation.refine(model, x, generator=torch.Generator().manual_seed(0))
    moved = (better.mu - mu).square().div(logvar.exp()).mean(-1).sqrt()  # (B,)
    code = model.likelihood.log_prob(x, model.decode(mu)) - bound.kl
    return {
        "elbo": bound.elbo.mean().item(),
        "log_p": found.value.mean().item(),
        "ess": found.ess.median().item(),
        "moved": moved.median().item(),
        "widened": (0.5 * (better.logvar - logvar)).exp().median().item(),
        "mean_code": code.mean().item(),
        "above": (code > found.value).double().mean().item(),
    }


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=5)
    seeds, epochs, count = (2, 1, 300) if arguments.quick else (arguments.seeds, 10, 60_000)
    grey = data.load("mnist", "train", strict=not arguments.quick).images[:count]
    test = data.test_binarization("mnist", strict=not arguments.quick)
    black_and_white = data.binarize(grey, torch.Generator().manual_seed(0))
    if arguments.quick:
        test = test[:10]

    runs, each, seconds = [], [], 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for way in WAYS:
            for seed in range(seeds if way == "default" else min(seeds, 3)):
                model, history = trained(way, seed, grey, epochs, folder)
                seconds += sum(history["seconds"])
                mine = elbos(model, test)
                value, stderr = evaluation.mean(mine)
                run = {"way": way, "seed": seed, "elbo": value, "stderr": stderr, "running": history["elbo"][-1]}
                unit_kl = evaluation.unit_kl(*evaluation.encode(model, test))
                run["asleep"] = int((unit_kl < 0.01).sum())
                if way == "default":
                    each.append(mine)
                    run["train"], run["train_stderr"] = evaluation.mean(elbos(model, black_and_white))
                if way == "default" and seed < 3:
                    run["few"] = few(model, test[:200])
                    model, longer = trained(way, seed, grey, 3 * epochs, folder)
                    seconds += sum(longer["seconds"][epochs:])
                    run["longer"] = elbos(model, test).mean().item()
                runs.append(run)
                print({k: round(v, 2) if isinstance(v, float) else v for k, v in run.items()}, flush=True)
    difference = evaluation.mean(each[1] - each[0]).stderr
    values = {"runs": runs, "epochs": epochs, "difference_stderr": difference}
    _common.write("mlp_vae", values, __doc__, seeds, 5, seconds / 60, arguments.folder)


if __name__ == "__main__":
    main()
