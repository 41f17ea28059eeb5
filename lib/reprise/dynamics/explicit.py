r"""Explicit Runge-Kutta methods written out: coefficients as arrays, and Diffrax's own pairs without their loop.

`method` has the classical methods of order 1 to 4 for fixed steps (Diffrax has no RK4), `from_tableau` the better half
of a pair, `Unrolled` a pair with its error estimate for adaptive steps, and `steps_on_host` takes steps in NumPy.
Written out, a method is plain arithmetic: it allows forward- and reverse-mode differentiation alike, and is quicker to
trace and compile than Diffrax's loop over stages.
"""

from __future__ import annotations

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reprise.dynamics.wrapped_solver import WrappedSolver


class FixedStepSolver(diffrax.AbstractSolver):
    """A solver without memory or error estimate, defined by its ``step`` alone."""

    term_structure = diffrax.AbstractTerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms):
        """Unknown (None): it depends on the coefficients."""
        return

    def func(self, terms, t0, y0, args):
        """The right-hand side."""
        return terms.vf(t0, y0, args)

    def init(self, terms, t0, t1, y0, args):
        """No state is carried between steps."""
        return


class ExplicitRungeKutta(FixedStepSolver):
    r"""The explicit method $k_i=f(t+c_ih,\,y+h\sum_{j<i}a_{ij}k_j)$, $y\leftarrow y+h\sum_ib_ik_i$, for fixed steps.

    As a Diffrax solver it is a pytree with the coefficients as leaves, so that they may be arguments of a compiled
    program, mapped over, or learned. Above the diagonal $a$ is ignored. Methods with fewer stages are filled up with
    stages of weight zero (see `method`). Coefficients that are NumPy arrays are compiled in.

    Args:
        a: shape ``[stages, stages]``.
        b: weights, shape ``[stages]``.
        c: times of the stages, shape ``[stages]``; usually the row sums of ``a``.
    """

    a: Float[Array, "stages stages"]
    b: Float[Array, " stages"]
    c: Float[Array, " stages"]

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step from ``t0`` to ``t1``, without an error estimate."""
        control, slopes = terms.contr(t0, t1), []

        def ahead(coefficients):
            y = y0
            for coefficient, slope in zip(coefficients, slopes, strict=False):
                if isinstance(coefficient, np.floating):  # known while tracing: a zero costs nothing
                    coefficient = float(coefficient)
                    if coefficient == 0:
                        continue
                y = jax.tree.map(lambda y, k, c=coefficient: y + c * k, y, slope)
            return y

        for i in range(len(self.b)):
            slopes.append(terms.vf_prod(t0 + self.c[i] * (t1 - t0), ahead(self.a[i]), args, control))
        y1 = ahead(self.b)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


class Unrolled(WrappedSolver):
    """An explicit Diffrax pair with its stages written out: the same steps and errors, quicker to compile and to run.

    Diffrax loops over the stages, which suits large vector fields. For small networks the loop costs more than what is
    in it, the more so in reverse mode. As in Diffrax, the last slope of a step of a pair such as `diffrax.Tsit5` is
    handed on as the first one of the next.

    Args:
        solver: such as `diffrax.Tsit5`, `diffrax.Dopri5` or `diffrax.Bosh3`.
    """

    solver: diffrax.AbstractERK

    def _hands_on(self, terms, t0, t1, y0, args):
        return self.solver.tableau.fsal and not terms.is_vf_expensive(t0, t1, y0, args)

    def init(self, terms, t0, t1, y0, args):
        """The first slope, if slopes are handed on."""
        return terms.vf(t0, y0, args) if self._hands_on(terms, t0, t1, y0, args) else None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step from ``t0`` to ``t1``."""
        tableau, control = self.solver.tableau, terms.contr(t0, t1)
        hands_on = self._hands_on(terms, t0, t1, y0, args)
        if not hands_on:
            increments = [terms.vf_prod(t0, y0, args, control)]
        elif isinstance(made_jump, (bool, np.bool_)) and not made_jump:
            increments = [terms.prod(solver_state, control)]
        else:
            slope = jax.lax.cond(made_jump, lambda: terms.vf(t0, y0, args), lambda: solver_state)
            increments = [terms.prod(slope, control)]

        def combine(weights):
            pairs = [(float(w), k) for w, k in zip(weights, increments, strict=True) if w]
            return jax.tree.map(
                lambda *ks: sum(w * k for (w, _), k in zip(pairs, ks, strict=True)), *(k for _, k in pairs)
            )

        for row, c in zip(tableau.a_lower, tableau.c, strict=True):
            y, t = jax.tree.map(jnp.add, y0, combine(row)), t0 + float(c) * (t1 - t0)
            if hands_on and len(increments) == len(tableau.c):  # the last stage, which is the step itself
                solver_state = terms.vf(t, y, args)
                increments.append(terms.prod(solver_state, control))
            else:
                increments.append(terms.vf_prod(t, y, args, control))
        y1 = y if hands_on else jax.tree.map(jnp.add, y0, combine(tableau.b_sol))
        dense = {"y0": y0, "y1": y1, "k": jax.tree.map(lambda *ks: jnp.stack(ks), *increments)}
        return y1, combine(tableau.b_error), dense, solver_state, diffrax.RESULTS.successful


