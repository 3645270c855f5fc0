"""The confusion matrix of the check-up: gauge by fault, and what it says of sound VAEs.

    python benchmarks/checkup.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

Each fault of ``checkup_cases`` is a sound script with one place changed. It is examined at full size, on digits of 28 x
28 (scikit-learn's, enlarged), with three seeds of its weights, untrained unless the fault needs training to show; the
gauges' thresholds were tuned on this list. A fault is found where the gauge that it belongs to names it. The sound VAEs
are scripts in different styles, untrained and after 300 steps, the shipped models on their own samples and on MNIST,
and convolutional VAEs with five likelihoods. Ten more faults were written down before the gauges were read, and
examined once; what was said then is kept by hand in ``checkup_cases/faults.py``. So was a second ten, of kinds that
people post; five sound VAEs beside them raised no alarm, two of them refused. What is said today is beside it.
Three public implementations, written again from their description, are examined once.

``--keep``: a cache folder. ``--quick``: small networks, one seed and a few VAEs, as a smoke test.
"""

import functools
import warnings

import _common
import torch
from checkup_cases.faults import FAULTS, HELD_OUT, PUBLIC, SECOND, SOUND, arguments_of, broken, source

from vae_tutorial import checkup, data, models, pretrained

LIKELIHOODS = ("continuous_bernoulli", "gaussian", "gaussian_shared", "gaussian_per_pixel", "discretized_logistic")


def of_script(text, seed, steps, small):
    return lambda: arguments_of(text, seed, steps, small)


def of_shipped(name, seed, images):
    """A shipped model, on a part of some images, or on its own samples."""
    model, beta = pretrained.load(name), float(pretrained.recipe(name)["beta"])
    if images is None:
        images = model.sample(512, torch.Generator().manual_seed(seed))
    return {"model": model, "images": images, "beta": beta}


def of_conv(likelihood, seed):
    torch.manual_seed(seed)
    return {"model": models.ConvVAE(8, (8, 16), likelihood), "lr": 1e-3}


def sound_vaes(seed, small):
    """Pairs of a name and a function that makes what ``examine`` is given."""
    for base in SOUND[:2] if small else SOUND:
        for steps in (0, 30 if small else 300):
            yield f"{base}, {steps} steps", of_script(source(base, small), seed, steps, small)
    test = data.load("mnist", "test").images[512 * seed :][:512]
    for name in pretrained.names()[:1] if small else pretrained.names():
        yield f"{name}, its own samples", functools.partial(of_shipped, name, seed, None)
        yield f"{name}, MNIST", functools.partial(of_shipped, name, seed, test)
    for likelihood in () if small else LIKELIHOODS:
        yield f"ConvVAE, {likelihood}", functools.partial(of_conv, likelihood, seed)


def examined(make):
    """What fired, as pairs of gauge and fault; or that the script itself fails."""
    try:
        report = checkup.examine(**make())
    except checkup.CheckupError as error:
        return {"fired": [], "notes": [], "failed": str(error)}
    fired = [[one.gauge, one.fault.key] for one in report.found]
    return {"fired": fired, "notes": [one.fault.key for one in report.notes]}


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=3)
    seeds, small = (1 if arguments.quick else arguments.seeds), arguments.quick
    faults, trials, public, alarms, examinations, minutes = {}, {}, [], [], 0, 0.0

    def run(name, make):
        nonlocal minutes
        found, took = _common.kept(arguments.keep, name.replace("/", " "), functools.partial(examined, make))
        minutes += took
        print(name, found["fired"], found.get("failed", ""), flush=True)
        return found

    for case in FAULTS[::20] if small else FAULTS:
        row = faults[case.name] = {"gauges": case.gauges, "keys": case.keys, "found": 0, "fired": {}}
        for seed in range(seeds):
            fired = run(f"{case.name}, seed {seed}", of_script(broken(case, small), seed, case.steps, small))["fired"]
            row["found"] += any(gauge in case.gauges and key in case.keys for gauge, key in fired)
            for gauge in {gauge for gauge, _ in fired}:
                row["fired"][gauge] = row["fired"].get(gauge, 0) + 1
    for trial, tried in (("held_out", HELD_OUT), ("second", SECOND)):
        trials[trial] = []
        for case, verdict, said in tried[:1] if small else tried:
            found = run(f"{trial.replace('_', ' ')}: {case.name}", of_script(broken(case, small), 0, 0, small))
            now = [key for _, key in found["fired"]] + [key for key in found["notes"] if key != "grey_bernoulli"]
            row = {"name": case.name, "verdict": verdict, "said": said, "now": now or found.get("failed", [])}
            trials[trial].append(row)
    for name, base, changes in PUBLIC[:1] if small else PUBLIC:
        text = source(base, small)
        for old, new in changes.items():
            text = text.replace(old, new)
        report = checkup.examine(**of_script(text, 0, 0, small)())
        public.append({"name": name, "said": [one.says for one in report.found]})
    for seed in range(seeds):
        for name, make in sound_vaes(seed, small):
            examinations += 1
            if fired := run(f"{name}, seed {seed}", make)["fired"]:
                alarms.append([name, seed, fired])
    missed = [name for name, row in faults.items() if row["found"] < seeds]
    print(f"{len(faults)} faults, missed {missed}; {examinations} sound VAEs, alarms {alarms}; {minutes:.1f} minutes")
    values = {"gauges": list(checkup.GAUGES), "seeds": seeds, "faults": faults, **trials}
    values |= {"public": public, "sound": {"examined": examinations, "alarms": alarms}}
    _common.write("checkup", values, __doc__, seeds, 3, minutes, arguments.folder)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", data.StandInWarning)
        main()
