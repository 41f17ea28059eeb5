r"""Higher time derivatives of a solution, by Taylor-mode automatic differentiation of its equation."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax.experimental.jet import jet
from jaxtyping import Array, Float

Field = Callable[[Float[Array, ""], Float[Array, "*batch dim"]], Float[Array, "*batch dim"]]


def solution_derivatives(field: Field, order: int) -> Callable[..., list[Float[Array, "*batch dim"]]]:
    r"""Time derivatives $\dot z,\ddot z,\dots,z^{(K)}$ of the solutions of $\dot z=f(t,z)$, as a function of $(t,z)$.

    The first is $f$ itself and the second $\partial_tf+(\partial_zf)f$. They are built up one by one: the derivatives
    of $z$ up to $k$ are the Taylor coefficients from which one pass of Taylor mode through $f$ gives the next
    (Kelly et al. 2020, arXiv:2007.04504). With `jax.jvp` alone the cost of the $K$-th would grow exponentially in $K$.

    Args:
        field: ``f(t, z)``.
        order: $K$, at least 1.

    Raises:
        ValueError: the order is below 1.
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, not {order}")

    def derivatives(t, z):
        t = jnp.asarray(t, jnp.result_type(z))
        known = [field(t, z)]
        for _ in range(order - 1):
            clock = [jnp.ones_like(t)] + [jnp.zeros_like(t)] * (len(known) - 1)
            _, higher = jet(field, (t, z), (clock, known))
            known = [known[0], *higher]
        return known

    return derivatives


def with_taylor_penalty(field: Field, order: int) -> Callable:
    r"""A right-hand side with a second component that integrates $\|\mathrm d^Kz/\mathrm dt^K\|^2$ along the solution.

    The state is the pair ``(z, r)`` of shapes ``[*batch, dim]`` and ``[*batch]``; start ``r`` at zero and read
    $R_K=\int\|z^{(K)}\|^2\mathrm dt$ off its end (Kelly et al. 2020, arXiv:2007.04504). For a step control that heeds
    $z$ alone, give the controller a norm of the first component.

    Args:
        field: ``f(t, z)``.
        order: $K$, at least 1.
    """
    derivatives = solution_derivatives(field, order)

    def augmented(t, state):
        known = derivatives(t, state[0])
        return known[0], jnp.sum(known[-1] ** 2, axis=-1)

    return augmented
