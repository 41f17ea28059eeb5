r"""The von Mises-Fisher distribution: directions on the unit sphere of $\mathbb{R}^p$, concentrated around a mean.

Its density is $C_p(\kappa)\,e^{\kappa\mu^\top x}$ with
$\log C_p(\kappa)=(\tfrac p2-1)\log\kappa-\tfrac p2\log 2\pi-\log I_{p/2-1}(\kappa)$: a Bessel function of order
$p/2-1$, which in thousands of dimensions only its logarithm can represent (Mardia and Jupp 2000, section 9.3).
float64 is needed for everything but the samples: run under ``with jax.enable_x64(True):``.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from reprise.numerics.bessel import iv_ratio, log_iv


def log_normalizer(dimension: Int[ArrayLike, "*shape"], kappa: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\log C_p(\kappa)$, the logarithm of the density's factor (with respect to the sphere's surface measure).

    Args:
        dimension: $p\ge2$; broadcasts against ``kappa``.
        kappa: concentration, positive. Differentiable.
    """
    kappa = jnp.asarray(kappa, jnp.float64)
    order = _order(dimension)
    return order * jnp.log(kappa) - (order + 1) * math.log(2 * math.pi) - log_iv(order, kappa)


def log_density(
    x: Float[Array, "*batch p"], mean: Float[Array, " p"], kappa: Float[ArrayLike, ""]
) -> Float[Array, "*batch"]:
    r"""$\log C_p(\kappa)+\kappa\,\mu^\top x$ for unit vectors ``x`` and a unit vector ``mean``."""
    return log_normalizer(x.shape[-1], kappa) + kappa * (x @ mean)


