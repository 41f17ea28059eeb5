r"""Gaussian quadrature: means over one normal variable or a correlated pair, and rules for measured distributions.

An infinitely wide layer is known through means like $\mathbb E[\sigma(z)]$ and $\mathbb E[\sigma(u)\sigma(v)]$. With
$n$ nodes along an axis the rule is exact for polynomials of degree below $2n$, and for functions that are analytic near
the real axis its error falls exponentially in $\sqrt n$. With a kink (ReLU) it falls only like a power of $n$: use a
closed form there.

`gauss_legendre` and `chebyshev_integration` integrate smooth functions over an interval, and up to every node of it.

`gauss_rule` condenses any number of weighted points, such as the eigenvalues of many matrices, into a few that have the
same moments; `christoffel` is the least mean square that a polynomial can have over them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.linalg import eigh_tridiagonal


class Rule(NamedTuple):
    r"""A mean over a distribution as a sum, $\mathbb E[f(z)] \approx \sum_i w_i f(z_i)$; the weights sum to 1."""

    points: Float[np.ndarray, " nodes"]
    weights: Float[np.ndarray, " nodes"]


@functools.cache
def gauss_hermite(nodes: int) -> Rule:
    """The Gauss-Hermite rule of the standard normal, in float64 (Abramowitz & Stegun 1964, 25.4.46, rescaled).

    Args:
        nodes: number of points; exact for polynomials of degree up to ``2 * nodes - 1``.
    """
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, not {nodes}")
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return Rule(points, weights / weights.sum())


class Interval(NamedTuple):
    r"""An integral over an interval as a sum, $\int_a^b f(t)\,dt \approx \sum_i w_i f(t_i)$; weights sum to $b-a$."""

    points: Float[np.ndarray, " nodes"]
    weights: Float[np.ndarray, " nodes"]


def gauss_legendre(nodes: int, start: float = 0.0, end: float = 1.0) -> Interval:
    """The Gauss-Legendre rule of an interval, in float64, points increasing (Abramowitz & Stegun 1964, 25.4.30).

    Args:
        nodes: number of points; exact for polynomials of degree up to ``2 * nodes - 1``.
        start: $a$.
        end: $b$.
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return Interval(start + (end - start) * (points + 1) / 2, weights * (end - start) / 2)


def chebyshev_integration(
    nodes: int, start: float = 0.0, end: float = 1.0
) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, "nodes nodes"]]:
    r"""Integrals up to every node, spectrally: $\int_a^{t_i} f(t)\,dt \approx \sum_j Q_{ij} f(t_j)$.

    The interpolating polynomial through the Chebyshev-Lobatto points, both ends included, is integrated exactly.
    (Trefethen 2000, Spectral Methods in MATLAB, for the differential counterpart.)

    Args:
        nodes: number of points, at least 2; exact for polynomials of degree below it.
        start: $a$, the first node.
        end: $b$, the last node.

    Returns:
        The nodes, increasing, and $Q$.
    """
    if nodes < 2:
        raise ValueError(f"nodes must be at least 2, not {nodes}")
    points = -np.cos(np.pi * np.arange(nodes) / (nodes - 1))
    values = np.polynomial.chebyshev.chebvander(points, nodes - 1)
    integrals = np.stack(
        [np.polynomial.chebyshev.Chebyshev.basis(k).integ(lbnd=-1)(points) for k in range(nodes)], axis=1
    )
    half = (end - start) / 2
    return start + half * (points + 1), half * np.linalg.solve(values.T, integrals.T).T


