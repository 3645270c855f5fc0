"""What the scripts behind the stored results share: their options, cached runs, and how a result is written."""

import argparse
import json
import time
from pathlib import Path

from vae_tutorial import stored


def parse(description, argv, seeds):
    """Return the options --seeds, --keep, --quick and --folder of a script."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--keep", type=Path, help="cache folder for the finished trainings")
    parser.add_argument("--quick", action="store_true", help="a tiny run, as a smoke test")
    parser.add_argument("--folder", type=Path, help="where the result goes, if not into the package")
    arguments = parser.parse_args(argv)
    if arguments.quick and arguments.folder is None:
        parser.error("--quick needs --folder: a tiny run is no result")
    return arguments


def kept(folder, name, run):
    """Return the dict that ``run()`` returns, and its CPU minutes; cached in ``folder``, if there is one."""
    file = folder and folder / f"{name}.json"
    if file and file.exists():
        found = json.loads(file.read_text("utf-8"))
        return found, found.pop("minutes")
    start = time.process_time()
    found = run()
    minutes = (time.process_time() - start) / 60
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**found, "minutes": minutes}), "utf-8")
    return found, minutes


def write(name, values, description, seeds, usual, minutes, folder):
    """Store a result; the protocol is the third paragraph of the script's description."""
    stored.write(
        name,
        values,
        command=f"python benchmarks/{name}.py" + (f" --seeds {seeds}" if seeds != usual else ""),
        protocol=" ".join(description.split("\n\n")[2].split()),
        trainings=seeds,
        minutes=minutes,
        folder=folder,
    )
