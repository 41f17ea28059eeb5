r"""Layers that are fixed points of a map (deep equilibrium models): how to solve for one, and its gradient.

`optimistix.fixed_point` solves for one and differentiates implicitly with a linear solve. What it lacks is Anderson's
acceleration, and for a layer inside a training loop a solve of a whole batch whose cost is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Map = Callable[[PyTree[Array], Float[Array, "*batch dim"]], Float[Array, "*batch dim"]]


class FixedPoint(NamedTuple):
    """Where an iteration ended, and how it got there.

    Attributes:
        value: the last iterate.
        residuals: norms of $f(z) - z$ at the iterates before it, the start first; NaN for iterations that were saved
            because the tolerance was met.
    """

    value: Float[Array, "*batch dim"]
    residuals: Float[Array, " iterations *batch"]


def anderson(
    function: Callable[[Float[Array, "*batch dim"]], Float[Array, "*batch dim"]],
    start: Float[Array, "*batch dim"],
    iterations: int,
    *,
    depth: int = 5,
    damping: float = 0.0,
    ridge: float | None = None,
    tolerance: float | None = None,
) -> FixedPoint:
    r"""Anderson's acceleration of the fixed-point iteration $z\leftarrow f(z)$, one evaluation of $f$ an iteration.

    With the residual $r_k = f(z_k) - z_k$ and the last $m$ differences of residuals, $Y$, and of iterates, $S$, as
    columns,

    $$\gamma = \arg\min_\gamma\lVert r_k - Y\gamma\rVert^2,\qquad
      z_{k+1} = z_k - S\gamma + (1-\beta)(r_k - Y\gamma) :$$

    a damped step from the combination of the last $m+1$ iterates that makes their combined residual smallest (Anderson
    1965; Walker & Ni 2011). For an affine $f$ and unlimited depth $z_{k+1}$ is the image under $f$ of the $k$-th
    iterate of GMRES. Depth 0 is the plain iteration. Every vector of a batch has its own combination.

    Args:
        function: $f$.
        start: $z_0$.
        iterations: how many, or with a ``tolerance`` how many at most.
        depth: $m$.
        damping: $\beta$, from 0 to below 1.
        ridge: the squared norms on the diagonal of $Y^\top Y$ are enlarged by this fraction, which keeps $\gamma$ small
            where differences are nearly parallel; ten rounding errors by default.
        tolerance: stop as soon as no residual of the batch is larger in norm. The loop cannot be differentiated in
            reverse then.

    Raises:
        ValueError: ``depth`` is negative or ``damping`` not in $[0, 1)$.
    """
    if depth < 0 or not 0 <= damping < 1:
        raise ValueError(f"depth must be at least 0 and damping in [0, 1), not {depth} and {damping}")
    ridge = 10 * jnp.finfo(start.dtype).eps if ridge is None else ridge

    def advance(state, k):
        z, last_z, last_r, moves, changes = state
        r = function(z) - z
        step = (1 - damping) * r
        if depth:
            slot, seen = (k - 1) % depth, k > 0
            change = jnp.where(seen, r - last_r, 0)
            move = jnp.where(seen, z - last_z, 0) + (1 - damping) * change
            changes = jax.lax.dynamic_update_index_in_dim(changes, change, slot, -2)
            moves = jax.lax.dynamic_update_index_in_dim(moves, move, slot, -2)
            weights = _least_squares(changes, r, ridge)
            step = step - jnp.einsum("...m,...md->...d", weights, moves)
        return (z + step, z, r, moves, changes), jnp.linalg.norm(r, axis=-1)

    history = jnp.zeros((*start.shape[:-1], depth, start.shape[-1]), start.dtype)
    state = (start, start, start, history, history)
    if tolerance is None:
        state, residuals = jax.lax.scan(advance, state, jnp.arange(iterations))
        return FixedPoint(state[0], residuals)

    def body(carry):
        k, state, residuals = carry
        state, size = advance(state, k)
        return k + 1, state, residuals.at[k].set(size)

    def unfinished(carry):
        k, _, residuals = carry
        return (k < iterations) & ((k == 0) | (residuals[k - 1] > tolerance).any())

    residuals = jnp.full((iterations, *start.shape[:-1]), jnp.nan, start.dtype)
    _, state, residuals = jax.lax.while_loop(unfinished, body, (0, state, residuals))
    return FixedPoint(state[0], residuals)


def _least_squares(
    rows: Float[Array, "*batch m dim"], target: Float[Array, "*batch dim"], ridge: float
) -> Float[Array, "*batch m"]:
    """Coefficients of the combination of ``rows`` nearest to ``target``.

    The normal equations by Gauss-Jordan elimination, for all of a batch at once: LAPACK would be called for every small
    matrix. A row that is a combination of those before it, up to its ridge, gets zero; so does a row of zeros.
    """
    table = jnp.einsum("...md,...nd->...mn", rows, jnp.concatenate([rows, target[..., None, :]], -2))
    unit = jnp.eye(*table.shape[-2:], dtype=rows.dtype)
    ridges = ridge * jnp.diagonal(table, axis1=-2, axis2=-1)

    def eliminate(table, k):
        at = partial(jax.lax.dynamic_index_in_dim, index=k, keepdims=False)
        row, column, here = at(table, axis=-2), at(table, axis=-1), at(unit, axis=-1)
        pivot = at(column, axis=-1)[..., None]
        independent = 2 * pivot > at(ridges, axis=-1)[..., None]
        shares = jnp.where(independent, (column - here) / jnp.where(independent, pivot, 1), here)
        return table - shares[..., None] * row[..., None, :], None

    table, _ = jax.lax.scan(eliminate, table + ridges[..., None] * unit, jnp.arange(rows.shape[-2]))
    return table[..., -1]


@partial(jax.custom_vjp, nondiff_argnums=(0, 3, 4, 5))
def equilibrium(
    function: Map,
    args: PyTree[Array],
    start: Float[Array, "*batch dim"],
    iterations: int = 25,
    damping: float = 0.0,
    depth: int = 0,
) -> Float[Array, "*batch dim"]:
    r"""The fixed point $z^* = f(a, z^*)$ by a set number of iterations, plain or accelerated (see `anderson`).

    The gradient is that of the fixed point and not of the iteration: for a cotangent $g$, the equation
    $u = g + (\partial_zf)^\top u$ is solved by as many iterations of its own, and $(\partial_af)^\top u$ returned
    (Bai et al. 2019, theorem 1). Memory does not grow with the number of iterations, and ``start`` gets no gradient.
    For a contraction both converge. Neither is checked: look at $f(a, z^*) - z^*$.

    Args:
        function: $f$, called as ``f(args, z)``; it must not close over traced values, which belong into ``args``.
        args: $a$: parameters, inputs, whatever is to be differentiated.
        start: where to begin.
        iterations: of either solve.
        damping: $\beta$, from 0 to below 1.
        depth: of Anderson's acceleration; 0 for none.
    """
    return anderson(partial(function, args), start, iterations, depth=depth, damping=damping).value


def _forward(function, args, start, iterations, damping, depth):
    z = equilibrium(function, args, start, iterations, damping, depth)
    return z, (args, z)


def _backward(function, iterations, damping, depth, kept, cotangent):
    args, z = kept
    _, pull_state = jax.vjp(partial(function, args), z)
    adjoint = lambda u: cotangent + pull_state(u)[0]
    solved = anderson(adjoint, cotangent, iterations, depth=depth, damping=damping).value
    _, pull_args = jax.vjp(lambda args: function(args, z), args)
    return pull_args(solved)[0], jnp.zeros_like(z)


equilibrium.defvjp(_forward, _backward)
