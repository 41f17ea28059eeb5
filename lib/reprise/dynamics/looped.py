r"""Explicit Runge-Kutta methods with their stages in a loop, for programs that hardly run.

A compiled program with `reprise.dynamics.explicit.method` holds a copy of the vector field for every stage, which is
the fastest to run. Differentiating through a few hundred steps of a small network takes less time than compiling four
copies of it, forwards and backwards; here there is one.
"""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reprise.dynamics.explicit import ExplicitRungeKutta, FixedStepSolver


class Looped(FixedStepSolver):
    r"""A Runge-Kutta method in which each stage needs only the one before: $k_i=f(t+c_ih,\,y+a_ihk_{i-1})$.

    The steps are those of the method it was made of, up to rounding. Euler's, Heun's and the classical fourth-order
    method are of this kind.

    Args:
        method: whose coefficients are to be used, such as ``reprise.dynamics.explicit.method(4)``.

    Raises:
        ValueError: a stage of ``method`` needs more than the one before.
    """

    a: Float[np.ndarray, " stages"]
    b: Float[np.ndarray, " stages"]
    c: Float[np.ndarray, " stages"]

    def __init__(self, method: ExplicitRungeKutta):
        lower = np.tril(method.a, -1)
        self.a, self.b, self.c = np.append(0.0, np.diagonal(lower, -1)), method.b, method.c
        if np.any(np.tril(lower, -2)):
            raise ValueError("a stage of this method needs more than the stage before: take the method as it is")

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step from ``t0`` to ``t1``, without an error estimate."""
        control = terms.contr(t0, t1)

        def stage(carry, coefficients):
            slope, y1 = carry
            a, b, c = coefficients
            y = jax.tree.map(lambda y, k: y + a.astype(y.dtype) * k, y0, slope)
            slope = terms.vf_prod(t0 + c.astype(t0.dtype) * (t1 - t0), y, args, control)
            return (slope, jax.tree.map(lambda y, k: y + b.astype(y.dtype) * k, y1, slope)), None

        nothing = jax.tree.map(jnp.zeros_like, y0)
        coefficients: tuple[Array, ...] = tuple(jnp.asarray(x) for x in (self.a, self.b, self.c))
        (_, y1), _ = jax.lax.scan(stage, (nothing, y0), coefficients)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful
