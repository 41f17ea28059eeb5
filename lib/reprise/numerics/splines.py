"""Splines in one variable as sums of B-splines."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def cubic_b_splines(
    x: Float[Array, "*batch"], low: float, high: float, intervals: int
) -> Float[Array, "*batch intervals+3"]:
    r"""Values of the cubic B-splines on equal intervals, a basis of all piecewise cubics with two derivatives.

    With the width $h$ of an interval and $t = (x - \text{low})/h$ the functions are $\beta(t - k)$,
    $k = -1, \dots, \text{intervals} + 1$, and $\beta(t) = \tfrac16\,[(2 - |t|)_+^3 - 4\,(1 - |t|)_+^3]$ (de Boor 1978,
    chapter IX). On the whole of [low, high] they sum to one. Beyond it they are held at their values at its ends.

    Args:
        x: where.
        low, high: ends of the first and the last interval.
        intervals: how many.
    """
    t = (jnp.clip(x, low, high) - low) * (intervals / (high - low))
    apart = jnp.abs(t[..., None] - jnp.arange(-1, intervals + 2, dtype=t.dtype))
    return (jax.nn.relu(2 - apart) ** 3 - 4 * jax.nn.relu(1 - apart) ** 3) / 6
