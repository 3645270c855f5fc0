"""Checkpoints: written atomically, resumed bit for bit, and refused where they do not match."""

import multiprocessing
import os
import pickle
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from vae_tutorial import data, likelihoods, models, training


@pytest.fixture(scope="module")
def images():
    return data.load("digits").images[:300]


def new_model(seed=0, **sizes):
    torch.manual_seed(seed)
    return models.MLPVAE(**({"latent_dim": 4, "hidden": (32,)} | sizes))


def run(images, epochs, model=None, **arguments):
    """A training that uses everything that has a state."""
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


@pytest.fixture(scope="module")
def process():
    """What starts a process that may be killed; all of them come from one, which has imported PyTorch for them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vae_tutorial.training", "torch._dynamo", "sklearn.datasets"])
    return context.Process


def train_and_be_killed(file, images, step):
    class Victim(models.MLPVAE):
        steps = 0

        def forward(self, *arguments):
            self.steps += 1
            if self.steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().forward(*arguments)

    torch.manual_seed(0)
    training.fit(Victim(latent_dim=4, hidden=(32,)), images, epochs=6, batch_size=50, checkpoint=file)


@pytest.mark.process
def test_a_process_killed_at_a_random_step_ends_at_the_same_bits(process, images, tmp_path):
    """SIGKILL after a random number of the 36 steps, then to the end. And an uninterrupted run."""
    file = tmp_path / "killed.pt"
    victim = process(target=train_and_be_killed, args=(file, images, random.Random(0).randint(7, 30)))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    killed, whole = new_model(seed=9), new_model()
    history = training.fit(killed, images, epochs=6, batch_size=50, resume=file, progress=False)
    training.fit(whole, images, epochs=6, batch_size=50, progress=False)
    assert len(history) == 6
    assert equal(killed, whole)


def write_without_end(file, images):
    model = models.MLPVAE(hidden=(400, 400))
    resume = file if file.exists() else None
    training.fit(model, images, epochs=10**6, batch_size=1, checkpoint=file, resume=resume)


@pytest.mark.process
def test_killed_while_writing(process, images, tmp_path):
    """A process that does nothing but write checkpoints is killed at random moments; the file is always intact."""
    file, draw = tmp_path / "run.pt", random.Random(1)
    for _ in range(4):
        writer = process(target=write_without_end, args=(file, images[:1]))
        writer.start()
        before = file.stat().st_mtime_ns if file.exists() else 0
        deadline = time.monotonic() + 60
        while (not file.exists() or file.stat().st_mtime_ns == before) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.random() / 4)
        assert writer.is_alive()
        writer.kill()
        writer.join()
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
        ("truncated", "is damaged, or not a checkpoint of vae_tutorial"),
        ("empty", "is damaged, or not a checkpoint"),
        ("one byte wrong", "is damaged, or not a checkpoint"),
        ("a picture", "is damaged, or not a checkpoint"),
        ("a pickle", "is damaged, or not a checkpoint"),
        ("torch with code", "is damaged, or not a checkpoint"),
        ("torch of others", "is not a checkpoint of vae_tutorial: its format is None"),
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
        ({"seed": 7}, "written with seed = 0, not 7"),
        ({"images": data.load("digits").images[300:600]}, "written with images = 300 of .*uint8 with SHA-256"),
        ({"images": data.load("digits").images[:300].flip(0)}, "written with images"),
        ({"images": data.load("digits").images[:300] / 255}, "written with images = .* not 300 of .*float32"),
        ({"free_bits": 0.5}, r"written with free_bits = 0\.0, not 0\.5"),
        (
            {"lr": 1e-2},
            r"written with learning rate = 0\.001 in epoch 1, not 0\.01; resume with the settings",
        ),
        (
            {"images": torch.zeros(10, 1, 28, 28)},
            "written with images = 300 of torch.uint8 .*, not 10 of torch.float32",
        ),
        ({"batch_size": 64}, "written with batch_size = 128, not 64"),
        ({"beta": lambda t: t}, r"written with beta = 1\.0, not \[0\.25, 0\.75\]"),
        ({"schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 1)}, "written without schedule"),
        ({"average": torch.optim.swa_utils.AveragedModel(new_model())}, "written without average"),
    ],
)
def test_resume_with_other_settings_is_refused(images, tmp_path, change, message):
    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    with pytest.raises(ValueError, match=message):
        training.fit(new_model(), **({"images": images, "epochs": 2, "resume": file, "progress": False} | change))


def test_what_the_weights_do_not_tell_must_match_too(tmp_path):
    """The same number of pixels in another shape; other weights that are not trained."""
    tall, wide = (models.MLPVAE(2, (8,), image_shape=(1, *shape)) for shape in ((6, 4), (4, 6)))
    file, images = tmp_path / "run.pt", torch.rand(20, 1, 6, 4).round()
    training.fit(tall, images, epochs=1, checkpoint=file, progress=False)
    with pytest.raises(training.CheckpointError, match=r"its image_shape is \[1, 6, 4\], not \[1, 4, 6\]"):
        training.load_checkpoint(file, wide)
    tall.decoder.requires_grad_(False)
    with pytest.raises(ValueError, match="weights that are not trained = , not decoder"):
        training.fit(tall, images, epochs=2, resume=file, progress=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_leaves_the_last_checkpoint_whole(images, tmp_path):
    """The kernel refuses to let files grow beyond 20 kB: every write of the new checkpoint fails half-way."""
    import resource

    file = tmp_path / "run.pt"
    training.fit(new_model(), images, epochs=1, checkpoint=file, progress=False)
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # Python itself ignores the signal of it
    try:
        with pytest.raises(training.CheckpointError, match=r"could not write .*the one of epoch 1 is still there"):
            training.fit(new_model(), images, epochs=2, checkpoint=file, resume=file, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
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


# A schedule and a beta that follow the whole length of the training belong to that length.


def cosine(epochs):
    return lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)


def warm_up(t):
    return min(1.0, 2 * t)


def ema(decay):
    def average(model):
        multi = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
        return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=multi)

    return average


def lambda_lr(shrink):
    return lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: shrink**epoch)


def steps(milestones):
    return lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)


@pytest.mark.parametrize(
    ("begun", "resumed", "message"),
    [
        ({"epochs": 2, "schedule": cosine(2)}, {"epochs": 4, "schedule": cosine(4)}, "learning rate = .* in epoch 2"),
        ({"epochs": 2, "schedule": lambda_lr(0.5)}, {"epochs": 4, "schedule": lambda_lr(0.6)}, "learning rate"),
        ({"epochs": 2, "schedule": steps([3])}, {"epochs": 4, "schedule": steps([3, 4])}, "schedule = .*milestones"),
        ({"epochs": 2, "beta": warm_up}, {"epochs": 4, "beta": warm_up}, r"beta = 0\.5 in epoch 1, not 0\.25"),
        ({"epochs": 4, "beta": warm_up}, {"epochs": 4, "beta": lambda t: t}, "beta = .* in epoch 1"),
        ({"epochs": 1, "average": ema(0.9)}, {"epochs": 2, "average": ema(0.99)}, "average"),
        ({"epochs": 1, "average": ema(0.9)}, {"epochs": 2, "average": torch.optim.swa_utils.AveragedModel}, "average"),
    ],
)
def test_a_resumption_shares_schedule_beta_and_average(images, tmp_path, begun, resumed, message):
    def start(arguments, **where):
        model = new_model()
        made = {"average": arguments["average"](model)} if "average" in arguments else {}
        return training.fit(model, images[:50], progress=False, **(arguments | made | where))

    file = tmp_path / "run.pt"
    start(begun, checkpoint=file)
    with pytest.raises(ValueError, match=f"written with {message}"):
        start(resumed, resume=file)
    assert len(start(begun | {"epochs": begun["epochs"]}, resume=file)) == begun["epochs"]


def test_a_longer_training_resumes_where_the_length_does_not_matter(images, tmp_path):
    """A step every two epochs and a beta by the epoch are the same in a longer training: equal bit for bit."""
    file = tmp_path / "run.pt"
    run(images[:50], 3, checkpoint=file)
    longer, _, _ = run(images[:50], 6, new_model(seed=9), resume=file)
    whole, _, _ = run(images[:50], 6)
    assert equal(longer, whole)


def test_the_floor_of_a_variance_belongs_to_the_model(images, tmp_path):
    """With another floor, the same weights gave -102.7 nats in place of -187.0."""
    file = tmp_path / "run.pt"
    model = new_model(likelihood=likelihoods.Gaussian("shared", floor=0.05))
    training.fit(model, images[:50], epochs=1, checkpoint=file, progress=False)
    other = new_model(likelihood=likelihoods.Gaussian("shared"))
    with pytest.raises(training.CheckpointError, match=r"variance='shared', floor=0\.05\), not Gaussian"):
        training.load_checkpoint(file, other)


def test_another_run_is_not_overwritten(images, tmp_path):
    file = tmp_path / "run.pt"
    training.fit(new_model(), images[:50], epochs=2, checkpoint=file, progress=False)
    before = file.read_bytes()
    with pytest.raises(training.CheckpointError, match=r"exists already\. To continue it, pass resume="):
        training.fit(new_model(), images[:50], epochs=1, checkpoint=file, progress=False)
    (tmp_path / "other.pt").write_bytes(before)
    with pytest.raises(training.CheckpointError, match="exists already"):
        training.fit(new_model(), images[:50], epochs=3, checkpoint=file, resume=tmp_path / "other.pt", progress=False)
    assert file.read_bytes() == before


def test_two_trainings_with_one_file(images, tmp_path):
    """The second began before the first had written. It stops, says why, and keeps what it has learnt."""
    file = tmp_path / "run.pt"

    def other(*_):
        if not file.exists():
            training.fit(new_model(seed=1), images[:50], epochs=1, checkpoint=file, progress=False)

    model = new_model()
    model.register_forward_hook(other)
    with pytest.raises(training.CheckpointError, match="changed by another process") as caught:
        training.fit(model, images[:50], epochs=3, checkpoint=file, progress=False)
    assert len(training.load_checkpoint(file, new_model())) == 1
    assert len(caught.value.history) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_temporary_files_have_a_name_of_their_own(images, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "replace", lambda one, other: (seen.append(Path(one).name), Path(one).rename(other)))
    for name in ("a.pt", "b.pt"):
        training.fit(new_model(), images[:10], epochs=1, checkpoint=tmp_path / name, progress=False)
    assert len(set(seen)) == 2
    assert all(str(os.getpid()) in name for name in seen)


def test_remains_of_a_killed_process_are_removed(images, tmp_path):
    old, young, foreign = (tmp_path / name for name in (".run.pt.1-a.part", ".run.pt.2-b.part", ".other.pt.1-a.part"))
    for file in (old, young, foreign):
        file.touch()
    os.utime(old, (0, 0))
    os.utime(foreign, (0, 0))
    training.fit(new_model(), images[:10], epochs=1, checkpoint=tmp_path / "run.pt", progress=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".other.pt.1-a.part", ".run.pt.2-b.part", "run.pt"]


def test_a_link_is_followed(images, tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "run.pt"
    link.symlink_to(tmp_path / "disk" / "real.pt")
    training.fit(new_model(), images[:10], epochs=1, checkpoint=link, progress=False)
    assert link.is_symlink()
    assert len(training.load_checkpoint(tmp_path / "disk" / "real.pt", new_model())) == 1
    assert len(training.fit(new_model(), images[:10], epochs=2, checkpoint=link, resume=link, progress=False)) == 2
    assert len(training.load_checkpoint(tmp_path / "disk" / "real.pt", new_model())) == 2


def test_devices_and_pipes_are_refused(images, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in ("/dev/null", pipe):
        with pytest.raises(ValueError, match="checkpoint must be an ordinary file, not a device or a pipe"):
            training.fit(new_model(), images[:10], epochs=1, checkpoint=path, progress=False)


@pytest.mark.parametrize("path", [b"run.pt", "~/run.pt", Path("~/run.pt"), "run.pt"])
def test_paths_as_people_write_them(images, tmp_path, monkeypatch, path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    training.fit(new_model(), images[:10], epochs=1, checkpoint=path, progress=False)
    assert (tmp_path / "run.pt").is_file()
    assert len(training.load_checkpoint(path, new_model())) == 1
    assert len(training.fit(new_model(), images[:10], epochs=2, checkpoint=path, resume=path, progress=False)) == 2


@pytest.mark.parametrize("path", [7, "~nobody-of-that-name/run.pt", ["a"]])
def test_what_is_no_path(images, path):
    with pytest.raises(ValueError, match="checkpoint must be the path of a file"):
        training.fit(new_model(), images[:10], epochs=1, checkpoint=path, progress=False)


def test_a_name_that_the_file_system_refuses(images, tmp_path):
    with pytest.raises(training.CheckpointError, match="cannot write checkpoints to"):
        training.fit(new_model(), images[:10], epochs=1, checkpoint=tmp_path / ("n" * 300), progress=False)


def test_a_folder_that_cannot_be_written_is_found_before_the_first_epoch(images, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    model = new_model()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(training.CheckpointError, match="Read-only file system"):
        training.fit(model, images[:10], epochs=1, checkpoint=tmp_path / "run.pt", progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_disk_that_fails_later_leaves_history_and_weights(images, tmp_path, monkeypatch):
    file, save, calls = tmp_path / "run.pt", torch.save, []

    def full(saved, stream):
        calls.append(1)
        if len(calls) == 3:
            stream.write(b"half")
            raise OSError(28, "No space left on device")
        save(saved, stream)

    monkeypatch.setattr(torch, "save", full)
    model = new_model()
    with pytest.raises(training.CheckpointError, match=r"No space left.*the one of epoch 2 is still there") as caught:
        training.fit(model, images[:50], epochs=5, checkpoint=file, progress=False)
    assert len(caught.value.history) == 3  # the third epoch was over; only its checkpoint is missing
    whole = new_model()
    training.fit(whole, images[:50], epochs=3, progress=False)
    assert equal(model, whole)
    assert len(training.load_checkpoint(file, new_model())) == 2
    assert list(tmp_path.iterdir()) == [file]


def test_a_checkpoint_is_read_back_before_it_replaces_the_last(images, tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    training.fit(new_model(), images[:50], epochs=1, checkpoint=file, progress=False)
    before = file.read_bytes()
    monkeypatch.setattr(torch, "save", lambda _, stream: stream.write(b"not what was asked for"))
    with pytest.raises(training.CheckpointError, match=r"could not write .*damaged.*epoch 1 is still there"):
        training.fit(new_model(), images[:50], epochs=2, checkpoint=file, resume=file, progress=False)
    assert file.read_bytes() == before


@pytest.mark.parametrize(("refusals", "ends"), [(3, True), (100, False)])
def test_a_scanner_holds_the_file_for_a_moment(images, tmp_path, monkeypatch, refusals, ends):
    replace, left, slept = os.replace, [refusals], []

    def held(*arguments):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "The process cannot access the file")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(time, "sleep", slept.append)
    if ends:
        assert len(training.fit(new_model(), images[:10], epochs=2, checkpoint=tmp_path / "r.pt", progress=False)) == 2
        assert len(slept) == 3
    else:
        with pytest.raises(training.CheckpointError, match="cannot access the file"):
            training.fit(new_model(), images[:10], epochs=2, checkpoint=tmp_path / "r.pt", progress=False)
        assert 2 < sum(slept) < 10


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
def test_a_compiled_models_checkpoint_is_the_models(images, tmp_path):
    """torch.compile gives the weights other names; the checkpoint keeps the model's own. (Nothing is compiled here.)"""
    file, plain = tmp_path / "run.pt", new_model()
    compiled = torch.compile(new_model(), backend="eager")
    training.fit(compiled, images[:50], epochs=2, checkpoint=file, progress=False)
    assert len(training.load_checkpoint(file, plain)) == 2
    assert equal(plain, compiled)
    training.load_checkpoint(file, torch.compile(new_model(), backend="eager"))
    assert len(training.fit(plain, images[:50], epochs=3, resume=file, progress=False)) == 3


def test_an_older_checkpoint_gives_its_weights_and_does_not_resume(images, tmp_path):
    file = tmp_path / "run.pt"
    model = new_model()
    training.fit(model, images[:50], epochs=1, checkpoint=file, progress=False)
    saved = torch.load(file, weights_only=True)
    saved["format"] = "vae_tutorial checkpoint 1"
    del saved["trained_before"]
    torch.save(saved, file)
    other = new_model(seed=3)
    assert len(training.load_checkpoint(file, other)) == 1
    assert equal(other, model)
    with pytest.raises(training.CheckpointError, match=r"older version.*load_checkpoint loads its weights"):
        training.fit(other, images[:50], epochs=2, resume=file, progress=False)
