"""Checkpoints: whole at any moment, resumed to the same bits, and refused where they do not fit."""

import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from vae_tutorial import data, models, training


@pytest.fixture(scope="module")
def images():
    return data.load("digits").images[:300]


def new_model(seed=0, **sizes):
    torch.manual_seed(seed)
    return models.MLPVAE(**({"latent_dim": 4, "hidden": (32,)} | sizes))


def run(images, epochs, model=None, **arguments):
    """A training that uses everything which has a state."""
    model = model or new_model()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))

    def schedule(optimizer):
        return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

    history = training.fit(
        model, images, epochs=epochs, schedule=schedule, average=average, progress=False, **arguments
    )
    return model, average.module, history


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def without_times(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history.rows]


def test_resume_goes_on_to_the_same_bits(images, tmp_path):
    file = tmp_path / "run.pt"
    whole, whole_average, whole_history = run(images, 5, test=images[:20])
    run(images, 2, checkpoint=file, test=images[:20])
    model, average, history = run(images, 5, new_model(seed=9), resume=file, test=images[:20])
    assert equal(model, whole)
    assert equal(average, whole_average)
    assert without_times(history) == without_times(whole_history)
    assert list(tmp_path.iterdir()) == [file]


def test_resuming_what_is_finished_changes_nothing(images, tmp_path):
    file = tmp_path / "run.pt"
    whole, _, _ = run(images, 2, checkpoint=file)
    model, _, history = run(images, 2, new_model(seed=9), resume=file)
    assert equal(model, whole)
    assert len(history) == 2


VICTIM = textwrap.dedent(
    """
    import sys, torch
    from vae_tutorial import data, models, training
    torch.set_num_threads(1)
    file, kill_after = sys.argv[1], int(sys.argv[2])
    steps = 0

    class Victim(models.MLPVAE):
        def forward(self, *arguments):
            global steps
            steps += 1
            if steps == kill_after:
                print("now", flush=True)
                import os, signal
                os.kill(os.getpid(), signal.SIGKILL)
            return super().forward(*arguments)

    torch.manual_seed(0)
    model = Victim(latent_dim=4, hidden=(32,))
    import os
    resume = file if os.path.exists(file) else None
    training.fit(model, data.load("digits").images[:300], epochs=6, batch_size=50, checkpoint=file, resume=resume)
    torch.save(model.state_dict(), file + ".weights")
    """
)


def test_a_process_killed_at_random_steps_ends_at_the_same_bits(tmp_path):
    """SIGKILL after a random number of steps, three times over; 36 steps in all. Then an uninterrupted run."""
    draw = random.Random(0)
    deaths = 0
    for attempt in range(4):
        kill_after = draw.randint(7, 17) if attempt < 3 else 10**9
        command = [sys.executable, "-c", VICTIM, str(tmp_path / "killed.pt"), str(kill_after)]
        code = subprocess.run(command, capture_output=True, env=os.environ | {"TQDM_DISABLE": "1"}).returncode
        assert code in (0, -signal.SIGKILL)
        deaths += code == -signal.SIGKILL
    assert deaths >= 2
    subprocess.run([sys.executable, "-c", VICTIM, str(tmp_path / "whole.pt"), "1000000000"], check=True)
    killed, whole = (torch.load(tmp_path / f"{name}.pt.weights", weights_only=True) for name in ("killed", "whole"))
    assert all(torch.equal(killed[key], whole[key]) for key in whole)


def test_killed_while_writing(tmp_path):
    """A process that does nothing but write checkpoints is killed at random moments; the file is always whole."""
    code = textwrap.dedent(
        """
        import sys, torch
        from vae_tutorial import data, models, training
        torch.manual_seed(0)
        model = models.MLPVAE(hidden=(400, 400))
        training.fit(model, data.load("digits").images[:1], epochs=10**6, batch_size=1, checkpoint=sys.argv[1])
        """
    )
    file, draw = tmp_path / "run.pt", random.Random(1)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code, str(file)], env=os.environ | {"TQDM_DISABLE": "1"})
        before = file.stat().st_mtime_ns if file.exists() else 0
        deadline = time.monotonic() + 60
        while (not file.exists() or file.stat().st_mtime_ns == before) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.random() / 2)
        process.kill()
        process.wait()
        history = training.load_checkpoint(file, models.MLPVAE(hidden=(400, 400)))
        assert len(history) >= 1


def test_load_checkpoint_gives_the_averaged_weights_and_the_history(images, tmp_path):
    _, average, history = run(images, 3, checkpoint=tmp_path / "run.pt")
    model = new_model(seed=5)
    loaded = training.load_checkpoint(tmp_path / "run.pt", model)
    assert equal(model, average)
    assert loaded.rows == history.rows
    training.fit(new_model(), images, epochs=1, checkpoint=tmp_path / "plain.pt", progress=False)
    training.load_checkpoint(tmp_path / "plain.pt", model)
    again = new_model()
    training.fit(again, images, epochs=1, progress=False)
    assert equal(model, again)


