"""Training in several processes: ``torchrun --nproc-per-node 2 -m vae_tutorial train ...``, one for each GPU or core.

The training loop is the same: each process trains on its share of the images, with its share of the batch, and
PyTorch's DistributedDataParallel averages their gradients.
"""

import hashlib
import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from vae_tutorial.data import Mapped


class Parallel(DistributedDataParallel):
    """A model in several processes: its gradients are averaged over them; all other attributes are the model's own."""

    shared_settings: dict

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":  # not set yet, inside DistributedDataParallel.__init__
                raise
            return getattr(self.module, name)

    def state_dict(self, *arguments, **named):
        """Return the model's own state, without the wrapper's names, so that a checkpoint fits one process too."""
        return self.module.state_dict(*arguments, **named)

    def load_state_dict(self, *arguments, **named):
        """Load the model's own state."""
        return self.module.load_state_dict(*arguments, **named)


class Place(NamedTuple):
    """This process among all: ``rank``, from 0, of ``world``. A process alone is rank 0 of 1, and shares nothing."""

    rank: int
    world: int
    device: torch.device

    def in_turn(self, load):
        """Return ``load()``. The first process calls it before the others, as it may have to download."""
        if self.world == 1:
            return load()
        for turn in (0, 1):
            if min(self.rank, 1) == turn:
                found = load()
            dist.barrier()
        return found

    def share(self, images):
        """Return every world-th image from the rank-th on: equally many for each process, or one would wait forever.

        Those in a file stay there, and a process reads its own alone.
        """
        chosen = slice(self.rank, len(images) - len(images) % self.world, self.world)
        return images.subset(chosen) if isinstance(images, Mapped) else images[chosen]

    def parallel(self, model, images, seed):
        """Return the model as :class:`Parallel`, with what all processes have in common for a checkpoint to check."""
        if self.world == 1:
            return model
        mapped = isinstance(images, Mapped)
        digest = (images.digest if mapped else hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest())[:16]
        model = Parallel(model)
        model.shared_settings = {
            "images": f"{len(images)} of {images.dtype} with SHA-256 {digest}, in {self.world} processes",
            "seed": seed,
        }
        return model

    def leave(self, history):
        """Replace the training columns, which each process knows of its own images, by their mean; end the group.

        The epochs before a resumption keep those of the first process, as its checkpoint has them.
        """
        if self.world == 1:
            return
        columns = ("elbo", "reconstruction", "kl")
        values = torch.tensor([[row[c] for c in columns] for row in history.rows], device=self.device)
        dist.all_reduce(values)
        for row, means in zip(history.rows, (values / self.world).tolist(), strict=True):
            row.update(zip(columns, means, strict=True))
        dist.destroy_process_group()


def join(device: torch.device) -> Place:
    """Join the other processes, where torchrun has started several, and return this one's place among them."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        return Place(0, 1, device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Place(rank, world, device)