_ROWS = {  # rows of a below the diagonal, and b, by the order of the method
    1: ([], [1.0]),
    2: ([[1.0]], [0.5, 0.5]),
    3: ([[0.5], [-1.0, 2.0]], [1 / 6, 2 / 3, 1 / 6]),
    4: ([[0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
}


def method(order: int, stages: int = 4) -> ExplicitRungeKutta:
    """Euler's, Heun's, Kutta's third-order or the classical fourth-order method, for ``order`` 1 to 4.

    Args:
        order: of convergence, and the number of stages that count.
        stages: how many to fill up to; a stage of weight zero costs an evaluation and changes nothing.

    Raises:
        ValueError: there is no such method here, or ``stages`` are fewer than ``order``.
    """
    if order not in _ROWS or stages < order:
        raise ValueError(f"order must be 1 to 4 and stages no fewer, not {order} and {stages}")
    rows, weights = _ROWS[order]
    a, b = np.zeros((stages, stages)), np.zeros(stages)
    for i, row in enumerate(rows, 1):
        a[i, : len(row)] = row
    b[: len(weights)] = weights
    return ExplicitRungeKutta(a, b, a.sum(1))


def from_tableau(tableau: diffrax.ButcherTableau) -> ExplicitRungeKutta:
    """The better of the two methods of an explicit Diffrax pair, for fixed steps: ``from_tableau(Tsit5.tableau)``."""
    stages = len(tableau.b_sol)
    a = np.zeros((stages, stages))
    for i, row in enumerate(tableau.a_lower, 1):
        a[i, : len(row)] = row
    return ExplicitRungeKutta(a, np.asarray(tableau.b_sol), np.append(0.0, tableau.c))


def steps_on_host(
    field: Callable[[float, np.ndarray], np.ndarray],
    times: Float[np.ndarray, " steps_plus_1"],
    y0: Float[np.ndarray, "*shape"],
    solver: ExplicitRungeKutta | None = None,
) -> Float[np.ndarray, " steps_plus_1 *shape"]:
    r"""Steps of an explicit Runge-Kutta method along a grid, in NumPy and double precision.

    For sweeps over equations of many sizes, each of which XLA would have to compile; otherwise take
    `reprise.dynamics.fixed_steps.fixed_steps`, whose numbers these are.

    Args:
        field: right-hand side ``field(t, y)``.
        times: from the initial to the final time.
        y0: initial state.
        solver: the classical method of order 4, unless given.

    Returns:
        The state at all ``times``.
    """
    solver = solver or method(4)
    y = np.asarray(y0, float)
    states = [y]
    for t, h in zip(times[:-1], np.diff(times), strict=True):
        slopes = []
        for row, share in zip(solver.a, solver.c, strict=True):
            ahead = sum(a * k for a, k in zip(row, slopes, strict=False) if a)
            slopes.append(field(t + share * h, y + h * ahead))
        y = y + h * sum(b * k for b, k in zip(solver.b, slopes, strict=True) if b)
        states.append(y)
    return np.stack(states)
