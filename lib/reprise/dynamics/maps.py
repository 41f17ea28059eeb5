r"""Differential equations as discrete-time systems: the map from one sample to the next, and its iterates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reprise.dynamics.explicit import method
from reprise.dynamics.fixed_steps import fixed_steps

Field = Callable[[Float[Array, ""], Float[Array, "*shape"], Any], Float[Array, "*shape"]]
Map = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]


def flow_map(field: Field, dt: float, substeps: int = 1, solver: diffrax.AbstractSolver | None = None) -> Map:
    r"""The map $y(t)\mapsto y(t+\mathrm dt)$ of an autonomous equation $\dot y=f(y)$, as a solver computes it.

    Sampled solutions are its iterates, and its Jacobian is that of the discrete system itself, not an approximation.

    Args:
        field: right-hand side ``field(t, y, args)``, as for Diffrax; called with ``args=None``.
        dt: time between samples.
        substeps: equal steps that the solver takes in that time.
        solver: a Diffrax solver; the classical Runge-Kutta method by default (`reprise.dynamics.explicit.method`).

    Raises:
        ValueError: fewer than one substep.
    """
    if substeps < 1:
        raise ValueError(f"substeps must be at least 1, not {substeps}")
    # Written out, the method has both derivatives: forward mode for tangent vectors, reverse mode for training.
    solver, terms = solver or method(4), diffrax.ODETerm(field)
    times = np.linspace(0.0, dt, substeps + 1)
    return lambda y: fixed_steps(terms, solver, times, y)[0]


def orbit(step: Map, start: Float[Array, "*shape"], length: int) -> Float[Array, " length *shape"]:
    """The iterates ``step(start)``, ``step(step(start))``, ... of a map, ``length`` of them."""

    def advance(y, _):
        y = step(y)
        return y, y

    return jax.lax.scan(advance, jnp.asarray(start), length=length)[1]


def orbit_with_growth(
    step: Map, start: Float[Array, " dim"], tangent: Float[Array, " dim"], length: int
) -> tuple[Float[Array, "length dim"], Float[Array, " length"]]:
    r"""Iterates of a map, and the log factor by which each step stretches a tangent vector pushed along with them.

    The vector goes through the Jacobians, $v\leftarrow Jv/\lVert Jv\rVert$, and turns towards the direction of fastest
    growth. The mean of $\ln\lVert Jv\rVert$ over steps, the first ones left out, is the largest Lyapunov exponent per
    step (Benettin et al. 1980). Divide it by the time between steps for the exponent per unit of time.

    Args:
        step: the map.
        start: where the orbit begins; it is not among the iterates returned.
        tangent: first vector, of any length but zero.
        length: number of iterates.
    """

    def advance(carry, _):
        state, vector = carry
        state, vector = jax.jvp(step, (state,), (vector,))
        size = jnp.sqrt(jnp.sum(vector**2))
        return (state, vector / size), (state, jnp.log(size))

    first = tangent / jnp.sqrt(jnp.sum(tangent**2))
    return jax.lax.scan(advance, (start, first), length=length)[1]


def log_product_norms(jacobians: Float[np.ndarray, "length *batch dim dim"]) -> Float[np.ndarray, " length *batch"]:
    r"""$\ln\lVert J_t\cdots J_1\rVert_2$ for $t=1,\dots,T$; the products are rescaled on the way and never overflow.

    Args:
        jacobians: $J_1,\dots,J_T$, time first, then any batch axes.
    """
    product, scale = np.eye(jacobians.shape[-1]), 0.0
    scaled, scales = [], []
    for jacobian in np.asarray(jacobians, float):
        product = jacobian @ product
        size = np.sqrt(np.sum(product**2, axis=(-2, -1)))
        scale = scale + np.log(size)
        product = product / size[..., None, None]
        scaled.append(product)
        scales.append(scale)
    return np.stack(scales) + np.log(np.linalg.norm(np.stack(scaled), 2, axis=(-2, -1)))
