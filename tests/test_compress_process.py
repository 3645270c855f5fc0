"""A file opens anywhere: another process, another number of threads, the command line, no ``constriction``."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from vae_tutorial import cli, compress, data, pretrained

DIGITS = ["--dataset", "digits", "--count", "150"]
READER = """
import sys, torch
from vae_tutorial import compress, pretrained
torch.set_num_threads(int(sys.argv[3]))
images = compress.read(sys.argv[1], pretrained.load("conv"), batch_size=int(sys.argv[4]))
torch.save((torch.get_num_threads(), images), sys.argv[2])
"""


def python(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, env=os.environ)


@pytest.mark.process
def test_another_process_with_other_threads_and_batches(tmp_path):
    images, before = data.test_binarization("digits")[:150], torch.get_num_threads()
    file, found = tmp_path / "a.nats", tmp_path / "found.pt"
    try:
        torch.set_num_threads(2)
        compress.write(file, pretrained.load("conv"), images, batch_size=100)
    finally:
        torch.set_num_threads(before)
    done = python("-c", READER, file, found, 1, 7)
    assert done.returncode == 0, done.stderr
    threads, back = torch.load(found, weights_only=True)
    assert threads == 1
    assert torch.equal(back, images)


@pytest.mark.process
def test_without_constriction_the_error_says_what_to_install():
    code = "import sys; sys.modules['constriction'] = None; from vae_tutorial import cli; sys.exit(cli.main({}))"
    done = python("-c", code.format(["compress", "mlp", "--to", "a.nats"]))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "python -m vae_tutorial: vae_tutorial.compress needs constriction 0.4 or newer: pip install constriction"
    )
    assert done.stderr.count("\n") == 1


def test_the_commands(tmp_path, capsys):
    file, array, sheet = (tmp_path / name for name in ("a.nats", "a.npz", "a.png"))
    assert cli.main(["compress", "mlp", *DIGITS, "--to", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"{file}: {file.stat().st_size:,} bytes for 150 images" in said
    assert "(digits)" in said
    assert cli.main(["decompress", "mlp", str(file), "--to", str(array), "--batch-size", "9"]) == 0
    assert np.array_equal(np.load(array)["images"], data.test_binarization("digits")[:150].numpy())
    assert "150 images of (1, 28, 28)" in capsys.readouterr().out
    assert cli.main(["decompress", "mlp", str(file), "--to", str(sheet)]) == 0
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    assert cli.main(["decompress", "mlp", str(file), "--to", str(tmp_path / "b.NPZ")]) == 0
    assert (tmp_path / "b.NPZ").read_bytes()[:2] == b"PK"


def test_mistakes_are_told_in_one_line(tmp_path, capsys):
    file = tmp_path / "a.nats"
    assert cli.main(["compress", "mlp", *DIGITS[:2], "--count", "3", "--to", str(file)]) == 0
    capsys.readouterr()
    (tmp_path / "bad.nats").write_bytes(file.read_bytes()[:-1])
    cases = [
        (["compress", "mlp", *DIGITS, "--to", str(file)], "exists already"),
        (["compress", "mlp", *DIGITS, "--to", str(tmp_path / "a.zip")], "--to must end in .nats"),
        (["compress", "mlp", *DIGITS, "--precision", "20", "--to", str(tmp_path / "b.nats")], "precision must be"),
        (["compress", "mlp", "--count", "0", "--to", str(tmp_path / "b.nats")], "--count must be a whole number"),
        (["decompress", "conv", str(file), "--to", str(tmp_path / "a.npz")], "written with another model"),
        (["decompress", "mlp", str(tmp_path / "bad.nats"), "--to", str(tmp_path / "a.npz")], "damaged or cut short"),
        (["decompress", "mlp", str(tmp_path / "no.nats"), "--to", str(tmp_path / "a.npz")], "cannot read"),
    ]
    for command, message in cases:
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nats", "bad.nats"]
