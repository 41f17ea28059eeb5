r"""Paths between two random points, $X_t = \alpha_t X_1 + \beta_t X_0$ for $0\le t\le1$, and their speed $\dot X_t$."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

Coefficient = Callable[[Array], Array]


class Interpolant(NamedTuple):
    r"""A path between paired points, by its two coefficients.

    Attributes:
        end: $\alpha_t$, the coefficient of the end point $X_1$; a differentiable function of $t$, elementwise.
        start: $\beta_t$, the coefficient of the starting point $X_0$.
    """

    end: Coefficient
    start: Coefficient

    def coefficients(self, t: Float[ArrayLike, "*batch"]) -> tuple[Array, Array, Array, Array]:
        r"""$\alpha_t$, $\beta_t$ and their derivatives $\dot\alpha_t$, $\dot\beta_t$, each of the shape of ``t``."""
        t = jnp.asarray(t)
        one = jnp.ones_like(t)
        alpha, alpha_rate = jax.jvp(self.end, (t,), (one,))
        beta, beta_rate = jax.jvp(self.start, (t,), (one,))
        return alpha, beta, alpha_rate, beta_rate

    def __call__(
        self, x0: Float[Array, "*batch d"], x1: Float[Array, "*batch d"], t: Float[ArrayLike, "*batch"]
    ) -> tuple[Float[Array, "*batch d"], Float[Array, "*batch d"]]:
        r"""The point $X_t$ on each pair's path and its speed $\dot X_t$.

        Args:
            x0: starting points $X_0$.
            x1: end points $X_1$.
            t: time in $[0, 1]$, one a pair or one for all.
        """
        alpha, beta, alpha_rate, beta_rate = (c[..., None] for c in self.coefficients(t))
        return alpha * x1 + beta * x0, alpha_rate * x1 + beta_rate * x0


#: The straight line at constant speed: $\alpha_t = t$, $\beta_t = 1-t$ (Liu et al. 2022, arXiv:2209.03003, section 2).
STRAIGHT = Interpolant(lambda t: t, lambda t: 1 - t)


def variance_preserving(fast: float = 19.9, slow: float = 0.1) -> Interpolant:
    r"""The path behind the probability-flow ODE of variance-preserving diffusion.

    $$\alpha_t = e^{-\frac a4(1-t)^2-\frac b2(1-t)},\qquad \beta_t=\sqrt{1-\alpha_t^2}$$

    (Liu et al. 2022, arXiv:2209.03003, section 2.3; Song et al. 2021, arXiv:2011.13456). It starts at
    $\alpha_0\approx0.007$ rather than 0, and $\dot\beta_t$ is infinite at $t=1$, where it must not be evaluated.

    Args:
        fast: $a$.
        slow: $b$.
    """
    log_end = _log_end(fast, slow)
    return Interpolant(lambda t: jnp.exp(log_end(t)), lambda t: jnp.sqrt(-jnp.expm1(2 * log_end(t))))


def sub_variance_preserving(fast: float = 19.9, slow: float = 0.1) -> Interpolant:
    r"""As `variance_preserving` with $\beta_t = 1-\alpha_t^2$, the "sub-VP" path; smooth up to $t=1$."""
    log_end = _log_end(fast, slow)
    return Interpolant(lambda t: jnp.exp(log_end(t)), lambda t: -jnp.expm1(2 * log_end(t)))


def _log_end(fast: float, slow: float) -> Coefficient:
    return lambda t: -fast / 4 * (1 - t) ** 2 - slow / 2 * (1 - t)