class Evil:
    def __reduce__(self):
        return (os.mkdir, (str(Path(os.environ["EVIL"])),))


def damaged(file, kind):
    good = file.read_bytes()
    if kind == "truncated":
        file.write_bytes(good[: len(good) // 2])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "one byte wrong":
        middle = len(good) // 2
        file.write_bytes(good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :])
    elif kind == "a picture":
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    elif kind == "a pickle":
        file.write_bytes(pickle.dumps(Evil()))
    elif kind == "torch with code":
        torch.save({"format": "vae_tutorial checkpoint 1", "model": Evil()}, file)
    elif kind == "torch of others":
        torch.save({"state_dict": {}}, file)
    elif kind == "missing":
        file.unlink()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "is damaged, or no checkpoint of vae_tutorial"),
        ("empty", "is damaged, or no checkpoint"),
        ("one byte wrong", "is damaged, or no checkpoint"),
        ("a picture", "is damaged, or no checkpoint"),
        ("a pickle", "is damaged, or no checkpoint"),
        ("torch with code", "is damaged, or no checkpoint"),
        ("torch of others", "is no checkpoint of vae_tutorial: its format is None"),
        ("missing", "there is no checkpoint"),
    ],
)
def test_a_bad_file_is_refused_and_nothing_is_run(images, tmp_path, monkeypatch, kind, message):
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    damaged(file, kind)
    model, before = new_model(seed=3), new_model(seed=3)
    for use in (
        lambda: training.load_checkpoint(file, model),
        lambda: training.fit(model, images, epochs=2, resume=file, progress=False),
    ):
        with pytest.raises(training.CheckpointError, match=message):
            use()
        assert equal(model, before)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: new_model(hidden=(16,)), r"encoder\.layers\.0\.weight is \(32, 784\) there and \(16, 784\) here"),
        (lambda: new_model(hidden=(32, 32)), "from another model"),
        (lambda: models.ConvVAE(latent_dim=4), "from another model"),
        (lambda: models.Autoencoder(latent_dim=4, hidden=(32,)), "from another model"),
        (lambda: new_model(likelihood="continuous_bernoulli"), r"its likelihood is Bernoulli\(\), not Continuous"),
    ],
)
def test_another_model_is_refused_untouched(images, tmp_path, other, message):
    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    model = other()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(training.CheckpointError, match=message):
        training.load_checkpoint(file, model)
    with pytest.raises(training.CheckpointError, match=message):
        training.fit(model, images, epochs=2, resume=file, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e-2}, r"written with lr = 0\.001, not 0\.01; a training resumes with the settings"),
        ({"images": torch.zeros(10, 1, 28, 28)}, "written with images = 300, not 10"),
        ({"batch_size": 64}, "written with batch_size = 128, not 64"),
        ({"beta": lambda t: t}, r"written with beta = 1\.0, not a function"),
        ({"schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 1)}, "written without schedule"),
        ({"average": torch.optim.swa_utils.AveragedModel(torch.nn.Linear(1, 1))}, "written without average"),
    ],
)
def test_resume_with_other_settings_is_refused(images, tmp_path, change, message):
    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    with pytest.raises(ValueError, match=message):
        training.fit(new_model(), **({"images": images, "epochs": 2, "resume": file, "progress": False} | change))


def test_a_full_disk_leaves_the_last_checkpoint_whole(images, tmp_path):
    """The kernel refuses to let files grow beyond 20 kB: every write of the new checkpoint fails half-way."""
    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    before = file.read_bytes()
    code = textwrap.dedent(
        """
        import resource, signal, sys, torch
        from vae_tutorial import data, models, training
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        torch.manual_seed(0)
        model = models.MLPVAE(latent_dim=4, hidden=(32,))
        try:
            training.fit(model, data.load("digits").images[:300], epochs=2, checkpoint=sys.argv[1], resume=sys.argv[1])
        except training.CheckpointError as error:
            print(error)
        """
    )
    found = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert "could not write the checkpoint" in found.stdout
    assert "the one of epoch 1 is still there" in found.stdout
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_ctrl_c_while_writing_leaves_the_last_checkpoint_whole(images, tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    before = file.read_bytes()

    def interrupted(_, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    model = new_model()
    history = training.fit(model, images, epochs=5, checkpoint=file, resume=file, progress=False)
    assert len(history) == 2  # the second epoch was over; only its checkpoint is missing
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
