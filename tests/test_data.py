"""Loading, standing in, binarizing: on small IDX files of our own, a local server, and the real MNIST where it is."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import socket
import stat
import struct
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from vae_tutorial import _download, data

REAL_ROOT = os.environ.get("VAE_TUTORIAL_DATA")  # before the fixture below takes it away


def idx(array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


FILES = {
    "train-images-idx3-ubyte": idx(np.arange(30 * 784).reshape(30, 28, 28) % 256),
    "train-labels-idx1-ubyte": idx(np.arange(30) % 10),
    "t10k-images-idx3-ubyte": idx(np.arange(20 * 784).reshape(20, 28, 28) % 251),
    "t10k-labels-idx1-ubyte": idx(np.arange(20) % 10),
}


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(data, "_told", set())
    monkeypatch.setattr(_download, "_failed", set())
    monkeypatch.delenv("VAE_TUTORIAL_DATA", raising=False)


@pytest.fixture
def root(tmp_path):
    for folder in ("FashionMNIST", "MNIST"):
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True)
        for name, contents in FILES.items():
            (raw / name).write_bytes(contents)
    return tmp_path


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A local server with the gzipped files, in the place of Fashion-MNIST's mirrors."""
    import torchvision.datasets

    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name, contents in FILES.items():
        (served / f"{name}.gz").write_bytes(gzip.compress(contents))
        resources.append((f"{name}.gz", hashlib.md5((served / f"{name}.gz").read_bytes()).hexdigest()))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dataset = torchvision.datasets.FashionMNIST
    monkeypatch.setattr(dataset, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(dataset, "resources", resources)
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture
def offline(monkeypatch):
    import torchvision.datasets

    for dataset in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there


def test_reads_what_is_in_the_files(root):
    train = data.load("fashion", "train", root=root)
    assert (train.images.dtype, train.images.shape) == (torch.uint8, (30, 1, 28, 28))
    assert (train.labels.dtype, train.labels.tolist()) == (torch.int64, [n % 10 for n in range(30)])
    assert (train.name, train.split, len(train)) == ("fashion", "train", 30)
    assert train.images.flatten().tolist() == [n % 256 for n in range(30 * 784)]
    assert len(data.load("fashion", "test", root=str(root))) == 20
    assert len(data.load("mnist", "test", root=root)) == 20  # somebody's own selection, not of the official size


def test_root_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(root))
    assert data.load("fashion").name == "fashion"


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "labels short", "labels high"])
def test_damaged_files_are_an_error_never_a_stand_in(root, damage):
    raw = root / "FashionMNIST" / "raw"
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    if damage == "truncated":
        images.write_bytes(images.read_bytes()[:-500])
    elif damage == "garbage":
        images.write_bytes(b"<html>not found</html>" * 100)
    elif damage == "empty":
        images.write_bytes(b"")
    elif damage == "labels short":
        labels.write_bytes(idx(np.arange(29) % 10))
    elif damage == "labels high":
        labels.write_bytes(idx(np.arange(30)))
    with pytest.raises(data.DataError, match=r"files of 'fashion' in .*FashionMNIST.raw are damaged .*Delete them"):
        data.load("fashion", root=root)


@pytest.mark.parametrize("name", _download.FOLDERS)
def test_a_flipped_bit_is_found(name, root, monkeypatch):
    file = root / _download.FOLDERS[name] / "raw" / "train-images-idx3-ubyte"
    right = file.read_bytes()
    digest = hashlib.sha256(right).hexdigest()
    monkeypatch.setitem(_download.OFFICIAL, file.name, (len(right), digest))
    monkeypatch.setitem(_download.FASHION, file.name, digest)
    assert len(data.load(name, root=root)) == 30
    wrong = bytearray(right)
    wrong[5000] ^= 1
    file.write_bytes(wrong)
    with pytest.raises(data.DataError, match="does not have the official SHA-256"):
        data.load(name, root=root)


def test_downloads_from_a_server(mirror, tmp_path):
    train = data.load("fashion", root=tmp_path / "new", strict=True)
    assert train.images.flatten().tolist() == [n % 256 for n in range(30 * 784)]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["FashionMNIST"]  # the temporary folder is gone


