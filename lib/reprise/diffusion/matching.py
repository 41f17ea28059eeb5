r"""Flow matching: velocity fields by least squares on the speed of paths, and what their flows do to a coupling.

A coupling is a pair of arrays $(X_0, X_1)$, one pair of points a row. The minimiser of `matching_loss` is
$v^*(x, t) = E[\dot X_t \mid X_t = x]$; on straight paths its flow, followed by `reprise.diffusion.samplers`, is the
rectified flow, and its end points are the rectified coupling (Liu et al. 2022, arXiv:2209.03003, section 2).
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from reprise.diffusion.interpolants import STRAIGHT, Interpolant
from reprise.diffusion.samplers import Trajectory

Velocity = Callable[[Array, Array], Array]


def append_time(z: Float[Array, "*batch d"], t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch d+1"]:
    """Positions with their time as one more coordinate, the input of a network that plays a velocity field.

    Args:
        z: positions.
        t: times, one a position or one for all.
    """
    t = jnp.broadcast_to(jnp.asarray(t, z.dtype), z.shape[:-1])
    return jnp.concatenate([z, t[..., None]], -1)


def matching_loss(
    velocity: Velocity,
    x0: Float[Array, "*batch d"],
    x1: Float[Array, "*batch d"],
    t: Float[ArrayLike, "*batch"],
    path: Interpolant = STRAIGHT,
) -> Float[Array, ""]:
    r"""Mean of $\|\dot X_t - v(X_t, t)\|^2$ over a batch (Liu et al. 2022, arXiv:2209.03003, equation 1).

    At the minimiser and with $t$ uniform this is $V(X_0,X_1)=\int_0^1E\,\|\dot X_t-E[\dot X_t|X_t]\|^2dt$, how much the
    paths of the coupling cross; on straight paths $E\|X_1-X_0\|^2 = V(X_0,X_1) + S(Z) + E\|Z_1-Z_0\|^2$, with the
    `straightness` $S$ of the flow $Z$ (their Theorem 3.7).

    Args:
        velocity: ``velocity(x, t)``.
        x0: starting points.
        x1: their partners.
        t: times in $[0, 1]$.
        path: how partners are joined.
    """
    x, speed = path(x0, x1, t)
    return jnp.mean(jnp.sum((speed - velocity(x, t)) ** 2, -1))


def straightness(flow: Trajectory) -> Float[Array, ""]:
    r"""$S(Z)=\int_0^1E\,\|(Z_1-Z_0)-\dot Z_t\|^2dt$: 0 iff all trajectories are straight at constant speed.

    Measured on the flow's own trajectories; the mean is over points, the integral by the trapezoidal rule on the nodes
    (Liu et al. 2022, arXiv:2209.03003, section 3.2).

    Args:
        flow: trajectories of points in the last axis, ``positions[nodes, ..., d]``.
    """
    z = flow.positions
    bend = jnp.sum((z[-1] - z[0] - flow.velocities) ** 2, -1)
    return jnp.trapezoid(bend.reshape(len(flow.times), -1).mean(1), flow.times)
