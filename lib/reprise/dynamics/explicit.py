r"""Explicit Runge-Kutta methods whose coefficients are arrays: one compiled program solves with any of them."""

from __future__ import annotations

import diffrax
import jax
import numpy as np
from jaxtyping import Array, Float


class ExplicitRungeKutta(diffrax.AbstractSolver):
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
