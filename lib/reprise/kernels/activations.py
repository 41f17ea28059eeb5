r"""Dual activations: second moments of a nonlinearity and of its derivative under a pair of Gaussian variables.

A wide layer meets its nonlinearity only through two functions of the covariance $k$ and the variances $a, b$ of a
centred Gaussian pair $(u, v)$,

$$\mathbb E[\sigma(u)\,\sigma(v)] \quad\text{and}\quad \mathbb E[\sigma'(u)\,\sigma'(v)],$$

so that is what a `Nonlinearity` is here: the function itself, for finite networks, beside its dual, for infinite ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Dual(NamedTuple):
    r"""Second moments: ``value`` is $\mathbb E[\sigma\sigma]$, ``slope`` is $\mathbb E[\sigma'\sigma']$."""

    value: Float[Array, "*pairs"]
    slope: Float[Array, "*pairs"]


@dataclass(frozen=True)
class Nonlinearity:
    """An elementwise function with its dual.

    Attributes:
        name: for messages and figures.
        function: the function itself; pass it to `reprise.networks.mlp.MLP` as ``activation``.
        dual: ``dual(k, a, b)`` for covariance ``k`` and variances ``a``, ``b`` that broadcast against each other.
    """

    name: str
    function: Callable[[Array], Array]
    dual: Callable[[Array, Array, Array], Dual]


def leaky_relu(negative_slope: float = 0.0) -> Nonlinearity:
    r"""$\max(x, 0) + s\min(x, 0)$: the arc-cosine kernels of order 1 and 0 (Cho & Saul 2009, equations 4 and 6).

    Args:
        negative_slope: $s$; 0 is the ReLU, 1 the identity, -1 the absolute value.
    """
    s = negative_slope

    def dual(k, a, b):
        size = jnp.sqrt(a * b)
        # Rounding pushes cosines past one; atan2 then keeps full precision near both ends, where arccos loses half.
        c = jnp.clip(k / jnp.where(size > 0, size, 1), -1, 1)
        sine = jnp.sqrt((1 - c) * (1 + c))
        angle = jnp.arctan2(sine, c)
        value, slope = size * (sine + (jnp.pi - angle) * c) / (2 * jnp.pi), (jnp.pi - angle) / (2 * jnp.pi)
        # leaky = s x + (1 - s) relu, and E[u relu(v)] = k / 2.
        return Dual(s * k + (1 - s) ** 2 * value, s + (1 - s) ** 2 * slope)

    name = "ReLU" if s == 0 else f"leaky ReLU ({s:g})"
    return Nonlinearity(name, jax.nn.relu if s == 0 else lambda x: jax.nn.leaky_relu(x, s), dual)


def _erf_dual(k, a, b):
    square = (1 + 2 * a) * (1 + 2 * b)
    value = 2 / jnp.pi * jnp.arcsin(2 * k / jnp.sqrt(square))
    return Dual(value, 4 / jnp.pi / jnp.sqrt(square - 4 * k**2))


def polynomial(coefficients: Sequence[float]) -> Nonlinearity:
    r"""$\sum_j c_j x^j$, by its Hermite expansion: $\mathbb E[\sigma(u)\sigma(v)] = \sum_n n!\,g_n(a)\,g_n(b)\,k^n$.

    Here $g_n(a) = \sum_m c_{n+2m}\frac{(n+2m)!}{2^m m!\,n!}a^m$ is the $n$-th Hermite coefficient of
    $\sigma(\sqrt a\,z)$ divided by $a^{n/2}$ (O'Donnell 2014, chapter 11), so that the dual has the polynomial's degree
    in $k$: this finite expansion is why the kernel of a polynomial network is degenerate.

    Args:
        coefficients: $c_0, c_1, \dots$, lowest degree first.
    """
    if not len(coefficients):
        raise ValueError("coefficients must hold at least the constant term")
    value = tuple(float(c) for c in coefficients)
    slope = tuple(j * c for j, c in enumerate(value))[1:] or (0.0,)

    def function(x):
        total = jnp.zeros_like(x)
        for c in reversed(value):
            total = total * x + c
        return total

    def dual(k, a, b):
        return Dual(_hermite_moment(value, k, a, b), _hermite_moment(slope, k, a, b))

    return Nonlinearity(f"polynomial of degree {len(value) - 1}", function, dual)


def _hermite_moment(c: Sequence[float], k, a, b):
    def coefficient(n, variance):
        return sum(
            c[n + 2 * m] * math.factorial(n + 2 * m) / (2**m * math.factorial(m) * math.factorial(n)) * variance**m
            for m in range((len(c) - 1 - n) // 2 + 1)
        )

    return sum(math.factorial(n) * coefficient(n, a) * coefficient(n, b) * k**n for n in range(len(c)))


def smooth(function: Callable[[Array], Array], name: str = "", nodes: int = 24) -> Nonlinearity:
    r"""Any smooth function, by Gauss-Hermite quadrature in the plane of $(u, v)$; `jax.grad` gives its derivative.

    Costs ``nodes**2`` evaluations for each pair of inputs. With kinks (ReLU) the quadrature converges only slowly: use
    a closed form there.

    Args:
        function: elementwise and differentiable, e.g. `jax.nn.gelu`.
        name: for messages and figures; the function's own name by default.
        nodes: quadrature nodes along each axis; exact for polynomials of degree below ``nodes``.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()

    def dual(k, a, b):
        k, a, b = jnp.broadcast_arrays(k, a, b)
        size = jnp.sqrt(a * b)
        c = jnp.clip(k / jnp.where(size > 0, size, 1), -1, 1)[..., None, None]
        z, w = jnp.asarray(points, k.dtype), jnp.asarray(weights, k.dtype)
        u = jnp.sqrt(a)[..., None, None] * z[:, None]
        v = jnp.sqrt(b)[..., None, None] * (c * z[:, None] + jnp.sqrt((1 - c) * (1 + c)) * z)
        slope = jnp.vectorize(jax.grad(lambda x: function(x)))
        moments = (jnp.einsum("...ij,i,j", f(u) * f(v), w, w, precision="highest") for f in (function, slope))
        return Dual(*moments)

    return Nonlinearity(name or function.__name__, function, dual)


#: The rectifier $\max(x, 0)$.
RELU = leaky_relu(0.0)
#: The error function (Williams 1997, equation 11), the sigmoid with a kernel in closed form.
ERF = Nonlinearity("erf", jax.scipy.special.erf, _erf_dual)
#: The identity: a deep linear network.
IDENTITY = Nonlinearity("identity", lambda x: x, lambda k, a, b: Dual(k, jnp.ones_like(k)))
