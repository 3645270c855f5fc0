"""The commands of ``python -m vae_tutorial``, a file each, with ``describe(parser)`` and ``run(arguments)``.

Importing this needs no torch, so that the doctor works where torch is broken.
"""

from __future__ import annotations  # so that an old Python can import this, and is told that it is too old

import argparse
import importlib
import io
import os
import sys

__all__ = ["main", "parse"]

COMMANDS = {
    "train": "train a model on a data set, your images or your table, measure it and keep it",
    "evaluate": "say how many nats a model needs for an image, and how sure that is",
    "sample": "draw images or rows from a model",
    "reconstruct": "put images beside what a model makes of them",
    "encode": "write the codes of images or rows as a table",
    "compress": "write images to a file of about as many bits as a model's ELBO says",
    "decompress": "read such a file: the same images, every pixel",
    "checkup": "say what is wrong with the VAE that a script defines, how to see it, and how to mend it",
    "pretrained": "retrain shipped models, and compare them with their cards",
    "reproduce": "train a published number again, and print ours beside theirs",
    "doctor": "say what on this machine keeps the course from running, and what to do",
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line as a namespace; argparse ends the process where it is wrong."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m vae_tutorial", description="The recipes as commands.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name in argv[:1]:  # the others are not imported
            module = importlib.import_module(f"{__name__}.{name}")
            module.describe(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 2 after an error, which is printed in one line, 130 after Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "±" gets "?" for it
    try:
        arguments = parse(argv)
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:  # before or after a training, which itself returns what it has
        return 130
    except Exception as error:
        # The package's own errors about arguments and files; a full disk, a folder without permission, a closed pipe.
        if not (isinstance(error, (ValueError, OSError)) or type(error).__module__.startswith("vae_tutorial.")):
            raise
        if not isinstance(error, BrokenPipeError):  # as with "| head": the reader has closed the pipe
            print(f"python -m vae_tutorial: {error}", file=sys.stderr)
        _close_if_broken(sys.stdout)
        return 2


def _close_if_broken(stream):
    # Otherwise flushing its buffer at exit would fail again, with a traceback.
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