@pytest.mark.parametrize("name", ["t10k-labels-idx1-ubyte", "train-images-idx3-ubyte"])
def test_a_wrong_checksum_leaves_nothing_behind(name, mirror, tmp_path):
    (mirror / f"{name}.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(data.DataError, match=f"could not be downloaded .*{name}.gz has a wrong checksum"):
        data.load("fashion", root=tmp_path / "new", strict=True)
    assert not list((tmp_path / "new").glob("*"))


def test_the_stand_in_comes_with_one_notice(offline, tmp_path):
    start = time.perf_counter()
    with pytest.warns(data.StandInWarning, match="scikit-learn's digits stand in") as caught:
        train, test = data.load("mnist", "train", root=tmp_path), data.load("mnist", "test", root=tmp_path)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points at the reader's line
    assert time.perf_counter() - start < 20
    assert train.name == test.name == "digits"
    assert len(train) + len(test) == 1797


def test_strict_is_an_error_instead(offline, tmp_path):
    with pytest.raises(data.DataError, match=r"mnist is not in .* and could not be downloaded"):
        data.load("mnist", root=tmp_path, strict=True)


# What a bad mirror sends: pieces and the seconds between them.
BAD = {
    "silent": ([], 0),
    "trickling": ([b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 10_000], 0.02),
    "trickling headers": ([b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 10_000], 0.02),
    "endless": ([b"HTTP/1.1 200 OK\r\n\r\n", *[bytes(2**16)] * 10_000], 0),
    "cut off": ([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", None], 0),
    "no HTTP": ([b"220 ready\r\n", None], 0),
    "a login page": ([b"HTTP/1.1 200 OK\r\n\r\n<html>", None], 0),
}


@pytest.fixture
def bad_mirror(request, monkeypatch):
    monkeypatch.setattr(_download, "_SILENCE", 0.3)
    monkeypatch.setattr(_download, "_START", 0.3)
    monkeypatch.setattr(_download, "_LARGEST", 10**6)
    pieces, pause = BAD[request.param]
    over = threading.Event()

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    connection.recv(4096)
                    for piece in pieces:
                        if piece is None or over.wait(pause):
                            break
                        connection.sendall(piece)
                    else:
                        over.wait(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        over.set()


@pytest.mark.timed
@pytest.mark.parametrize("bad_mirror", BAD, indirect=True)
def test_a_bad_mirror_costs_seconds_and_the_next_one_is_asked(bad_mirror, mirror, tmp_path, monkeypatch):
    import torchvision.datasets

    dataset = torchvision.datasets.FashionMNIST
    good, start = dataset.mirrors[0], time.perf_counter()
    monkeypatch.setattr(dataset, "mirrors", [bad_mirror])
    with pytest.raises(data.DataError, match=rf"ConnectionError: {bad_mirror}: \w.*\)$"):
        data.load("fashion", root=tmp_path / "new", strict=True)
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(_download, "_failed", set())
    monkeypatch.setattr(dataset, "mirrors", [bad_mirror, good])
    assert len(data.load("fashion", root=tmp_path / "new", strict=True)) == 30
    assert time.perf_counter() - start < 5


def test_a_slow_but_honest_mirror_is_waited_for(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "_START", 0.0)
    monkeypatch.setattr(_download, "_RATE", 1e-3)  # a thousand seconds a byte
    assert len(data.load("fashion", root=tmp_path / "new", strict=True)) == 30


# A home folder that the system does not know: the user has no name there, or there is no such user.
NOWHERE = [None, "~nobody-of-this-name/data"]


@pytest.mark.skipif(os.name == "nt", reason="Windows knows every user's home folder")
@pytest.mark.parametrize("root", NOWHERE)
def test_an_unknown_home_folder_gives_the_stand_in(root, monkeypatch):
    import pwd

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.warns(data.StandInWarning, match=r"the .* lies in an unknown home folder. scikit-learn's digits"):
        assert data.load("mnist", root=root).name == "digits"
    with pytest.raises(data.DataError, match="unknown home folder"):
        data.test_binarization("mnist", root=root, strict=True)
    if root:
        monkeypatch.setenv("VAE_TUTORIAL_DATA", root)
        assert data.load("mnist").name == "digits"  # told already


@pytest.mark.parametrize("root", ["x" * 300, "a\0b", "/dev/null/data"])
def test_a_root_that_no_folder_can_have_gives_the_stand_in(root, mirror):
    with pytest.warns(data.StandInWarning, match="fashion is not in"):
        assert data.load("fashion", root=root).name == "digits"


@pytest.mark.parametrize("root", [5, b"data", ["data"]])
def test_a_root_that_is_no_path(root):
    with pytest.raises(ValueError, match="root must be the path of a folder; got"):
        data.load("mnist", root=root)


def test_files_that_may_not_be_read(root, monkeypatch):
    import torchvision.datasets

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "__init__", refused)
    with pytest.raises(data.DataError, match=r"the files of 'fashion' in .* cannot be read"):
        data.load("fashion", root=root)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_root(mirror, tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(data.DataError, match="Permission"):
        data.load("fashion", root=folder, strict=True)


def test_a_root_that_is_a_file(mirror, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load("fashion", root=file, strict=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnits",), "name must be one of 'mnist', 'fashion', 'digits'; got 'mnits'"),
        (("mnist", "valid"), "split must be one of 'train', 'test'; got 'valid'"),
    ],
)
def test_unknown_names(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load(*arguments)


def test_a_torchvision_that_does_not_fit(tmp_path, monkeypatch):
    """A torchvision of another torch fails with a RuntimeError from within; the reader is told what to install."""
    fake = tmp_path / "torchvision"
    fake.mkdir()
    (fake / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(data.DataError, match=r"^torchvision does not fit torch") as caught:
        data.load("mnist")
    assert "pip uninstall -y torch torchvision, then pip install torch torchvision" in str(caught.value)
    assert caught.value.__suppress_context__  # no "During handling ..." before it


def test_digits():
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert (train.images.shape, test.images.shape) == ((1438, 1, 28, 28), (359, 1, 28, 28))
    assert train.images.dtype == torch.uint8
    assert sorted(set(test.labels.tolist())) == list(range(10))
    assert train.images.max() == 255
    assert train.images[:, :, :4].max() == 0  # a frame as in MNIST


def test_binarize_has_the_right_probabilities(generator):
    grey = torch.arange(256, dtype=torch.uint8).expand(20_000, 256)
    for images in (grey, grey.float() / 255):
        on = data.binarize(images, generator)
        assert on.dtype == torch.float32
        assert set(on.unique().tolist()) == {0.0, 1.0}
        p = torch.arange(256) / 255
        deviation = (on.mean(0) - p) / (p * (1 - p) / 20_000).sqrt().clamp_min(1e-9)
        assert on[:, 0].sum() == 0
        assert on[:, 255].mean() == 1
        assert deviation.abs().max() < 5


def test_binarize_repeats_with_a_seed():
    grey = data.load("digits").images
    first, again, other = (data.binarize(grey, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("bad", [torch.tensor([1.5]), torch.tensor([-0.1]), torch.tensor([float("nan")])])
def test_binarize_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError, match=r"images ranges from .*pixels must lie in \[0, 1\]"):
        data.binarize(bad)
    with pytest.raises(ValueError, match=r"images has dtype torch\.int64"):
        data.binarize(torch.tensor([1, 2]))


def test_the_ledgers_binarization_is_frozen():
    def digest(x):
        return hashlib.sha256(x.to(torch.uint8).numpy().tobytes()).hexdigest()

    x = data.test_binarization("digits")
    assert x.shape == (359, 1, 28, 28)
    assert torch.equal(x, data.test_binarization("digits"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", data.StandInWarning)
        real = data.load("mnist", "test", root=REAL_ROOT)
        if real.name != "mnist":
            pytest.skip("no MNIST here: its binarization cannot be compared")
        x = data.test_binarization("mnist", root=REAL_ROOT)
    assert x.dtype == torch.float32
    assert digest(x) == "83b611f3ad0f73f10935fb90a90691662adc424807d2c3a0d6100a668dc5dd8b"
