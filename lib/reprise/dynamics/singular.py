r"""Ordinary differential equations with singular points, multiplied out so that nothing is divided by zero.

Second-order linear equations $p\,y'' + q\,y' + r\,y = 0$ are given by their `Coefficients` at a point; they are
singular where $p = 0$. Steady spherical accretion onto a black hole is a first-order nonlinear equation, singular
where the flow passes the speed of sound. Lengths are in units of the hole's mass ($G = c = M = 1$).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.polynomial import chebyshev
from scipy.optimize import brentq
from scipy.special import hyp2f1


class Coefficients(NamedTuple):
    """$p$, $q$ and $r$ of $p\\,y'' + q\\,y' + r\\,y = 0$ at some points."""

    second: ArrayLike
    first: ArrayLike
    zeroth: ArrayLike


def legendre(x: ArrayLike, degree: ArrayLike) -> Coefficients:
    r"""Legendre's equation $(1 - x^2)y'' - 2xy' + \ell(\ell + 1)y = 0$, singular at $x = \pm1$."""
    return Coefficients(1 - x**2, -2 * x, degree * (degree + 1) + 0 * x)


def hypergeometric(z: ArrayLike, a: float, b: float, c: float) -> Coefficients:
    """The hypergeometric equation $z(1 - z)w'' + [c - (a + b + 1)z]w' - ab\\,w = 0$, singular at 0 and 1."""
    return Coefficients(z * (1 - z), c - (a + b + 1) * z, -a * b + 0 * z)


