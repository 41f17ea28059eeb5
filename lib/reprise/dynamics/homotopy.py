r"""Homotopy continuation: differential equations whose solutions end at a fixed point of a map.

To solve $r(z) = z - f(z) = 0$, deform an equation that is solved already, at $z_0$, into this one, and follow the
solution. Each function returns a right-hand side for `diffrax.ODETerm`; the map takes the term's ``args`` as well, so
that inputs and parameters may be traced. The Jacobian enters by products only, solved with by Lineax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lineax as lx
from jaxtyping import Array, Float

Map = Callable[[Float[Array, " dim"], Any], Float[Array, " dim"]]
Field = Callable[[Float[Array, ""], Float[Array, " dim"], Any], Float[Array, " dim"]]


def fixed_point_homotopy(function: Map, start: Float[Array, " dim"]) -> Field:
    r"""The zero path of $H(z, \lambda) = \lambda\,(z - f(z)) + (1-\lambda)(z - z_0)$ as a differential equation.

    $$\frac{\mathrm dz}{\mathrm d\lambda} = -(\partial_zH)^{-1}\,\partial_\lambda H
      = \big(I - \lambda\,\partial_zf(z)\big)^{-1}\big(f(z) - z_0\big)$$

    Solved from $z_0$ at $\lambda = 0$ it arrives at $z = f(z)$ at $\lambda = 1$ whenever the matrix stays regular on
    the way, which a contraction guarantees (Ding et al. 2023, section 3; Allgower & Georg 1990).

    Args:
        function: $f$, called as ``f(z, args)``.
        start: $z_0$.
    """

    def field(t, z, args):
        return _solve(lambda z: z - t * function(z, args), z, function(z, args) - start)

    return field


def newton_homotopy(function: Map, start: Float[Array, " dim"]) -> Field:
    r"""The zero path of $H(z, \lambda) = r(z) - (1-\lambda)\,r(z_0)$, along which the residual shrinks linearly.

    $$\frac{\mathrm dz}{\mathrm d\lambda} = -\big(I - \partial_zf(z)\big)^{-1}r(z_0),\qquad
      r(z(\lambda)) = (1-\lambda)\,r(z_0) .$$

    Args:
        function: $f$, called as ``f(z, args)``.
        start: $z_0$.
    """

    def field(t, z, args):
        residual = lambda z: z - function(z, args)
        return _solve(residual, z, -residual(start))

    return field


def newton_flow(function: Map) -> Field:
    r"""Newton's method in continuous time, $\dot z = -\big(I - \partial_zf(z)\big)^{-1}r(z)$.

    The residual decays at unit rate whatever $f$ is, $r(z(t)) = e^{-t}r(z(0))$: it is the Newton homotopy in the time
    $t = -\ln(1-\lambda)$ (Smale 1976).

    Args:
        function: $f$, called as ``f(z, args)``.
    """

    def field(t, z, args):
        residual = lambda z: z - function(z, args)
        return _solve(residual, z, -residual(z))

    return field


def _solve(function, z, target):
    operator = lx.JacobianLinearOperator(lambda z, _: function(z), z)
    return lx.linear_solve(operator, target, lx.AutoLinearSolver(well_posed=True)).value
