"""Images in a file: the same numbers as from memory, in little memory; found again, or refused if it does not fit."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

from vae_tutorial import _cache, _mapped, _pictures, cli, data, evaluation, models, objectives, plotting, training
from vae_tutorial.cli.distributed import Place

SHAPE = (3, 8, 8)


def pixels(count, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "images"


@pytest.fixture
def pair(file):
    """The same images in memory and in a file."""
    x = pixels(200)
    (memory, memory_test), (mapped, mapped_test) = (data.from_arrays(x, split=0.2, cache=c) for c in (None, file))
    assert isinstance(mapped.images, data.Mapped)
    return memory.images, mapped.images, memory_test.images, mapped_test.images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for n in range(20):
        PIL.Image.fromarray(pixels(1, n)[0].transpose(1, 2, 0)).save(tmp_path / "photos" / f"{n:02}.png")
    return tmp_path / "photos"


def from_folder(folder, file, **more):
    return data.from_folder(folder, **{"size": 8, "split": 0.3, "cache": file} | more)


INDICES = [
    3, -1, slice(None), slice(5, 2), slice(10, None, 7), slice(-5, None), torch.tensor([4, 4, 0]), torch.tensor(7),
    [2, 3], np.array([5, 1]), torch.arange(3) == 1, torch.tensor([], dtype=torch.long),
    torch.tensor([[1, 2], [3, 4]]), ...,
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_an_index_gives_what_it_gives_of_a_tensor(pair, index):
    memory, mapped, *_ = pair
    if isinstance(index, torch.Tensor) and index.dtype == torch.bool:
        index = torch.arange(len(memory)) % 3 == 1
    found = mapped[index]
    assert type(found) is torch.Tensor
    assert torch.equal(found, memory[index])


def test_it_has_the_shape_of_a_tensor(pair):
    memory, mapped, *_ = pair
    for name in ("shape", "dtype", "device", "ndim", "is_cuda"):
        assert getattr(mapped, name) == getattr(memory, name)
    assert len(mapped) == len(memory)
    assert mapped.numel() == memory.numel()
    rows = torch.tensor([5, 2])
    assert torch.equal(mapped.index_select(0, rows), memory.index_select(0, rows))
    parts = list(mapped.split(64))
    assert [len(part) for part in parts] == [len(part) for part in memory.split(64)]
    assert torch.equal(torch.cat(parts), memory)
    assert torch.equal(mapped.subset(slice(1, None, 3))[:], memory[1::3])
    for wrong in (len(mapped), -len(mapped) - 1):
        with pytest.raises(IndexError):
            mapped[wrong]
    with pytest.raises(TypeError, match="indexed by their first axis alone"):
        mapped[:, 0]
    with pytest.raises(ValueError, match="dim must be 0"):
        mapped.index_select(1, rows)


def test_another_program_can_read_the_file(pair, file):
    memory, mapped, test, _ = pair
    found = safetensors.torch.load_file(file)
    about = json.loads(bytes(found["about"].tolist()))
    in_test = torch.zeros(200, dtype=torch.bool)
    in_test[about["test"]] = True
    assert torch.equal(found["images"][~in_test], memory)
    assert torch.equal(found["images"][in_test], test)
    with safetensors.safe_open(file, "pt") as opened:
        head = opened.metadata()
    assert head["train"] == mapped.digest == hashlib.sha256(memory.numpy().tobytes()).hexdigest()
    assert json.loads(head["recipe"])["split"] == 0.2


def model(**more):
    torch.manual_seed(0)
    return models.ConvVAE(
        **{"image_shape": SHAPE, "latent_dim": 3, "channels": (4,), "likelihood": "gaussian_shared"} | more
    )


def trained(images, test, **more):
    """Weights and history of a training with all that reads images."""
    net = model()
    history = training.fit(net, images, epochs=2, batch_size=32, test=test, progress=False, **more)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history.rows]
    return rows, torch.cat([p.detach().flatten() for p in net.parameters()])


def test_a_training_from_a_file_is_that_from_memory_bit_for_bit(pair):
    memory, mapped, test, mapped_test = pair
    (rows, weights), (same_rows, same_weights) = trained(memory, test), trained(mapped, mapped_test)
    assert rows == same_rows
    assert torch.equal(weights, same_weights)
    other, _ = trained(mapped.subset(slice(0, -1)), mapped_test)
    assert other != rows


def test_digits_are_binarized_alike_from_a_file(file):
    grey = data.load("digits").images[:300]
    runs = []
    for cache in (None, file):
        train, test = data.from_arrays(grey, split=0.2, cache=cache)
        torch.manual_seed(0)
        net = models.MLPVAE(latent_dim=3, hidden=(16,))
        history = training.fit(net, train, epochs=2, batch_size=32, test=test, progress=False)
        runs.append([history["elbo"], history["test_elbo"], *map(torch.Tensor.tolist, net.parameters())])
    assert runs[0] == runs[1]


def test_a_training_that_began_in_memory_goes_on_from_a_file(pair, tmp_path):
    memory, mapped, test, mapped_test = pair
    begun = tmp_path / "begun.pt"
    training.fit(model(), memory, epochs=1, batch_size=32, test=test, checkpoint=begun, progress=False)
    rows, weights = trained(mapped, mapped_test, resume=begun)
    whole_rows, whole = trained(memory, test)
    assert torch.equal(weights, whole)
    assert rows == whole_rows
    with pytest.raises(ValueError, match="was written with images = "):
        trained(mapped.subset(slice(0, -1)), None, resume=begun)
    with pytest.raises(ValueError, match="was written with images = "):
        trained(mapped.subset(torch.arange(len(mapped) - 1, -1, -1)), None, resume=begun)  # another order


def test_batches_are_read_while_one_is_in_use(pair):
    """The next ones are read in a thread, and not all of them: two."""
    _, mapped, *_ = pair
    read, threads = [], set()
    inner = mapped._file.read

    def spy(into, start):
        read.append(start)
        threads.add(threading.current_thread())
        inner(into, start)

    mapped._file.read = spy
    batches = mapped.batches(torch.arange(len(mapped)).split(10))
    next(batches)
    for _ in range(100):
        if len(read) == 30:
            break
        threading.Event().wait(0.02)
    assert len(read) == 30
    assert threading.current_thread() not in threads
    batches.close()
    assert len(read) == 30


def test_an_error_in_the_reading_thread_is_raised_where_the_batch_is_asked_for(pair, file):
    _, mapped, *_ = pair
    os.truncate(file, 5000)
    with pytest.raises(data.DataError, match="images has become shorter while it was in use"):
        training.fit(model(), mapped, epochs=1, progress=False)


@pytest.mark.parametrize("whole", [True, False])
def test_what_holds_all_images_in_memory_says_how_to_pass_a_part(pair, whole):
    _, mapped, *_ = pair
    given = data.Images(mapped, torch.zeros(len(mapped)), "mine", "train") if whole else mapped
    name = r"\w+\.images" if whole else r"\w+"
    for ask in (
        lambda: objectives.elbo(model(), given),
        lambda: evaluation.encode(model(), given),
        lambda: evaluation.rate_distortion(model(), given),
        lambda: evaluation.log_marginal(model(), given),
        lambda: plotting.image_grid(given),
        lambda: data.binarize(given),
        lambda: data.from_arrays(given),
    ):
        with pytest.raises(
            TypeError, match=rf"{name} are \d+ images in a file.*{name}\[:1000\].*{name}\.split\(1000\)"
        ):
            ask()
    mu, _ = evaluation.encode(model(), mapped[:20])
    assert mu.shape == (20, 3)


def test_the_gate_looks_at_images_in_a_file_too(pair, file, tmp_path):
    _, mapped, *_ = pair
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, 28, 28\)"):
        training.fit(models.MLPVAE(), mapped, epochs=1)
    with pytest.raises(ValueError, match="bernoulli"):
        training.fit(model(likelihood="bernoulli"), mapped, epochs=1, progress=False)
    with _cache.Writer(tmp_path / "dark", SHAPE, {}) as writer:
        writer.append(pixels(10) % 2, np.zeros(10, bool))
        dark, _, _ = writer.finish({"labels": [0] * 10})
    with pytest.raises(ValueError, match="images holds only bytes of 0 and 1"):
        training.fit(model(), dark, epochs=1)


def test_each_process_has_its_share_and_reads_no_other(pair):
    memory, mapped, *_ = pair
    read = []
    inner = mapped._file.read
    mapped._file.read = lambda into, start: (read.append(start), inner(into, start))
    for rank in range(3):
        place = Place(rank, 3, torch.device("cpu"))
        share = place.share(mapped)
        assert isinstance(share, data.Mapped)
        read.clear()
        assert torch.equal(torch.cat(list(share.split(10))), place.share(memory))
        rows = mapped._rows[rank : len(mapped) - len(mapped) % 3 : 3] * 192
        assert read == rows.tolist()


# Found again, or refused


def test_it_is_found_again_without_reading_a_picture(folder, file, monkeypatch, capsys):
    first = from_folder(folder, file)
    monkeypatch.setattr(_pictures, "read", lambda *_: pytest.fail("a picture was read"))
    again = from_folder(folder, file)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.images[:], other.images[:])
        assert torch.equal(one.labels, other.labels)
        assert (one.files, one.classes, one.name) == (other.files, other.classes, other.name)
        assert one.images.digest == other.images.digest
    kept, found = capsys.readouterr().out.splitlines()
    assert kept.replace("kept in", "found in") == found
    assert sorted(p.name for p in file.parent.iterdir()) == ["images", "photos"]


def test_it_holds_what_memory_would(folder, file):
    for one, other in zip(from_folder(folder, file), from_folder(folder, None), strict=True):
        assert torch.equal(one.images[:], other.images)
        assert torch.equal(one.labels, other.labels)
        assert one.files == other.files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 4}, r"size: 8 x 8 there, 4 x 4 here"),
        ({"channels": 1}, "channels: 3 there, 1 here"),
        ({"split": 0.2}, r"split: 0\.3 there, 0\.2 here"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"size": 4, "seed": 2**70}, r"size: .*; seed: 0 there, \d+ here"),
        ("added", "files: 20 whose names.* there, 21 whose names"),
        ("touched", r"files: 20 whose names, sizes and times have SHA-256 \w+ there, 20 whose"),
        ("renamed", "files: 20 whose names"),
    ],
)
def test_a_cache_that_was_made_otherwise_is_refused_and_stays(folder, file, change, message):
    from_folder(folder, file)
    before = file.read_bytes()
    if change == "added":
        (folder / "new.png").write_bytes((folder / "00.png").read_bytes())
    if change == "touched":
        os.utime(folder / "00.png", (0, 0))
    if change == "renamed":
        (folder / "00.png").rename(folder / "0.png")
    with pytest.raises(data.DataError, match=f"was made otherwise .*{message}.*Delete it, or give cache= another path"):
        from_folder(folder, file, **change if isinstance(change, dict) else {})
    assert file.read_bytes() == before


def test_a_cache_of_other_arrays_is_refused(file):
    x = pixels(50)
    data.from_arrays(x, cache=file)
    data.from_arrays(torch.from_numpy(x), cache=file)  # the same values
    for other, labels in ((pixels(50, seed=1), None), (x[:49], None), (x, range(50))):
        with pytest.raises(data.DataError, match=r"was made otherwise .*x: 50 x 3 x 8 x 8 whose values"):
            data.from_arrays(other, labels, cache=file)


def test_every_flipped_bit_is_found(folder, file):
    from_folder(folder, file)
    whole = file.read_bytes()
    head_ends = whole.index(b"  ")
    rng = np.random.default_rng(0)
    places = [*range(0, head_ends, 13), 3000, *rng.integers(_mapped.HEAD, len(whole), 60), len(whole) - 1]
    for place in map(int, places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(data.DataError, match=r"damaged|was made otherwise|no cache of|another format"):
            from_folder(folder, file)
    file.write_bytes(whole)
    from_folder(folder, file)


@pytest.mark.parametrize("length", [0, 3, 2000, _mapped.HEAD, _mapped.HEAD + 1000, -1])
def test_a_truncated_cache_is_refused(folder, file, length):
    from_folder(folder, file)
    whole = file.read_bytes()
    file.write_bytes(whole[:length])
    said = "no cache of vae_tutorial" if 0 <= length < 2000 else "damaged"
    with pytest.raises(data.DataError, match=said):
        from_folder(folder, file)
    file.write_bytes(whole + b"x")
    with pytest.raises(data.DataError, match=r"damaged \(it has [\d,]+ bytes instead of [\d,]+\)\. Delete it"):
        from_folder(folder, file)


def test_another_file_is_never_replaced(folder, file):
    file.write_bytes(b"my thesis")
    with pytest.raises(data.DataError, match="is there already, and no cache of vae_tutorial; it stays as it is"):
        from_folder(folder, file)
    assert file.read_bytes() == b"my thesis"
    with pytest.raises(data.DataError, match="cannot be read"):
        from_folder(folder, file.parent)


def test_a_cache_of_a_later_format_is_named(folder, file, monkeypatch):
    monkeypatch.setattr(_cache, "FORMAT", "vae_tutorial images 2")
    from_folder(folder, file)
    monkeypatch.undo()
    with pytest.raises(data.DataError, match="another format, 'vae_tutorial images 2'"):
        from_folder(folder, file)


def test_a_cache_may_not_lie_in_the_folder(folder):
    with pytest.raises(ValueError, match=r"lies in the folder of images.*give it a path outside"):
        from_folder(folder, folder / "cache")


def test_floating_values_have_no_cache(file):
    with pytest.raises(ValueError, match=r"holds float32: leave it out; for images in \[0, 1\] pass \(x \* 255\)"):
        data.from_arrays(pixels(10) / 255, cache=file)
    with pytest.raises(ValueError, match=r"holds float32: leave it out$"):
        data.from_arrays(np.random.default_rng(0).normal(size=(9, 2)), cache=file)
    assert not file.exists()


# Nothing half-written


def test_a_full_disk_while_pixels_are_written(folder, file):
    """By the limit that the system sets on the size of files: its own error, in the midst of writing."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_mapped.HEAD + 500, limits[1]))
    try:
        with pytest.raises(
            data.DataError, match=r"could not write the cache .*images \(File too large\); nothing is left"
        ):
            from_folder(folder, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in file.parent.iterdir()] == ["photos"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_at_the_end(folder, file, monkeypatch, where):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_cache.os, where, full)
    with pytest.raises(data.DataError, match="No space left on device"):
        from_folder(folder, file)
    assert [p.name for p in file.parent.iterdir()] == ["photos"]


