"""The confusion matrix of the check-up: gauge by fault, and what it says of sound VAEs. Run from the repository:

    python tests/checkup_cases/matrix.py --seeds 3 --to matrix.json

Prints a line for each VAE, and a table of Markdown at the end. Full size and three seeds take a quarter of an hour.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from checkup_cases.faults import FAULTS, SOUND, arguments_of, broken, source

from vae_tutorial import checkup, data, models, pretrained


def sound_vaes(seeds, small):
    """Pairs of a name and what ``examine`` is given."""
    for base in SOUND:
        for steps in (0, 300):
            for seed in range(seeds):
                yield f"{base}, {steps} steps, seed {seed}", arguments_of(source(base, small), seed, steps, small)
    test = data.load("mnist", "test")
    for name in pretrained.names():
        model, beta = pretrained.load(name), float(pretrained.recipe(name)["beta"])
        for seed in range(seeds):
            own = model.sample(512, torch.Generator().manual_seed(seed))
            yield f"{name}, its own samples, seed {seed}", {"model": model, "images": own, "beta": beta}
            if test.name == "mnist":
                some = test.images[512 * seed :][:512]
                yield f"{name}, MNIST, part {seed}", {"model": model, "images": some, "beta": beta}
    for likelihood in (
        "continuous_bernoulli",
        "gaussian",
        "gaussian_shared",
        "gaussian_per_pixel",
        "discretized_logistic",
    ):
        for seed in range(seeds):
            torch.manual_seed(seed)
            yield f"ConvVAE, {likelihood}, seed {seed}", {"model": models.ConvVAE(8, (8, 16), likelihood), "lr": 1e-3}


def examined(name, arguments, rows):
    report = checkup.examine(**arguments)
    fired = [(one.gauge, one.fault.key, one.sure) for one in report.found]
    failed = {gauge: why for gauge, why in report.not_tested.items() if "failed" in why}
    rows.append({"name": name, "fired": fired, "not_tested": sorted(report.not_tested), "seconds": report.seconds})
    print(name, [f"{gauge}:{key}" for gauge, key, _ in fired], failed or "", f"{report.seconds:.1f} s", flush=True)
    return fired


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="networks for images of 8 x 8")
    parser.add_argument("--to", type=Path, help="write all as JSON")
    options = parser.parse_args()
    start, found, sound, hits = time.time(), [], [], {}
    for case in FAULTS:
        for seed in range(options.seeds):
            text = broken(case, options.small)
            fired = examined(case.name, arguments_of(text, seed, case.steps, options.small), found)
            hit = any(key in case.keys and gauge in case.gauges for gauge, key, _ in fired)
            hits.setdefault(case, []).append((hit, sorted({gauge for gauge, *_ in fired})))
    for name, arguments in sound_vaes(options.seeds, options.small):
        examined(name, arguments, sound)
    print("\n| fault | its gauge | found | gauges that fired |\n|:--|:--|--:|:--|")
    for case, tries in hits.items():
        gauges = sorted({gauge for _, fired in tries for gauge in fired})
        counts = ", ".join(f"{gauge} {sum(gauge in fired for _, fired in tries)}" for gauge in gauges)
        print(f"| {case.name} | {', '.join(case.gauges)} | {sum(hit for hit, _ in tries)}/{len(tries)} | {counts} |")
    missed = sum(not hit for tries in hits.values() for hit, _ in tries)
    alarms = [row["name"] for row in sound if row["fired"]]
    print(
        f"\n{len(found)} broken VAEs, {missed} missed; {len(sound)} sound VAEs, {len(alarms)} false alarms {alarms}; ",
        end="",
    )
    print(f"{time.time() - start:.0f} s")
    if options.to:
        options.to.write_text(json.dumps({"faults": found, "sound": sound}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
