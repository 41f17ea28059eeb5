"""Chaotic systems, as right-hand sides for Diffrax."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Lorenz63(NamedTuple):
    r"""Lorenz's convection model, $\dot x=\sigma(y-x)$, $\dot y=x(\rho-z)-y$, $\dot z=xy-\beta z$ (Lorenz 1963).

    At the classical values its largest Lyapunov exponent is 0.906 per unit of time, and its three exponents add up to
    the divergence $-(\sigma+1+\beta)$ of the field, the same everywhere.

    Attributes:
        sigma: $\sigma$, the Prandtl number.
        rho: $\rho$, the Rayleigh number over its critical value.
        beta: $\beta$, from the geometry of the rolls.
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3

    def __call__(
        self, t: Float[Array, ""], state: Float[Array, "*batch 3"], args: Any = None
    ) -> Float[Array, "*batch 3"]:
        """The slope at ``state``; ``t`` and ``args`` do not matter."""
        x, y, z = state[..., 0], state[..., 1], state[..., 2]
        return jnp.stack([self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z], axis=-1)
