r"""What an adaptive Runge-Kutta solver knows about the cost of an equation: its error and stiffness estimates.

`CostTracking` wraps a Diffrax solver and sums both estimates over the accepted steps, inside the solve and
differentiably, so that they can be penalised while an equation is learned (Pal et al. 2021, arXiv:2105.03918).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reprise.dynamics.explicit import method
from reprise.dynamics.wrapped_solver import WrappedSolver


class SolverCosts(NamedTuple):
    r"""A solver's estimates of how hard an equation is to solve.

    Attributes:
        error: local error $E$ of a step, or the sum $R_E=\sum_j E_j|h_j|$ over steps.
        stiffness: Shampine's estimate $S$ of the Jacobian's dominant eigenvalue (per unit of time) at a step, or the
            sum $R_S=\sum_j S_j$ over steps.
    """

    error: Float[Array, "*batch"]
    stiffness: Float[Array, "*batch"]


class CostTracking(WrappedSolver):
    r"""A Runge-Kutta solver that also sums its own error and stiffness estimates over the accepted steps.

    The solution, the error estimate and hence every step are those of the wrapped solver. The sums ride in the solver
    state, which Diffrax leaves unchanged when it rejects a step. Solve with ``SaveAt(..., solver_state=True)`` and read
    them off with `accumulated_costs`; gradients flow into them as into the solution, through the accepted steps with
    the step sizes held fixed (Diffrax's controllers stop the gradient through $h$).

    The state must be one array ``[*batch, dim]``: the estimates are Euclidean norms over ``dim``, averaged over the
    batch. $R_E$ and $R_S$ are the regularisers of Pal et al. (2021, arXiv:2105.03918).

    Args:
        solver: an explicit pair whose last two stages sit at the end of the step, such as `diffrax.Tsit5`,
            `diffrax.Dopri5` or `diffrax.Dopri8`.
        eps: added under the square root of every norm, so that the gradient exists where an estimate is zero.

    Raises:
        ValueError: the solver is not such a pair.
    """

    solver: diffrax.AbstractERK
    eps: float = 1e-20

    def __check_init__(self):
        _check_tableau(self.solver)

    def init(self, terms, t0, t1, y0, args):
        """The wrapped solver's state and two empty sums."""
        empty = jnp.zeros((), jnp.result_type(y0))
        return self.solver.init(terms, t0, t1, y0, args), SolverCosts(empty, empty)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step of the wrapped solver; its estimates are added to the sums."""
        inner, sums = solver_state
        y1, error, dense, inner, result = self.solver.step(terms, t0, t1, y0, args, inner, made_jump)
        h = t1 - t0
        costs = _costs(self.solver, error, dense["k"], h, self.eps)
        sums = SolverCosts(sums.error + jnp.mean(costs.error) * jnp.abs(h), sums.stiffness + jnp.mean(costs.stiffness))
        return y1, error, dense, (inner, sums), result


def accumulated_costs(solution: diffrax.Solution) -> SolverCosts:
    r"""The sums $R_E$ and $R_S$ of a solve with `CostTracking` and ``SaveAt(..., solver_state=True)``, as scalars."""
    return solution.solver_state[1]


def step_costs(
    solver: diffrax.AbstractERK,
    field: Callable[[Float[Array, ""], Float[Array, "*batch dim"], Any], Float[Array, "*batch dim"]],
    t: Float[Array, ""],
    z: Float[Array, "*batch dim"],
    h: Float[Array, ""],
    args: Any = None,
    *,
    eps: float = 0.0,
) -> SolverCosts:
    r"""Error and stiffness estimates of a single step of size ``h`` from ``z`` at time ``t``, per sample.

    With $k_i=f(g_i)$ the slopes at the stages $g_i$ of an embedded pair with weights $b$ and $\tilde b$,
    $$E=\Big\|h\sum_i(b_i-\tilde b_i)k_i\Big\|_2,\qquad S=\frac{\|f(g_s)-f(g_{s-1})\|_2}{\|g_s-g_{s-1}\|_2}.$$
    Both stages of $S$ lie at $t+h$, so anything that depends on time only drops out (Shampine 1977).

    Args:
        solver: as for `CostTracking`.
        field: right-hand side ``field(t, z, args)``.
        t, z, h: where the step starts, and its size.
        args: passed on to ``field``.
        eps: added under the square root of every norm.
    """
    _check_tableau(solver)
    # Written out, which compiles in a fraction of the time of the solver's own loop over stages.
    tableau, slopes = solver.tableau, [field(t, z, args)]
    for row, c in zip(tableau.a_lower, tableau.c, strict=True):
        slopes.append(field(t + float(c) * h, z + h * _combine(row, slopes), args))
    return _costs(solver, h * _combine(tableau.b_error, slopes), h * jnp.stack(slopes), h, eps)


def _combine(weights, slopes):
    return sum(float(weight) * slope for weight, slope in zip(weights, slopes, strict=True) if weight)


def costs_at(
    solver: diffrax.AbstractERK,
    field: Callable[[Float[Array, ""], Float[Array, "*batch dim"], Any], Float[Array, "*batch dim"]],
    times: Float[Array, " slots"],
    states: Float[Array, "slots *batch dim"],
    t: Float[Array, ""],
    args: Any = None,
    *,
    eps: float = 0.0,
) -> tuple[SolverCosts, Float[Array, ""]]:
    r"""Estimates at one time of a solution: one step more of the solver, of the size that it took there.

    The state at ``t`` is found from the last visited one by a classical Runge-Kutta step (of length zero if ``t`` is a
    visited time). Gradients flow into that state and the estimates; times and step sizes are held fixed. Local
    regularisation (Pal et al. 2023, arXiv:2303.02262) penalises $E(t)\,|h|$ at a single random $t$: uniform in time,
    or uniform among the visited times, in which case its mean is $R_E$ over the number of steps.

    Args:
        solver: as for `CostTracking`.
        field: right-hand side ``field(t, z, args)``.
        times: of the initial state and of all accepted steps, increasing, filled up with infinities
            (``SaveAt(t0=True, steps=True)``).
        states: at these times.
        t: from the first visited time to before the last.
        args: passed on to ``field``.
        eps: added under the square root of every norm.

    Returns:
        The estimates per sample, and the size $h$ of the step that contains ``t``.
    """
    times, t = jax.lax.stop_gradient((times, t))
    step = jnp.clip(jnp.sum(times <= t) - 1, 0, jnp.sum(jnp.isfinite(times)) - 2)
    h = times[step + 1] - times[step]
    z, *_ = method(4).step(diffrax.ODETerm(field), times[step], t, states[step], args, None, made_jump=False)
    return step_costs(solver, field, t, z, h, args, eps=eps), h


def _costs(solver, error, increments, h, eps) -> SolverCosts:
    """Per-sample estimates from a step's embedded error and its increments ``h * f(g_i)``, shape ``[stages, ...]``."""
    tableau = solver.tableau
    # The stages' difference from the tableau: subtracting the stages themselves would lose digits.
    last, previous = tableau.a_lower[-1], np.append(tableau.a_lower[-2], 0.0)
    apart = jnp.tensordot(jnp.asarray(last - previous, increments.dtype), increments[:-1], axes=1, precision="highest")
    slopes = (increments[-1] - increments[-2]) / h
    return SolverCosts(_norm(error, eps), _norm(slopes, eps) / _norm(apart, eps))


def _norm(x: Float[Array, "*batch dim"], eps: float) -> Float[Array, "*batch"]:
    return jnp.sqrt(jnp.sum(x**2, axis=-1) + eps)


def _check_tableau(solver) -> None:
    tableau = getattr(solver, "tableau", None)
    explicit = isinstance(tableau, diffrax.ButcherTableau) and not tableau.implicit
    if not explicit or len(tableau.c) < 2 or not np.all(tableau.c[-2:] == 1):
        raise ValueError(
            f"{type(solver).__name__} is not an explicit Runge-Kutta pair whose last two stages sit at the end of the "
            "step, which the stiffness estimate needs: use Tsit5, Dopri5 or Dopri8"
        )