def test_ctrl_c_leaves_nothing(folder, file, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cache.Writer, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        from_folder(folder, file)
    assert [p.name for p in file.parent.iterdir()] == ["photos"]


def test_an_empty_side_leaves_nothing(folder, file):
    with pytest.raises(ValueError, match="none of them is left to test on"):
        from_folder(folder, file, split=1e-9)
    assert [p.name for p in file.parent.iterdir()] == ["photos"]


def test_a_folder_that_is_not_there(folder, tmp_path):
    with pytest.raises(
        data.DataError, match=r"could not write the cache .*No such file.* Give cache= a path in a folder"
    ):
        from_folder(folder, tmp_path / "no" / "images")


def test_what_a_killed_process_left_is_removed_once_it_is_stale(folder, file):
    stale, fresh, foreign = (
        file.with_name(name) for name in (".images.1-a.part", ".images.2-b.part", ".others.1-a.part")
    )
    for path in (stale, fresh, foreign):
        path.write_bytes(b"x")
    for path in (stale, foreign):
        os.utime(path, (0, 0))
    from_folder(folder, file)
    assert not stale.exists()
    assert fresh.exists()
    assert foreign.exists()


# Memory


MEMORY = textwrap.dedent(
    """
    import sys
    import torch
    from vae_tutorial import _cache, training, models

    def most():
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

    images, _, _ = _cache.read(sys.argv[1], {})
    model = models.MLPVAE(image_shape=(3, 64, 64), latent_dim=2, hidden=(4,), likelihood="gaussian_shared")
    training.fit(model, images.subset(slice(0, 256)), epochs=1, progress=False)
    before = most()
    training.fit(model, images, epochs=1, progress=False)
    print(most() - before)
    """
)


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_training_needs_little_memory_however_large_the_file_is(file):
    with _cache.Writer(file, (3, 64, 64), {}) as writer:
        for seed in range(16):
            writer.append(pixels(1000, seed, (3, 64, 64)), np.zeros(1000, bool))
        writer.finish({"labels": []})
    assert file.stat().st_size > 196e6
    done = subprocess.run([sys.executable, "-c", MEMORY, file], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 98  # MB: half of the file. 40 to 58 on a free machine, 77 on a busy one


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_travel_to_a_gpu_beside_the_work(pair):
    """From a file as from memory: the same images in the same order, whole when they are used."""
    memory, mapped, *_ = pair
    order = torch.randperm(len(memory), device="cuda").split(32)
    weight = torch.randn(4000, 4000, device="cuda")
    found = []
    for batch in mapped.to("cuda").batches(order):
        assert batch.is_cuda
        weight = weight @ weight / 4000  # the stream is busy when the next one arrives
        found.append(batch.clone())
    assert torch.equal(torch.cat(found), memory.cuda()[torch.cat(order)])
    net = model().cuda()
    history = training.fit(net, mapped, epochs=1, batch_size=32, progress=False)
    same = training.fit(model().cuda(), memory, epochs=1, batch_size=32, progress=False)
    assert history["elbo"] == pytest.approx(same["elbo"], rel=1e-4)


def test_the_command_trains_from_a_file(folder, file, capsys):
    options = [
        "--size",
        "8",
        "--split",
        "0.3",
        "--epochs",
        "1",
        "--cache",
        str(file),
        "--likelihood",
        "gaussian_shared",
    ]
    said = []
    for _ in range(2):
        assert cli.main(["train", "--images", str(folder), *options]) == 0
        said.append(capsys.readouterr().out)
    assert "kept in" in said[0]
    assert "found in" in said[1]
