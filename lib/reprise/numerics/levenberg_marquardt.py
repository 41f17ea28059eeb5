r"""Levenberg-Marquardt steps for dense nonlinear least squares, in a scan that can be mapped over problems.

What it does beyond `optimistix.LevenbergMarquardt`: the caller supplies residuals *and* Jacobian together (one gradient
per residual, where a forward-mode Jacobian would cost a sweep per parameter), the linear system is solved on
the smaller side, of residuals or of parameters, and the number of steps is fixed, so that `jax.vmap` runs many problems
at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Residuals and their Jacobian at a parameter vector.
Linearised = Callable[
    [Float[Array, " parameters"]], tuple[Float[Array, " residuals"], Float[Array, "residuals parameters"]]
]


class Trace(NamedTuple):
    """What happened at every step.

    Attributes:
        loss: half the squared norm of the residuals after it.
        damping: $\\mu$ used in it.
    """

    loss: Float[Array, " steps"]
    damping: Float[Array, " steps"]


def damped_step(
    residuals: Float[Array, " m"], jacobian: Float[Array, "m p"], damping: Float[Array, ""] | float
) -> Float[Array, " p"]:
    r"""The step $-(J^\top J + \mu I)^{-1}J^\top r$: least $\lVert r + J\delta\rVert^2 + \mu\lVert\delta\rVert^2$.

    With fewer residuals than parameters it is computed as $-J^\top(JJ^\top + \mu I)^{-1}r$, the same vector.
    NaN where rounding has made the matrix indefinite.
    """
    m, p = jacobian.shape
    if m < p:
        return -jacobian.T @ _solve(jacobian @ jacobian.T + damping * jnp.eye(m, dtype=residuals.dtype), residuals)
    return -_solve(jacobian.T @ jacobian + damping * jnp.eye(p, dtype=residuals.dtype), jacobian.T @ residuals)


def levenberg_marquardt(
    linearised: Linearised, start: Float[Array, " parameters"], steps: int, *, damping: float = 1.0,
    success: float = 3.0, failure: float = 4.0,
) -> tuple[Float[Array, " parameters"], Trace]:  # fmt: skip
    """Minimise a sum of squares (Levenberg 1944, Marquardt 1963).

    A step that lowers the loss is taken and the damping divided by ``success``; one that does not (or is not finite) is
    dropped and the damping multiplied by ``failure``. One evaluation of ``linearised`` a step.

    Args:
        linearised: residuals and Jacobian at a parameter vector.
        start: where to begin.
        steps: number of steps tried.
        damping: $\\mu$ of the first step.
        success: see above; above 1.
        failure: see above; above 1.
    """
    if success <= 1 or failure <= 1:
        raise ValueError(f"success ({success}) and failure ({failure}) must be above 1")
    half = lambda r: 0.5 * r @ r

    def step(carry, _):
        params, residuals, jacobian, damping = carry
        trial = params + damped_step(residuals, jacobian, damping)
        new_residuals, new_jacobian = linearised(trial)
        better = half(new_residuals) < half(residuals)  # False for NaN
        choose = lambda new, old: jnp.where(better, new, old)
        carry = (
            choose(trial, params),
            choose(new_residuals, residuals),
            choose(new_jacobian, jacobian),
            choose(damping / success, damping * failure),
        )
        return carry, Trace(half(carry[1]), damping)

    first = (start, *linearised(start), jnp.asarray(damping, start.dtype))
    (params, *_), trace = jax.lax.scan(step, first, length=steps)
    return params, trace


def _solve(matrix: Float[Array, "n n"], vector: Float[Array, " n"]) -> Float[Array, " n"]:
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), vector)
