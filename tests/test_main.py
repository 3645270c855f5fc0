"""The command line: what it trains, what it says, what it refuses."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vae_tutorial import _download, checkpoints, cli, data, models, training
from vae_tutorial.cli import _options

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ["train", "--dataset", "digits", "--epochs", "2"]
ALONE = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}


def test_the_same_as_from_python(tmp_path, capsys):
    file = tmp_path / "run.pt"
    options = ["--hidden", "32", "--latent-dim", "4", "--warm-up", "0.5", "--beta", "2", "--seed", "3"]
    assert cli.main([*TRAIN, *options, "--checkpoint", str(file)]) == 0
    torch.manual_seed(3)
    model = models.MLPVAE(latent_dim=4, hidden=(32,))
    images, test = data.load("digits").images, data.test_binarization("digits")
    history = training.fit(model, images, epochs=2, beta=lambda t: 2 * min(1, t / 0.5), seed=3, test=test)
    loaded = models.MLPVAE(latent_dim=4, hidden=(32,))
    training.load_checkpoint(file, loaded)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    said = capsys.readouterr().out
    assert "MLPVAE, 51,416 parameters, on digits (1,438 images), cpu" in said
    assert float(re.search(r"test ELBO: (-[\d.]+) \+-", said)[1]) == pytest.approx(history["test_elbo"][-1], abs=0.02)


def test_the_options_of_a_model_reach_it():
    arguments = cli.parse(["train", "--model", "conv", "--channels", "4", "8", "--latent-dim", "3", "--norm", "group"])
    made = _options.build(arguments).architecture["arguments"]
    assert (made["channels"], made["latent_dim"], made["norm"]) == ([4, 8], 3, "group")


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "conv", "--channels", "4", "8", "--average", "0.9"],
        ["--model", "autoencoder", "--hidden", "16", "--likelihood", "continuous_bernoulli"],
        ["--likelihood", "discretized_logistic", "--hidden", "16", "8", "--cosine", "--free-bits", "0.1"],
    ],
)
def test_other_recipes(options, capsys):
    assert cli.main([*TRAIN, *options]) == 0
    said = capsys.readouterr().out
    assert re.search(r"test (ELBO|log p\(x \| z\), not a bound): -?[\d.]+ \+- [\d.]+ nats per image", said)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "conv", "--hidden", "5"], "--hidden is not an option of --model conv"),
        (["--channels", "5"], "--channels is not an option of --model mlp"),
        (["--norm", "group"], "--norm is not an option of --model mlp"),
        (["--latent-dim", "0"], "latent_dim must be a whole number of at least 1; got 0"),
        (["--warm-up", "2"], "--warm-up must be a fraction from 0 to 1; got 2.0"),
        (["--epochs", "0"], "epochs must be a whole number of at least 1; got 0"),
        (["--resume", "/no/such/file.pt"], "there is no checkpoint /no/such/file.pt"),
        (["--checkpoint", "/no/such/folder/file.pt"], "checkpoint must be the path of a file in a folder that exists"),
        (["--hidden", "16", "--lr", "1e20"], "the loss was not finite"),
        (["--device", "mps"], "--device mps is not available here"),
        (["--average", "2"], "--average must be a decay from 0 to below 1, such as 0.999; got 2.0"),
        (["--resume", "~/no-such-file.pt"], f"there is no checkpoint {os.path.expanduser('~')}/no-such-file.pt"),
    ],
)
def test_mistakes_are_told_without_a_traceback(options, message, capsys):
    if "mps" in options and torch.backends.mps.is_available():
        pytest.skip("it is available here")
    assert cli.main([*TRAIN, *options]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "~nobody-of-this-name/c.pt"], "lies in an unknown home folder"),
        (["--resume", "~nobody-of-this-name/c.pt"], "lies in an unknown home folder"),
        (["--seed", str(2**64 - 1)], "argument --seed: must be a whole number below 2^53"),
        (["--seed", "1e3"], "argument --seed: must be a whole number below 2^53"),
    ],
)
def test_options_that_cannot_be_read(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([*TRAIN, *options])
    assert message in capsys.readouterr().err


def test_the_home_folder_is_filled_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    options = ["--hidden", "8", "--checkpoint", "~/c.pt"]
    assert cli.main([*TRAIN, *options]) == 0
    assert (tmp_path / "c.pt").is_file()
    assert cli.main(["evaluate", "~/c.pt", "--hidden", "8", "--dataset", "digits", "--count", "5"]) == 0
    assert not list(tmp_path.glob("~*"))


def test_a_second_run_does_not_overwrite_the_first_ones_checkpoint(tmp_path, capsys):
    command = [*TRAIN[:3], "--hidden", "8", "--checkpoint", str(tmp_path / "c.pt"), "--epochs"]
    assert cli.main([*command, "2"]) == 0
    first = (tmp_path / "c.pt").read_bytes()
    assert cli.main([*command, "1"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "c.pt").read_bytes() == first
    assert cli.main([*command, "3", "--resume", str(tmp_path / "c.pt")]) == 0
    assert cli.main([*command, "4", "--resume", str(tmp_path / "c.pt"), "--seed", "7"]) == 2
    assert "seed" in capsys.readouterr().err


def test_a_cosine_cannot_be_lengthened(tmp_path, capsys):
    command = [*TRAIN[:3], "--hidden", "8", "--cosine", "--checkpoint", str(tmp_path / "c.pt")]
    assert cli.main([*command, "--epochs", "2"]) == 0
    assert cli.main([*command, "--epochs", "4", "--resume", str(tmp_path / "c.pt")]) == 2
    assert "learning rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied", "c.pt"),
        OSError(30, "Read-only file system", "c.pt"),
        checkpoints.CheckpointError("damaged"),
    ],
)
def test_trouble_with_files_is_told_in_one_line(error, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(training, "fit", fail)
    assert cli.main([*TRAIN, "--hidden", "8"]) == 2
    assert capsys.readouterr().err == f"python -m vae_tutorial: {error}\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def fail(*_, **__):
        raise KeyError("a fault of ours")

    monkeypatch.setattr(training, "fit", fail)
    with pytest.raises(KeyError):
        cli.main([*TRAIN, "--hidden", "8"])


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has such a device")
def test_a_full_disk_and_a_closed_pipe_behind_the_output():
    command = [sys.executable, "-S", "-m", "vae_tutorial", "doctor"]  # as good as any, and begins at once
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}  # what is left fails at exit
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env)
    assert (done.returncode, done.stderr) == (2, "python -m vae_tutorial: [Errno 28] No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env)
    os.close(writing)
    assert (done.returncode, done.stderr) == (2, "")


def test_a_terminal_without_plus_minus(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert cli.main(["evaluate", "mlp-2d", "--dataset", "digits", "--count", "5", "--samples", "5"]) == 0
    assert b"ELBO -" in written.getvalue()


def test_apples_gpu_is_used_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.delattr(torch.mps, "is_available", raising=False)  # torch 2.4 has none
    assert _options.device(None) == training.best_device() != torch.device("mps")
    assert _options.device("mps") == torch.device("mps")


def test_evaluating_a_shipped_model_and_a_checkpoint(tmp_path, capsys):
    few = ["--dataset", "digits", "--count", "20", "--samples", "30"]
    assert cli.main(["evaluate", "beta-0.1", *few, "--proposal", "encoder"]) == 0
    said = capsys.readouterr().out
    assert "beta-0.1, 20 test images of digits, nats per image" in said
    assert re.search(
        r"log p\(x\), encoder proposal: -[\d.]+ ± [\d.]+ nats \(median ESS .*TOO LOW, do not trust it\)", said
    )
    file = tmp_path / "run.pt"
    sizes = ["--hidden", "16", "--latent-dim", "3", "--likelihood", "continuous_bernoulli"]
    assert cli.main([*TRAIN, *sizes, "--checkpoint", str(file)]) == 0
    assert cli.main(["evaluate", str(file), *few, *sizes]) == 0
    elbo, log_p = (float(v) for v in re.findall(r"(?:^ELBO|proposal:) (-?[\d.]+)", capsys.readouterr().out, re.M)[-2:])
    assert elbo < log_p
    assert cli.main(["evaluate", str(file), "--images", str(tmp_path)]) == 2
    assert "is a checkpoint; for your own images and tables give the file" in capsys.readouterr().err
    assert cli.main(["evaluate", "beta-7.7", *few]) == 2
    assert "there is no checkpoint beta-7.7" in capsys.readouterr().err
    assert cli.main(["evaluate", str(file), *few, "--model", "autoencoder"]) == 2
    assert "has no log p(x)" in capsys.readouterr().err
    for count in ("-5", "0", "1"):
        assert cli.main(["evaluate", str(file), *sizes, "--dataset", "digits", "--count", count]) == 2
        assert "--count must be a whole number of at least 2" in capsys.readouterr().err
    assert cli.main(["evaluate", str(file), *sizes, "--images", "20"]) == 2  # as it was once written
    assert "for how many: --count 20" in capsys.readouterr().err
    assert cli.main(["evaluate", "mlp", *few, "--hidden", "16"]) == 2
    assert "--hidden is for a checkpoint; mlp says itself how it was built" in capsys.readouterr().err


def test_evaluating_names_the_images_that_stood_in(tmp_path, capsys, monkeypatch):
    def nobody(*_):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(_download, "_fetch", nobody)
    monkeypatch.setattr(data, "_told", set())  # another test may have heard the warning
    with pytest.warns(data.StandInWarning):
        assert cli.main(["evaluate", "mlp-2d", "--root", str(tmp_path), "--count", "5", "--samples", "5"]) == 0
    assert "mlp-2d, 5 test images of digits" in capsys.readouterr().out


def test_strict_and_damaged_data(tmp_path, capsys):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        (raw / f"{name}-idx{3 if 'images' in name else 1}-ubyte").write_bytes(b"no images")
    assert cli.main(["train", "--root", str(tmp_path)]) == 2
    assert "are damaged" in capsys.readouterr().err


@pytest.mark.process
def test_ctrl_c_from_the_shell(tmp_path):
    """The signal that a terminal sends; the history so far is printed, and the status is a shell's 130."""
    command = [sys.executable, "-u", "-m", "vae_tutorial", *TRAIN[:3], "--epochs", "1000000", "--hidden", "8"]
    command += ["--checkpoint", str(tmp_path / "one.pt")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ALONE}
    # A shell starts what it runs in the background with the signal ignored, and tests inherit that.
    process = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **pipes)
    try:
        assert "MLPVAE" in process.stdout.readline()
        for _ in range(600):  # until the first epoch is over, however slow the machine is
            if (tmp_path / "one.pt").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "test ELBO" in said
    assert errors == ""