def gauss_rule(points: Float[ArrayLike, " n"], weights: Float[ArrayLike, " n"] | None, nodes: int) -> Rule:
    """The Gauss rule of a discrete distribution: its means of polynomials of degree below ``2 * nodes``, exactly.

    The nodes are the eigenvalues of the distribution's Jacobi matrix, which Lanczos' method yields (Golub & Welsch
    1969); orthogonalised in full, so that rounding makes no node twice.

    Args:
        points: where the distribution sits.
        weights: how much of it sits there, positive, of any sum; equal if not given.
        nodes: how many to keep, at most the number of distinct points.
    """
    points, weights = _normalised(points, weights)
    if len(points) > 2 * _BLOCK:
        # A basis that fits into the cache is several times faster to orthogonalise, and moments add up.
        blocks = np.array_split(np.arange(len(points)), len(points) // _BLOCK)
        parts = [_condensed(points[block], weights[block], nodes) for block in blocks]
        points, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    rule = _condensed(points, weights, nodes)
    if len(rule.points) < nodes:
        raise ValueError(f"a distribution on {len(rule.points)} points has no rule with {nodes}")
    return rule


def christoffel(
    points: Float[ArrayLike, " n"], weights: Float[ArrayLike, " n"] | None, at: float, degree: int
) -> Float[np.ndarray, " degree+1"]:
    r"""Least mean square of a polynomial that is 1 at a point, for degrees $0, \dots, m$.

    $$\lambda_m(x) = \min_{\deg q\le m,\;q(x)=1}\mathbb E\,q(s)^2 = \Big(\sum_{j=0}^m p_j(x)^2\Big)^{-1}$$

    with the distribution's orthonormal polynomials $p_j$ (Szegő 1939, section 3.3). With $x = 0$ left of all points the
    minimiser has $m$ positive zeros $1/\eta_j$: it is $m$ steps of gradient descent with the best rates.

    Args:
        points: where the distribution of $s$ sits.
        weights: how much of it sits there, as in `gauss_rule`.
        at: $x$.
        degree: $m$, below the number of distinct points.
    """
    diagonal, beside = _jacobi(*_normalised(points, weights), degree + 1)
    if len(diagonal) <= degree:
        raise ValueError(f"degree must be below the number of distinct points, {len(diagonal)}, not {degree}")
    before, now, total = 0.0, 1.0, [1.0]
    for j in range(degree):
        below = beside[j - 1] if j else 0.0
        before, now = now, ((at - diagonal[j]) * now - below * before) / beside[j]
        total.append(total[-1] + now**2)
    return 1 / np.array(total)


_BLOCK = 4096


def _normalised(points, weights) -> tuple[np.ndarray, np.ndarray]:
    points = np.asarray(points, float)
    weights = np.ones_like(points) if weights is None else np.asarray(weights, float)
    if points.ndim != 1 or weights.shape != points.shape:
        raise ValueError(f"points and weights must be vectors of one length, not {points.shape} and {weights.shape}")
    return points, weights / weights.sum()


def _condensed(points: np.ndarray, weights: np.ndarray, nodes: int) -> Rule:
    """The Gauss rule with at most ``nodes`` nodes, fewer where there are no more points; it keeps the total weight."""
    diagonal, beside = _jacobi(points, weights, nodes)
    places, vectors = eigh_tridiagonal(diagonal, beside[:-1])
    return Rule(places, vectors[0] ** 2 * weights.sum())


def _jacobi(points: np.ndarray, weights: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Jacobi matrix of a discrete distribution: diagonal and off-diagonal, one entry more than it needs.

    Shorter than ``size`` if there are fewer distinct points, where the orthogonal polynomials end.
    """
    basis = np.zeros((size + 1, len(points)))
    basis[0] = np.sqrt(weights / weights.sum())
    diagonal, beside = [], []
    for j in range(size):
        vector = points * basis[j]
        diagonal.append(vector @ basis[j])
        for _ in range(2):
            vector = vector - (basis[: j + 1] @ vector) @ basis[: j + 1]
        beside.append(np.linalg.norm(vector))
        if beside[j] <= 1e-13 * np.abs(points).max():
            break
        basis[j + 1] = vector / beside[j]
    return np.array(diagonal), np.array(beside)


def gaussian_mean(
    function: Callable[[Array], Array], variance: Float[ArrayLike, "*batch"] = 1.0, *, nodes: int = 40
) -> Float[Array, "*batch"]:
    r"""$\mathbb E[f(z)]$ for $z\sim N(0, a)$.

    Args:
        function: elementwise.
        variance: $a$, one or many, not negative.
        nodes: quadrature nodes.
    """
    variance = _floating(variance)
    rule = gauss_hermite(nodes)
    z, w = (jnp.asarray(part, variance.dtype) for part in rule)
    return (w * function(jnp.sqrt(variance)[..., None] * z)).sum(-1)


def gaussian_pair_mean(
    function: Callable[[Array, Array], Array],
    covariance: Float[ArrayLike, "*batch"],
    variance1: Float[ArrayLike, "*batch"] = 1.0,
    variance2: Float[ArrayLike, "*batch"] = 1.0,
    *,
    nodes: int = 24,
) -> Float[Array, "*batch"]:
    r"""$\mathbb E[f(u, v)]$ for a centred Gaussian pair with variances $a, b$ and covariance $k$.

    The pair is $u = \sqrt a\,z_1$, $v = \sqrt b\,(c\,z_1 + \sqrt{1-c^2}\,z_2)$ with $c = k/\sqrt{ab}$, so that a
    product $f(u)g(v)$ costs ``nodes`` evaluations of the first factor and ``nodes**2`` of the second.

    Args:
        function: ``function(u, v)``, elementwise, for arrays that broadcast against each other.
        covariance: $k$; clipped to $|k|\le\sqrt{ab}$, which rounding can push it past. Infinite slope there.
        variance1: $a$, not negative; the three broadcast against each other.
        variance2: $b$.
        nodes: quadrature nodes along each of the two axes.
    """
    k, a, b = jnp.broadcast_arrays(*(_floating(value) for value in (covariance, variance1, variance2)))
    rule = gauss_hermite(nodes)
    z, w = (jnp.asarray(part, k.dtype) for part in rule)
    size = jnp.sqrt(a * b)
    c = jnp.clip(k / jnp.where(size > 0, size, 1), -1, 1)[..., None, None]
    u = jnp.sqrt(a)[..., None, None] * z[:, None]
    v = jnp.sqrt(b)[..., None, None] * (c * z[:, None] + jnp.sqrt((1 - c) * (1 + c)) * z)
    return (w[:, None] * w * function(u, v)).sum((-2, -1))


def _floating(value: ArrayLike) -> Array:
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)
