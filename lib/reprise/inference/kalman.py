"""Kalman filtering: exact inference in linear Gaussian state-space models."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LinearGaussian(NamedTuple):
    r"""$z_{n+1}=Fz_n+\varepsilon_n$, $\varepsilon_n\sim N(0,Q)$, seen through $y_n=Hz_n+\eta_n$, $\eta_n\sim N(0,R)$.

    Attributes:
        transition: $F$.
        noise: $Q$.
        emission: $H$.
        emission_noise: $R$.
    """

    transition: Float[Array, "d d"]
    noise: Float[Array, "d d"]
    emission: Float[Array, "m d"]
    emission_noise: Float[Array, "m m"]


class Filtered(NamedTuple):
    """What `kalman_filter` returns.

    Attributes:
        log_likelihood: of all observations.
        means: of the state given the observations so far, after every step.
        covariances: of the same.
    """

    log_likelihood: Float[Array, ""]
    means: Float[Array, "steps d"]
    covariances: Float[Array, "steps d d"]


def kalman_filter(
    model: LinearGaussian,
    mean: Float[Array, " d"],
    covariance: Float[Array, "d d"],
    observations: Float[Array, "steps m"],
) -> Filtered:
    r"""Filter a series of observations; a row of NaN is a step without one.

    Each step moves the state's Gaussian forward and conditions it on the observation that follows, in Joseph's form,
    which keeps the covariance positive in floating-point arithmetic.

    Args:
        model: the model.
        mean: of the state before the first step.
        covariance: of the state before the first step.
        observations: shape ``[steps, m]``; row $n$ is seen after $n+1$ steps.
    """
    f, q, h, r = (jnp.asarray(part) for part in model)
    identity = jnp.eye(len(f), dtype=f.dtype)

    def step(carry, y):
        m, p = carry
        m, p = f @ m, f @ p @ f.T + q
        seen = jnp.all(jnp.isfinite(y))
        innovation = jnp.where(seen, y, 0.0) - h @ m
        factor = jax.scipy.linalg.cho_factor(h @ p @ h.T + r, lower=True)
        gain = jax.scipy.linalg.cho_solve(factor, h @ p).T
        keep = identity - gain @ h
        log_density = -0.5 * (
            innovation @ jax.scipy.linalg.cho_solve(factor, innovation)
            + 2 * jnp.sum(jnp.log(jnp.diag(factor[0])))
            + len(h) * jnp.log(2 * jnp.pi)
        )
        m = jnp.where(seen, m + gain @ innovation, m)
        p = jnp.where(seen, keep @ p @ keep.T + gain @ r @ gain.T, p)
        return (m, p), (jnp.where(seen, log_density, 0.0), m, p)

    _, (terms, means, covariances) = jax.lax.scan(step, (mean, covariance), observations)
    return Filtered(terms.sum(), means, covariances)
