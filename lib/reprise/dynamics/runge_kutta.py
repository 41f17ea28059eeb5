"""Runge-Kutta methods that Diffrax lacks."""

from __future__ import annotations

from typing import ClassVar

import diffrax
import numpy as np


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
