"""A trained model as one file: ``models.save`` and ``models.load``. Skip this file when you read for the VAE.

The file is safetensors: tensors, and a head of text that says how to build the model. Nothing in it is code. The head
is not believed: it may name only classes of this package, and they are first built without memory, so that no weight
is allocated whose shape is not that in the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from vae_tutorial import __version__, _checks, _files
from vae_tutorial._modes import unwrapped

FORMAT = 1
CLASSES: dict[str, type] = {}  # what a file may name; ``models`` enters its classes here
_KEY = "vae_tutorial"  # one entry of safetensors' metadata, since several come in a random order
_LONGEST = 20_000  # characters of the head, more than a network of a hundred layers needs
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_DTYPES |= {"I64": torch.int64, "BOOL": torch.bool}
_BY_HAND = (
    "so no file can say how to build it. Save its weights: torch.save(model.state_dict(), path); then build the model "
    "again, and load them: model.load_state_dict(torch.load(path, weights_only=True))"
)
_CHECKPOINT = (
    "is a file of torch.save, as the checkpoints of training.fit are. training.load_checkpoint(path, model) reads "
    "those, into a model that you build as it was"
)


class ModelFileError(RuntimeError):
    """A model's file is missing, damaged, foreign or from a newer version, or could not be written."""


def save(model: nn.Module, path: str | os.PathLike) -> None:
    """Write a model to a safetensors file, atomically: its weights as they are, how to build it, and a checksum.

    ``model``: an ``MLPVAE``, ``ConvVAE`` or ``Autoencoder``. A model's file that is there is replaced, another file is
    not. Raises TypeError and ValueError for a model that :func:`load` could not build and for a path that is not one
    of an ordinary file; ModelFileError where the file cannot be written, and the old one stays.
    """
    from safetensors.torch import save as packed

    model, path = unwrapped(model), check_place(path)
    head = _head(model)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    outlines = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    _expect(f"model has been changed since it was made, {_BY_HAND}", _built(head, outlines), outlines, ValueError)
    head["sha256"] = _digest(head, tensors)
    try:
        _files.write(path, packed(tensors, {_KEY: json.dumps(head)}))
    except OSError as error:
        raise ModelFileError(f"cannot write the model {path} ({error}); nothing was changed") from error


def check_place(path):
    """Return where :func:`save` writes, a Path. Raises what it raises for a path and for another file that is there."""
    path = _place(path)
    if path.exists() and path.stat().st_size:
        try:
            with _opened(path):
                pass
        except ModelFileError as error:
            raise ModelFileError(f"{error}. It is not overwritten: delete it, or give another name") from None
    return path


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> nn.Module:
    """Return the model of a file that :func:`save` wrote, in evaluation mode, on ``device``.

    Nothing in the file is executed. Raises ModelFileError for a file that is missing, damaged, foreign, from a newer
    version, or whose weights are not those of its architecture; ValueError for another device and for no path.
    """
    path, device = _place(path), _device(device)
    with _opened(path) as (head, file):
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        outlines = {n: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype())) for n, part in parts.items()}
        try:
            empty = _built(head, outlines)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ModelFileError(f"{path} describes a model that cannot be built: {_first_line(error)}") from error
        _expect(f"{path} does not hold the weights of its own architecture", empty, outlines, ModelFileError)
        if repr(empty.likelihood) != head["likelihood"]:
            raise ModelFileError(
                f"{path} says that its likelihood is {head['likelihood']}, and builds {empty.likelihood}"
            )
        tensors = {name: file.get_tensor(name) for name in outlines}
    if _digest(head, tensors) != head.get("sha256"):
        raise ModelFileError(f"{path} is damaged: its checksum is wrong. Nothing was loaded")
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, but the caller's generator is left alone
        model = _built(head, outlines, "cpu")
    model.load_state_dict(tensors)
    if "epochs_trained" in head:
        model.epochs_trained = int(head["epochs_trained"])
    if "columns" in head:
        model.columns = tuple(map(str, head["columns"]))
    return model.eval().to(device)


