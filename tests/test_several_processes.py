"""Training in several processes, under torchrun: the gradients, checkpoints, files and words of one.

To start two processes takes most of the time, so they are started once, and do one thing after the other.
"""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vae_tutorial import cli, data, models, training
from vae_tutorial.cli import distributed

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FOLDER = ["--size", "8", "--split", "0.3", "--likelihood", "gaussian_shared"]

GRADIENTS = textwrap.dedent(
    """
    import torch, torch.distributed as dist
    from vae_tutorial import data, models, objectives
    from vae_tutorial.cli.distributed import Parallel, Place

    dist.init_process_group("gloo")
    rank, images = dist.get_rank(), data.load("digits").images[:65].float() / 255

    def loss(model, rank):
        generator = torch.Generator().manual_seed(rank)
        return -objectives.elbo(model, Place(rank, 2, None).share(images), generator=generator).elbo.mean()

    def gaussian():
        return models.MLPVAE(likelihood="gaussian_shared")

    for make in (models.MLPVAE, models.ConvVAE, gaussian, models.Autoencoder):
        torch.manual_seed(0)
        one = make()
        many = Parallel(make())
        many.load_state_dict(one.state_dict())
        loss(many, rank).backward()
        ((loss(one, 0) + loss(one, 1)) / 2).backward()
        for p, q in zip(one.parameters(), many.parameters(), strict=True):
            assert torch.allclose(p.grad, q.grad, rtol=1e-5, atol=1e-5 * p.grad.abs().max().item())
        assert [n for n, _ in one.state_dict().items()] == list(many.state_dict())
        if isinstance(one, models.Autoencoder):  # no noise: the batch in one piece
            one.zero_grad()
            (-objectives.elbo(one, images[:64]).elbo.mean()).backward()
            for p, q in zip(one.parameters(), many.parameters(), strict=True):
                assert torch.allclose(p.grad, q.grad, rtol=1e-5, atol=1e-5 * p.grad.abs().max().item())
    print(f"equal on {rank}\\n", end="", flush=True)  # in one piece: two processes write to one pipe
    dist.destroy_process_group()
    """
)

TRAININGS = textwrap.dedent(
    """
    import contextlib, io, json, os, sys
    from pathlib import Path
    from vae_tutorial import cli

    folder = Path(sys.argv[1])
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # a second group would wait for the first one's store
    for name, command in json.loads((folder / "commands.json").read_text()).items():
        os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert cli.main(["train", *command]) == 0
        with open(folder / f"{name}.said", "a") as file:  # by both processes
            file.write(said.getvalue())
    """
)


def commands(folder):
    """What two processes train, one after the other, by name; and the images and the table that they train on."""
    draw = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for n in range(20):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / "photos" / f"{n:02}.png")
    height = draw.normal(170, 10, 120)
    weight, temperature = height - 100 + draw.normal(0, 5, 120), draw.normal(310, 1, 120)
    people = pd.DataFrame({"height": height, "weight": weight, "temperature": temperature})
    people.to_csv(folder / "people.csv", index=False)

    def kept(epochs, name, *options):
        return ["--epochs", epochs, "--checkpoint", f"{folder}/{name}.pt", *options]

    digits = ["--dataset", "digits", "--hidden", "32", "--seed", "5"]
    found = {
        "whole": [*digits, *kept("3", "whole")],
        "half": [*digits, *kept("2", "half")],
        "rest": [*digits, *kept("3", "rest", "--resume", f"{folder}/half.pt")],
        "photos": ["--images", f"{folder}/photos", *FOLDER, "--cache", f"{folder}/cached", *kept("1", "photos")],
    }
    found["table"] = ["--table", f"{folder}/people.csv", "--epochs", "1", "--batch-size", "8"]
    found["table"] += ["--out", f"{folder}/table.safetensors"]
    return found


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The folder in which two processes have trained, and what they printed of their gradients."""
    folder = tmp_path_factory.mktemp("two_processes")
    (folder / "commands.json").write_text(json.dumps(commands(folder)))
    script = folder / "all.py"
    script.write_text(GRADIENTS + TRAININGS)
    alone = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*TORCHRUN, str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=alone, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder, done.stdout


@pytest.mark.process
def test_gradients_are_those_of_one_process(two_processes):
    assert {"equal on 0", "equal on 1"} <= set(two_processes[1].splitlines())


@pytest.mark.process
def test_a_resumed_training_ends_at_the_same_bits(two_processes):
    folder, _ = two_processes
    for name in ("whole", "half", "rest"):
        said = (folder / f"{name}.said").read_text()
        assert said.count("test ELBO") == 1  # the first process speaks for all
        assert "2 processes" in said
    whole, rest = models.MLPVAE(hidden=(32,)), models.MLPVAE(hidden=(32,))
    history = training.load_checkpoint(folder / "whole.pt", whole)  # one process reads what two have written
    training.load_checkpoint(folder / "rest.pt", rest)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))
    assert history["test_elbo"][-1] > history["test_elbo"][0] + 50


@pytest.mark.process
def test_they_have_one_table_and_one_model(two_processes):
    """Its columns are standardized by all rows, not by those of one process; the first process writes and speaks."""
    folder, _ = two_processes
    rows = data.from_arrays(pd.read_csv(folder / "people.csv"))[0].images.double()
    likelihood = models.load(folder / "table.safetensors").likelihood
    assert torch.allclose(likelihood.shift.double(), rows.mean(0), rtol=1e-6)
    assert torch.allclose(likelihood.scale.double(), rows.std(0, correction=0), rtol=1e-5)
    said = (folder / "table.said").read_text()
    for once in ("people.csv (", "to train on", "test ELBO", "has the model"):
        assert said.count(once) == 1


@pytest.mark.process
def test_they_have_one_file_of_images(two_processes):
    """The first makes the file, the other finds it; what a checkpoint says of the images is said of them all."""
    folder, _ = two_processes
    assert (folder / "photos.said").read_text().count("kept in") == 1
    train, _ = data.from_folder(folder / "photos", size=8, split=0.3, cache=folder / "cached")
    said = torch.load(folder / "photos.pt", weights_only=True)["settings"]["images"]
    assert said == f"{len(train)} of torch.uint8 with SHA-256 {train.images.digest[:16]}, in 2 processes"


def test_shares_are_equal_and_hold_every_image_but_a_remainder():
    images = torch.arange(11)
    shares = [distributed.Place(rank, 3, None).share(images) for rank in range(3)]
    assert [len(s) for s in shares] == [3, 3, 3]
    assert sorted(torch.cat(shares).tolist()) == list(range(9))


def test_a_batch_that_cannot_be_shared(capsys, monkeypatch):
    monkeypatch.setattr(distributed, "join", lambda device: distributed.Place(0, 2, device))
    assert cli.main(["train", "--dataset", "digits", "--batch-size", "127"]) == 2
    assert "--batch-size 127 cannot be shared by 2 processes" in capsys.readouterr().err
