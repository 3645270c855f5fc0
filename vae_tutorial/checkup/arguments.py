"""The arguments of somebody's loss, in whatever order they come."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from vae_tutorial.checkup.subject import CheckupError

__all__ = ["arranged"]

# What the arguments of a loss are called in code that people share. Where all four are known, they go by name.
_CALLED = {
    "output": "recon_x x_recon recon recons reconst reconstruction reconstructed reconstructed_x x_hat xhat x_rec out "
    "output outputs logits x_logits decoded pred prediction y y_hat recon_batch x_out probs x_prime",
    "x": "x data target targets image images batch input inputs original x_true xs img imgs inp",
    "mu": "mu mean means z_mean z_mu loc m mu_z q_mu",
    "logvar": "logvar log_var z_log_var z_logvar lv log_sigma logsigma sigma std log_std logstd var variance s "
    "logvar_z q_logvar log_variance logsigma2",
    "beta": "beta kl_weight kld_weight weight kl_w w kl_coeff",
}
_ROLES = {name: role for role, names in _CALLED.items() for name in names.split()}


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