def mean_resultant_length(
    dimension: Int[ArrayLike, "*shape"], kappa: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    r"""$A_p(\kappa)=I_{p/2}(\kappa)/I_{p/2-1}(\kappa)$, the length of the expected direction, between 0 and 1."""
    return iv_ratio(_order(dimension), kappa)


def initial_concentration(
    dimension: Int[ArrayLike, "*shape"], length: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    r"""$\kappa_0=\bar R(p-\bar R^2)/(1-\bar R^2)$, approximately $A_p^{-1}(\bar R)$ (Banerjee et al. 2005)."""
    length = jnp.asarray(length, jnp.float64)
    return length * (dimension - length**2) / ((1 - length) * (1 + length))


def newton_step(
    dimension: Int[ArrayLike, "*shape"], length: Float[ArrayLike, "*shape"], kappa: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    r"""One Newton step for $A_p(\kappa)=\bar R$ from ``kappa``, with $A_p'=1-A_p^2-\frac{p-1}\kappa A_p$ (Sra 2012)."""
    a = mean_resultant_length(dimension, kappa)
    return kappa - (a - length) / (1 - a * a - (dimension - 1) / kappa * a)


def concentration(
    dimension: Int[ArrayLike, "*shape"], length: Float[ArrayLike, "*shape"], newton_steps: int = 2
) -> Float[Array, "*shape"]:
    r"""The maximum-likelihood $\kappa$, root of $A_p(\kappa)=\bar R$, by Newton's method from $\kappa_0$.

    Args:
        dimension: $p\ge2$; broadcasts against ``length``.
        length: $\bar R$, the length of the samples' mean, strictly between 0 and 1.
        newton_steps: number of steps; two reach rounding error in thousands of dimensions.
    """
    kappa = initial_concentration(dimension, length)
    for _ in range(newton_steps):
        kappa = newton_step(dimension, length, kappa)
    return kappa


class Fit(NamedTuple):
    """A maximum-likelihood fit: unit ``mean`` direction, ``length`` of the samples' mean, concentration ``kappa``."""

    mean: Float[Array, " p"]
    length: Float[Array, ""]
    kappa: Float[Array, ""]


def fit(x: Float[Array, "n p"], newton_steps: int = 2) -> Fit:
    """Fit direction and concentration to unit vectors; their mean is accumulated in float64."""
    total = jnp.mean(x, axis=0, dtype=jnp.float64)
    length = jnp.linalg.norm(total)
    return Fit(total / length, length, concentration(x.shape[-1], length, newton_steps))


@functools.partial(jax.jit, static_argnames="count")
def sample_cosines(
    key: Key[Array, ""], dimension: Int[ArrayLike, ""], kappa: Float[ArrayLike, ""], count: int
) -> Float[Array, " count"]:
    r"""Draws of $w=\mu^\top x$ by Wood's (1994) rejection sampler.

    Its density is proportional to $e^{\kappa w}(1-w^2)^{(p-3)/2}$. Proposals transform a Beta variable with both
    parameters $\tfrac{p-1}2$, drawn in closed form (Devroye 1986, section IX.3.5); about two thirds or more are
    accepted. Compiled once for all dimensions and concentrations.
    """
    kappa, m = jnp.asarray(kappa, float), jnp.asarray(dimension, float) - 1
    b = m / (2 * kappa + jnp.sqrt(4 * kappa**2 + m**2))
    centre = (1 - b) / (1 + b)
    bound = kappa * centre + m * (jnp.log(4 * b) - 2 * jnp.log1p(b))  # 1 - centre^2 = 4b / (1 + b)^2

    def propose(state):
        key, w, accepted = state
        key, subkey = jax.random.split(key)
        logs = jnp.log1p(-jax.random.uniform(subkey, (3, count), kappa.dtype))
        radius = jnp.where(m > 1, jnp.sqrt(-jnp.expm1(2 * logs[0] / jnp.maximum(m - 1, 0.5))), 1.0)
        z = 0.5 * (1 + radius * jnp.cos(2 * jnp.pi * jnp.exp(logs[1])))
        new = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        fits = kappa * new + m * jnp.log1p(-centre * new) - bound >= logs[2]
        return key, jnp.where(accepted, w, new), accepted | fits

    start = (key, jnp.zeros(count, kappa.dtype), jnp.zeros(count, bool))
    return jax.lax.while_loop(lambda state: ~jnp.all(state[2]), propose, start)[1]


def sample(
    key: Key[Array, ""], mean: Float[Array, " p"], kappa: Float[ArrayLike, ""], count: int
) -> Float[Array, "count p"]:
    r"""Independent directions: $x=w\mu+\sqrt{1-w^2}\,\xi$ with $w$ from `sample_cosines`, $\xi\perp\mu$ uniform.

    Args:
        key: randomness.
        mean: unit vector; its dtype is the samples' dtype (float32 halves the memory in high dimensions).
        kappa: concentration, positive.
        count: number of samples.
    """
    _order(len(mean))
    cosine_key, tangent_key = jax.random.split(key)
    return _around(tangent_key, mean, sample_cosines(cosine_key, len(mean), kappa, count))


@jax.jit
def _around(key: Key[Array, ""], mean: Float[Array, " p"], w: Float[Array, " count"]) -> Float[Array, "count p"]:
    """Directions at cosines ``w`` to ``mean``, otherwise uniform."""
    tangent = jax.random.normal(key, (len(w), len(mean)), mean.dtype)
    tangent = tangent - (tangent @ mean)[:, None] * mean
    scale = jnp.sqrt((1 - w) * (1 + w)).astype(mean.dtype) / jnp.linalg.norm(tangent, axis=1)
    return w.astype(mean.dtype)[:, None] * mean + scale[:, None] * tangent


def _order(dimension: Int[ArrayLike, "*shape"]) -> Float[ArrayLike, "*shape"]:
    if not isinstance(dimension, jax.core.Tracer) and np.any(np.asarray(dimension) < 2):
        raise ValueError(f"a direction needs at least 2 dimensions, not {dimension}")
    return dimension / 2 - 1
