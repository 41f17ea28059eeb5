r"""A committee of quadratic units: a two-layer network whose function is known from two moments of its weights.

$N$ hidden units with a fixed, uniform readout, $f(x; w) = \frac{\alpha}{N}\sum_i \phi(w_i^\top x)$ with
$\phi(h) = h + \tfrac\epsilon2 h^2$. Summing over the units first,

$$f(x; w) = \alpha\,\bar w^\top x + \tfrac{\alpha\epsilon}{2}\,x^\top M x, \qquad
  \bar w = \tfrac1N\textstyle\sum_i w_i, \quad M = \tfrac1N\sum_i w_i w_i^\top,$$

so that outputs, gradients, tangent kernel and the error on Gaussian inputs all follow from $(\bar w, M)$ (Kumar et al.
2023, section 5).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Moments(NamedTuple):
    r"""Sufficient statistics of a committee's weights: ``mean`` $\bar w$ and ``second`` $M$."""

    mean: Float[Array, " d"]
    second: Float[Array, "d d"]


class Power(NamedTuple):
    r"""Mean square of a quadratic function over $x\sim N(0, I/d)$, in three parts (see `Quadratic.power`)."""

    linear: Float[Array, ""]
    trace: Float[Array, ""]
    matrix: Float[Array, ""]


class Quadratic(NamedTuple):
    r"""The function $b^\top x + \tfrac12 x^\top A x$: ``linear`` $b$ and a symmetric ``matrix`` $A$."""

    linear: Float[Array, " d"]
    matrix: Float[Array, "d d"]

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        """The function's values."""
        return x @ self.linear + 0.5 * jnp.sum((x @ self.matrix) * x, axis=-1)

    def minus(self, other: Quadratic) -> Quadratic:
        """The difference of two quadratic functions."""
        return Quadratic(self.linear - other.linear, self.matrix - other.matrix)

    def power(self) -> Power:
        r"""Mean square over $x\sim N(0, I/d)$, by Wick's theorem (the mixed term is odd and vanishes).

        $$\mathbb E f(x)^2 = \frac{\lVert b\rVert^2}{d} + \frac{(\operatorname{tr}A)^2}{4d^2}
          + \frac{\lVert A\rVert_F^2}{2d^2}$$
        """
        d = self.linear.shape[-1]
        trace = jnp.trace(self.matrix, axis1=-2, axis2=-1)
        return Power(
            jnp.sum(self.linear**2, -1) / d, trace**2 / (4 * d**2), jnp.sum(self.matrix**2, (-2, -1)) / (2 * d**2)
        )


def committee(weights: Float[Array, "units d"], x: Float[Array, "n d"], scale: float, curvature: float):
    r"""The network unit by unit, $\frac{\alpha}{N}\sum_i \phi(w_i^\top x)$, shape ``[n]``.

    Args:
        weights: $w$.
        x: inputs.
        scale: $\alpha$, the output scale.
        curvature: $\epsilon$ of the activation.
    """
    h = x @ weights.T
    return scale * (h + 0.5 * curvature * h**2).mean(-1)


def moments(weights: Float[Array, "units d"]) -> Moments:
    """The two moments of a committee's weights."""
    return Moments(weights.mean(0), weights.T @ weights / weights.shape[0])


def centred_function(
    weights: Float[Array, "units d"], initial: Float[Array, "units d"], scale: float, curvature: float
) -> Quadratic:
    r"""$f(x; w) - f(x; w_0)$ by its coefficients; subtracting the start makes the initial function zero.

    Args:
        weights: $w$.
        initial: $w_0$.
        scale: $\alpha$.
        curvature: $\epsilon$.
    """
    now, start = moments(weights), moments(initial)
    return Quadratic(scale * (now.mean - start.mean), scale * curvature * (now.second - start.second))


def tangent_kernel(
    statistics: Moments, x1: Float[Array, "n d"], x2: Float[Array, "m d"], curvature: float
) -> Float[Array, "n m"]:
    r"""The tangent kernel times $N/\alpha^2$: $\frac1N\sum_i\phi'(w_i^\top x)\,\phi'(w_i^\top x')\;x^\top x'$.

    Args:
        statistics: moments of the weights.
        x1: first batch.
        x2: second batch.
        curvature: $\epsilon$.
    """
    mean, second = statistics
    slopes = 1 + curvature * ((x1 @ mean)[:, None] + (x2 @ mean)[None, :]) + curvature**2 * (x1 @ second @ x2.T)
    return slopes * (x1 @ x2.T)


def tangent_function(
    dual: Float[Array, "*batch n"], x: Float[Array, "n d"], statistics: Moments, curvature: float
) -> Quadratic:
    r"""The function $\sum_\mu c_\mu K(\cdot, x_\mu)$ by its coefficients: the linearised network is quadratic too.

    Args:
        dual: $c$, one weight for each of ``x``; leading axes are kept.
        x: the kernel's centres.
        statistics: moments of the weights at which the network is linearised.
        curvature: $\epsilon$.
    """
    mean, second = statistics
    weighted = dual @ x
    outer = jnp.einsum("...n,ni,nj->...ij", dual, x, x)
    half = curvature * weighted[..., :, None] * mean + curvature**2 * outer @ second
    return Quadratic(weighted + curvature * outer @ mean, half + jnp.swapaxes(half, -1, -2))
