r"""Variational inference over paths: a controlled stochastic equation and the cost of its control (Girsanov)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reprise.dynamics.fixed_steps import fixed_steps


class ControlledPath(NamedTuple):
    r"""A path of a controlled equation, and its weight against the path measure without control.

    The equation is $\mathrm dZ=f\,\mathrm dt+g\,(\mathrm dW+u\,\mathrm dt)$. The log density of the controlled law
    against the uncontrolled one, along this path, is ``energy + martingale``.

    Attributes:
        path: the state after every step.
        energy: $\frac12\int\|u\|^2\,\mathrm dt$; its mean is the Kullback-Leibler divergence.
        martingale: $\int u\cdot\mathrm dW$, of mean zero.
    """

    path: Float[Array, "steps dim"]
    energy: Float[Array, ""]
    martingale: Float[Array, ""]


def controlled_path(
    drift: Callable[[Float[Array, ""], Float[Array, " dim"]], Float[Array, " dim"]],
    diffusion: Callable[[Float[Array, ""], Float[Array, " dim"]], Float[Array, "dim noises"]],
    control: Callable[[Float[Array, " dim"], Any], Float[Array, " noises"]],
    z0: Float[Array, " dim"],
    times: Float[Array, " steps_plus_1"],
    increments: Float[Array, "steps noises"],
    inputs: Any,
) -> ControlledPath:
    r"""Solve a controlled Itô equation by Euler-Maruyama, with the control's energy (Daems et al. 2023, prop. 4).

    For observations $y$ of the path, $\log p(y\mid Z)-$ ``energy`` $-$ ``martingale`` has the evidence lower bound as
    its mean, and is constant if the control is the one that the posterior has. Map over paths with `jax.vmap`.

    Args:
        drift: $f(t,z)$.
        diffusion: $g(t,z)$.
        control: $u(z,x)$ with ``x`` the step's part of ``inputs``, whatever changes from step to step: gains, say.
        z0: where to start.
        times: an equally spaced grid.
        increments: $\Delta W_n$.
        inputs: a pytree with leading axis ``steps``.
    """
    steps = len(increments)
    index = lambda t: jnp.round((t - times[0]) * (steps / (times[-1] - times[0]))).astype(int)
    steer = lambda t, z: control(z, jax.tree.map(lambda table: table[index(t)], inputs))

    def slow(t, state, _):
        u = steer(t, state[0])
        return drift(t, state[0]) + diffusion(t, state[0]) @ u, 0.5 * u @ u, jnp.zeros_like(state[2])

    def rough(t, state, _):
        u = steer(t, state[0])
        return diffusion(t, state[0]), jnp.zeros_like(u), u

    terms = diffrax.MultiTerm(
        diffrax.ODETerm(slow), diffrax.ControlTerm(rough, lambda t0, t1: (increments[index(t0)],) * 3)
    )
    zero = jnp.zeros((), z0.dtype)
    (_, energy, martingale), path = fixed_steps(
        terms, diffrax.Euler(), times, (z0, zero, zero), save=lambda state: state[0]
    )
    return ControlledPath(path, energy, martingale)