def _head(model):
    """What a file says of a model besides its weights, as JSON takes it; ValueError where that is not enough."""
    if isinstance(model, AveragedModel):
        raise TypeError("model is an AveragedModel; save the model in it: average.module")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an MLPVAE, a ConvVAE or an Autoencoder; got a {type(model).__name__}")
    name, architecture = type(model).__name__, getattr(model, "architecture", None)
    if architecture is None:
        raise ValueError(f"model is a {name} put together by hand, or of a class or likelihood of your own, {_BY_HAND}")
    head = {
        "format": FORMAT,
        "version": __version__,
        "architecture": architecture,
        "likelihood": repr(model.likelihood),
    }
    kept = {note: getattr(model, note) for note in ("epochs_trained", "columns") if hasattr(model, note)}
    return json.loads(json.dumps({**head, **kept}))


def _built(head, outlines, device="meta"):
    """The model of a head, in the dtype of the file's weights; on "meta", without memory and without weights."""
    made = head["architecture"]
    if made.get("class") == "PixelVAE":
        importlib.import_module("vae_tutorial.pixelvae")  # a later module, which makes its class known
    if set(made) != {"class", "arguments"} or made["class"] not in CLASSES:
        raise ValueError(f"its class {made.get('class')!r:.80} is unknown to vae_tutorial {__version__}")
    with torch.device(device):
        model = CLASSES[made["class"]](**made["arguments"])
    floating = [dtype for _, dtype in outlines.values() if dtype is not None and dtype.is_floating_point]
    return model.to(floating[0]) if floating else model


def _expect(what, model, outlines, error):
    wanted = {name: (tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}
    for name in [*wanted, *outlines]:
        if wanted.get(name) != outlines.get(name):
            here, there = (" ".join(map(str, o[name])) if name in o else "missing" for o in (wanted, outlines))
            raise error(f"{what} ({name} is {there}, and should be {here})")


@contextlib.contextmanager
def _opened(path):
    """The head of a file of ours, and the open file."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as raw:
            start = raw.read(9)  # of a safetensors file: a length, which may look like anything, and a brace
        if start[8:] != b"{" and start.startswith((b"PK", b"\x80")):  # a zip archive, and a bare pickle
            raise ModelFileError(f"{path} {_CHECKPOINT}")
        with safe_open(path, framework="pt") as file:
            yield _checked_head(path, (file.metadata() or {}).get(_KEY)), file
    except FileNotFoundError:
        raise ModelFileError(f"there is no model {path}") from None
    except OSError as error:
        raise ModelFileError(f"cannot read the model {path} ({error})") from error
    except SafetensorError as error:
        raise ModelFileError(f"{path} is damaged, or no model of models.save ({_first_line(error)})") from error


def _checked_head(path, text):
    if text is None:
        raise ModelFileError(
            f"{path} is a safetensors file, but not of models.save: it does not say how to build the model"
        )
    try:
        head = json.loads(text) if len(text) <= _LONGEST else {}
        if head["format"] != FORMAT:
            raise ModelFileError(
                f"{path} is of format {head['format']!r:.20} and vae_tutorial {head['version']!r:.20}; this is "
                f"{__version__}, which reads format {FORMAT}. Install the newer package"
            )
        kinds = {"version": str, "likelihood": str, "sha256": str, "architecture": dict}
        whole = all(isinstance(head[key], kind) for key, kind in kinds.items())
        whole &= isinstance(head.get("epochs_trained", 0), int) and isinstance(head.get("columns", []), list)
    except (ValueError, TypeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise ModelFileError(f"{path} is damaged: its description of the model cannot be read")
    return head


def _digest(head, tensors):
    """The SHA-256 of everything in the file, in an order that is always the same."""
    said = {key: value for key, value in head.items() if key != "sha256"}
    outlines = [(name, list(value.shape), str(value.dtype)) for name, value in sorted(tensors.items())]
    found = hashlib.sha256(json.dumps([said, outlines], sort_keys=True).encode())
    for _, value in sorted(tensors.items()):
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _place(path):
    found = _checks.path("path", path)
    try:
        found = found.resolve()  # a symlink is kept, and its target is read or replaced
        if found.is_dir():
            raise ValueError(f"path must be that of a file; {path} is a folder")
        if found.exists() and not found.is_file():
            raise ValueError(f"path must be that of an ordinary file, not of a device or a pipe; got {str(path)!r}")
        if not found.parent.is_dir():
            raise ValueError(f"path must lie in a folder that exists; got {str(path)!r}")
    except (OSError, RuntimeError) as error:  # a loop of links, a name that is too long
        raise ModelFileError(f"cannot open {path} ({error})") from error
    return found


def _device(device):
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device must be one that PyTorch has here; got {device!r} ({_first_line(error)})") from None


def _first_line(error):
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