def jet(
    function: Callable[[Float[Array, ""]], Float[Array, ""]], x: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Value, first and second derivative of a scalar function."""
    one = jnp.ones_like(x)
    (value, _), (slope, curvature) = jax.jvp(lambda x: jax.jvp(function, (x,), (one,)), (x,), (one,))
    return value, slope, curvature


def chebyshev_points(count: int, low: float = -1.0, high: float = 1.0) -> Float[np.ndarray, " count"]:
    """Extrema of a Chebyshev polynomial, increasing, ends included: densest near the ends."""
    return low + (high - low) * 0.5 * (1 - np.cos(np.pi * np.arange(count) / (count - 1)))


def polynomial_solution(
    equation: Callable[[Float[np.ndarray, " n"]], Coefficients], degree: int, at: float, value: float,
    low: float = -1.0, high: float = 1.0,
) -> tuple[Callable[[ArrayLike], np.ndarray], float]:  # fmt: skip
    r"""The polynomial with $y(\text{at}) = \text{value}$ of least mean square residual.

    The mean is over Chebyshev points, the two ends counting half: the trapezoidal rule in the angle, exact for the mean
    with density $1/\pi\sqrt{1 - x^2}$.

    Where a solution exists that is smooth on the whole interval this is a spectral method, and converges faster than
    any power of ``degree``; where none does, the residual says so.

    Args:
        equation: coefficients at given points.
        degree: of the polynomial.
        at: where its value is prescribed.
        value: the value.
        low: left end of the interval.
        high: right end.

    Returns:
        The polynomial as a function, and its root mean square residual.
    """
    x = chebyshev_points(4 * degree + 1, low, high)
    scale = 2 / (high - low)
    unit = lambda x: scale * (np.asarray(x, float) - low) - 1
    # Every basis polynomial but the constant is shifted to vanish at the prescribed point.
    shift = chebyshev.chebvander(unit(at), degree)[..., 1:]
    basis = [
        np.stack(
            [chebyshev.chebval(unit(x), chebyshev.chebder(row, m) * scale**m) for row in np.eye(degree + 1)[1:]], 1
        )
        for m in range(3)
    ]
    basis[0] = basis[0] - shift
    p, q, r = (np.broadcast_to(c, x.shape) for c in equation(x))
    matrix = p[:, None] * basis[2] + q[:, None] * basis[1] + r[:, None] * basis[0]
    share = np.where((x == low) | (x == high), 2**0.5, 1.0)
    weights, *_ = np.linalg.lstsq(matrix / share[:, None], -r * value / share, rcond=None)
    residual = (matrix @ weights + r * value) / share
    polynomial = lambda x: value + (chebyshev.chebvander(unit(x), degree)[..., 1:] - shift) @ weights
    return polynomial, float(np.sqrt(np.sum(residual**2) / (len(x) - 1)))


def legendre_residual_floor(degree: float, nodes: int = 60) -> float:
    r"""Least root mean square residual of Legendre's equation over all smooth $y$ on $[-1, 1]$ with $y(1) = 1$.

    The mean is that of `polynomial_solution`, of density $1/\pi\sqrt{1 - x^2}$. Let $L$ be the operator. For
    $\varphi(x) = P_\ell(-x)$, the solution that is regular at $-1$, integration by parts leaves a boundary term that is
    the same for every such $y$, and the inequality of Cauchy and Schwarz does the rest:

    $$\int_{-1}^1\varphi\,Ly\,dx = \frac{2\sin\pi\ell}{\pi},\qquad
      \mathrm{rms}(Ly) \ge \frac{2\,|\sin\pi\ell|}{\pi}\Big(\pi\int_{-1}^1\varphi^2\sqrt{1 - x^2}\,dx\Big)^{-1/2} .$$

    It is zero for integer degrees, where $P_\ell$ solves the equation.

    Args:
        degree: $\ell > -1$.
        nodes: of the quadrature.
    """
    angle, weights = np.polynomial.legendre.leggauss(nodes)
    angle, weights = np.pi / 2 * (angle + 1), np.pi / 2 * weights
    solution = hyp2f1(-degree, degree + 1, 1, 0.5 * (1 - np.cos(angle)))
    norm = weights @ (solution * np.sin(angle)) ** 2
    return float(2 * abs(np.sin(np.pi * degree)) / (np.pi * np.sqrt(np.pi * norm)))


class Brackets(NamedTuple):
    r"""The two sides of $D\,u' = u\,B$ for steady accretion, which vanish together at the sonic point.

    Attributes:
        flow: $D = u^2 - (1 - 2/r + u^2)\,a^2$, negative where the flow is slower than sound.
        pull: $B = (1 - 2/r + u^2)\,2a^2/r - 1/r^2$.
    """

    flow: ArrayLike
    pull: ArrayLike


def accretion_brackets(r: ArrayLike, u: ArrayLike, sound: ArrayLike) -> Brackets:
    r"""Steady spherical inflow onto a Schwarzschild black hole.

    Args:
        r: areal radius, in units of the mass.
        u: inward radial component of the four-velocity, positive.
        sound: $a^2$, the squared speed of sound ($p = a^2\rho$ has a constant one).
    """
    energy = 1 - 2 / r + u**2
    return Brackets(u**2 - energy * sound, energy * 2 * sound / r - 1 / r**2)


def sonic_point(sound: float) -> tuple[float, float]:
    r"""Radius and four-velocity at which both brackets vanish: $r_s = (1 + 3a^2)/2a^2$, $u_s^2 = 1/2r_s$."""
    radius = (1 + 3 * sound) / (2 * sound)
    return radius, (2 * radius) ** -0.5


def mach_number(r: ArrayLike, u: ArrayLike, sound: float) -> ArrayLike:
    r"""Speed of the flow as a static observer measures it, $u/\sqrt{1 - 2/r + u^2}$, over the speed of sound."""
    return u / ((1 - 2 / r + u**2) * sound) ** 0.5


def accretion_profile(r: Float[np.ndarray, " n"], sound: float, wind: bool = False) -> Float[np.ndarray, " n"]:
    r"""$u(r)$ of the transonic flow with constant speed of sound, from its first integral by root finding.

    $(1 - 2/r + u^2)(ur^2)^{-2a^2}$ does not depend on $r$, and through the sonic point it has two roots at every
    other radius. Accretion is slower than sound outside and faster inside.

    Args:
        r: radii, above 2.
        sound: $a^2$, between 0 and 1.
        wind: the other smooth branch, faster than sound outside and slower inside.
    """
    radius, speed = sonic_point(sound)
    integral = lambda r, log_u: np.log(1 - 2 / r + np.exp(2 * log_u)) - 2 * sound * (log_u + 2 * np.log(r))
    constant = integral(radius, np.log(speed))

    def at(r):
        lowest = 0.5 * np.log(sound * (1 - 2 / r) / (1 - sound))  # where the flow moves at the speed of sound
        excess = lambda log_u: integral(r, log_u) - constant
        if excess(lowest) >= 0:  # the sonic point itself, up to rounding
            return np.exp(lowest)
        slow = (r > radius) != wind
        return np.exp(brentq(excess, *((lowest - 50, lowest) if slow else (lowest, lowest + 50)), xtol=1e-14))

    return np.array([at(float(one)) for one in r])
