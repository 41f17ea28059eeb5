"""Runge-Kutta methods that Diffrax lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import diffrax
import numpy as np
from jaxtyping import Float


class RK4(diffrax.AbstractERK):
    """The classical method of order 4, with four stages, for fixed steps (Kutta 1901).

    It has no error estimate, and refuses a step size controller that asks for one: use `diffrax.ConstantStepSize` or
    `diffrax.StepTo`, or call ``step`` yourself.
    """

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
        b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        b_error=np.zeros(4),
        c=np.array([0.5, 0.5, 1.0]),
    )
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms):
        """The order of convergence, 4."""
        return 4

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step from ``t0`` to ``t1``; its error estimate is None."""
        y1, _, *rest = super().step(terms, t0, t1, y0, args, solver_state, made_jump)
        return y1, None, *rest


def steps_on_host(
    field: Callable[[float, np.ndarray], np.ndarray],
    times: Float[np.ndarray, " steps_plus_1"],
    y0: Float[np.ndarray, "*shape"],
    tableau: diffrax.ButcherTableau = RK4.tableau,
) -> Float[np.ndarray, " steps_plus_1 *shape"]:
    r"""Steps of an explicit Runge-Kutta method along a grid, in NumPy and double precision.

    For sweeps over equations of many sizes, each of which XLA would have to compile; otherwise take
    `reprise.dynamics.fixed_steps.fixed_steps`, whose numbers these are.

    Args:
        field: right-hand side ``field(t, y)``.
        times: from the initial to the final time.
        y0: initial state.
        tableau: of the method, such as ``diffrax.Tsit5.tableau``.

    Returns:
        The state at all ``times``.
    """
    y = np.asarray(y0, float)
    states = [y]
    for t, h in zip(times[:-1], np.diff(times), strict=True):
        slopes = [field(t, y)]
        for share, row in zip(tableau.c, tableau.a_lower, strict=True):
            ahead = sum(a * k for a, k in zip(row, slopes, strict=True) if a)
            slopes.append(field(t + share * h, y + h * ahead))
        y = y + h * sum(b * k for b, k in zip(tableau.b_sol, slopes, strict=True) if b)
        states.append(y)
    return np.stack(states)
