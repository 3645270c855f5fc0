"""A device like Apple's GPU, simulated on the CPU: it has no float64, and its tensors do not mix with the CPU's.

``with Apple() as device:`` what is made on ``device`` or moved there, as by ``device.take(x)``, is of the class
:class:`OnDevice`, which computes on the CPU. Only what the package does is simulated, function by function.
"""

import sys

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS, CPU = torch.device("mps"), torch.device("cpu")
# These may have tensors on both devices: they move one of them, or read an index from it.
MIXED = {"copy_", "__getitem__", "__setitem__"}
LEAVES = {"numpy", "__array__"}  # only the CPU's tensors can become arrays


class OnDevice(torch.Tensor):
    """A tensor on the simulated device."""


class Generator(torch.Generator):
    """A generator that says that it is on a device, and draws on the CPU."""

    def __new__(cls, device="cpu"):
        new = super().__new__(cls, "cpu")
        new.place = torch.device(device)
        return new

    @property
    def device(self):
        return self.place


class Apple(TorchFunctionMode):
    """While it lasts, ``mps`` is a device."""

    def __enter__(self):
        self.replaced = [
            (module, name)
            for module in [torch, *(m for name, m in sys.modules.items() if name.startswith("vae_tutorial"))]
            for name, value in vars(module).items()
            if value is torch.Generator
        ]
        self.real = torch.Generator
        for module, name in self.replaced:
            setattr(module, name, Generator)
        return super().__enter__()

    def __exit__(self, *error):
        for module, name in self.replaced:
            setattr(module, name, self.real)
        return super().__exit__(*error)

    def take(self, thing):
        """Return a tensor, or a model with all its weights, on the device."""
        if isinstance(thing, torch.Tensor):
            return thing.detach().clone().to(MPS)
        for module in thing.modules():
            for name, value in module._parameters.items():
                if value is not None:
                    module._parameters[name] = torch.nn.Parameter(self.take(value), value.requires_grad)
            for name, value in module._buffers.items():
                module._buffers[name] = None if value is None else self.take(value)
        return thing

    def __torch_function__(self, function, types, arguments=(), named=None):
        name, named = getattr(function, "__name__", ""), dict(named or {})
        tensors = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, torch.Tensor)]
        here = any(isinstance(tensor, OnDevice) for tensor in tensors)
        with torch._C.DisableTorchFunctionSubclass():
            if function == torch.Tensor.device.__get__:
                return MPS if here else CPU
            if name == "__deepcopy__" and here:
                return arguments[0].detach().clone().as_subclass(OnDevice)
            if name == "cpu":
                place = CPU
            elif name == "to":
                arguments, wanted = _moved(arguments, named)
                place = wanted or (MPS if here else CPU)
            else:
                wanted = torch.device(named.pop("device")) if named.get("device") is not None else None
                place = wanted or (MPS if here else CPU)
                if place == MPS and name not in MIXED and any(t.ndim and not isinstance(t, OnDevice) for t in tensors):
                    raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found mps and cpu")
                if here and name in LEAVES:
                    raise TypeError("can't convert mps device type tensor to numpy; use Tensor.cpu() first")
                generator = named.get("generator")
                if generator is not None and generator.device != place:
                    raise RuntimeError(f"{name}: expected a {place} generator, but found {generator.device}")
            return tree_map(lambda part: _placed(part, place, name), function(*arguments, **named))


def _moved(arguments, named):
    """The arguments of Tensor.to without a device, and the device, if one is among them."""
    place, others = None, []
    named.pop("non_blocking", None)
    for value in [*arguments[1:], *([named.pop("device")] if "device" in named else [])]:
        if isinstance(value, torch.Tensor):
            place = MPS if isinstance(value, OnDevice) else CPU
            others.append(value.dtype)
        elif isinstance(value, str | torch.device):
            place = torch.device(value)
        else:
            others.append(value)
    return (arguments[0], *(others or ([] if named else [arguments[0].dtype]))), place


def _placed(result, place, name):
    if not isinstance(result, torch.Tensor):
        return result
    if place == MPS and result.dtype == torch.float64:
        raise TypeError(f"{name}: cannot convert a MPS Tensor to float64, which the MPS framework does not support")
    kind = OnDevice if place == MPS else torch.Tensor
    return result if isinstance(result, OnDevice) == (place == MPS) else result.as_subclass(kind)
