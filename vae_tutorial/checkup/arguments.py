"""The arguments of somebody's loss, in whatever order they come."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from vae_tutorial.checkup.subject import CheckupError

__all__ = ["arranged", "of_two", "role_of"]

# What the arguments of a loss are called in code that people share. Where all four are known, they go by name.
_CALLED = {
    "output": "recon_x x_recon recon recons reconst reconstruction reconstructed reconstructed_x x_hat xhat x_rec out "
    "recon_image recon_images recon_imgs output outputs logits x_logits decoded pred prediction y y_hat recon_batch "
    "x_out probs x_prime",
    "x": "x data target targets image images batch input inputs original x_true xs img imgs inp",
    "mu": "mu mean means z_mean latent_mean z_mu loc m mu_z q_mu",
    "logvar": "logvar log_var z_log_var z_logvar lv log_sigma logsigma sigma std log_std logstd var variance s "
    "logvar_z q_logvar log_variance logsigma2 sigma_z std_z z_std z_var z_log_sigma latent_logvar logstd_z scale",
    "z": "z z_sample z_samples sample latent latents code z_q zs",
    "beta": "beta kl_weight kld_weight weight kl_w w kl_coeff",
}
_ROLES = {name: role for role, names in _CALLED.items() for name in names.split()}


def role_of(name: str) -> str | None:
    """What somebody's name usually stands for: "output", "x", "mu", "logvar", "z" or "beta"; None for other names."""
    return _ROLES.get(str(name).strip("_").lower())


def of_two(loss: Callable) -> Callable | None:
    """Return a loss of two arguments as a function of (what the pass returned, x); None for any other loss."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):
        return None
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(names) != 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    turned = role_of(names[0]) == "x" and role_of(names[1]) != "x"
    return (lambda returned, x: loss(x, returned)) if turned else loss


def arranged(loss: Callable, beta: float) -> Callable | None:
    """Return the loss as a function of (output, x, mu, logvar), in its own order if its names say one.

    None for a loss that takes x alone. A fifth argument with a name for a weight gets ``beta``. Raises CheckupError for
    any other number of arguments.
    """
    try:
        parameters = list(inspect.signature(loss).parameters.values())
    except (TypeError, ValueError):
        return loss
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return loss
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty]
    if len(needed) == 1 and len(names) < 4:
        return None
    if len(names) < 4 or len(needed) > 5 or (len(needed) == 5 and _ROLES.get(needed[4]) != "beta"):
        raise CheckupError(f"loss must take (output, x, mu, logvar), or x alone; yours takes ({', '.join(names)})")
    weighted = _ROLES.get(names[4], "") == "beta" if len(names) > 4 else False
    extra = {names[4]: beta} if weighted and (len(needed) == 5 or beta != 1) else {}
    roles = [_ROLES.get(name, "") for name in names[:4]]
    if set(roles) != {"output", "x", "mu", "logvar"}:
        roles = ["output", "x", "mu", "logvar"]

    def call(output, x, mu, logvar):
        given = {"output": output, "x": x, "mu": mu, "logvar": logvar}
        return loss(*(given[role] for role in roles), **extra)

    return call
