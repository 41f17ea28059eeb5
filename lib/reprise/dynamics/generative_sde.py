r"""Neural stochastic differential equations that generate time series out of noise."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from reprise.dynamics.stochastic import DiagonalSDE, solve_on_grid
from reprise.networks.mlp import MLP, Dense


class GenerativeSDE(nnx.Module):
    r"""A path $y=\ell_\theta(z)$ on $0\le t\le1$, made of normal numbers $v$ and Brownian motion by the Itô equation
    $\mathrm dz=\mu_\theta(t,z)\,\mathrm dt+\sigma_\theta(t,z)\odot\mathrm dW$, $z(0)=\zeta_\theta(v)$.

    The generator of Kidger et al. (2021, arXiv:2102.03657; 2022, arXiv:2202.02435, chapter 4), with diagonal noise.
    $\zeta$ and the pair $(\mu,\sigma)$ are perceptrons with one hidden layer (tanh), $\ell$ is affine.

    Args:
        dim: number of components of the state, of $v$ and of $W$.
        hidden: width of the hidden layers.
        channels: number of components of the path.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, dim: int, hidden: int, channels: int = 1, *, rngs: nnx.Rngs):
        self.initial = MLP([dim, hidden, dim], activation=jnp.tanh, rngs=rngs)
        self.coefficients = MLP([dim + 1, hidden, 2 * dim], activation=jnp.tanh, rngs=rngs)
        self.readout = Dense(dim, channels, rngs=rngs)

    def __call__(
        self,
        start: Float[Array, "batch dim"],
        increments: Float[Array, "steps batch dim"],
        noise: Float[Array, ""] | float = 1.0,
    ) -> Float[Array, "steps_plus_1 batch channels"]:
        r"""Paths at equally spaced times, by Euler-Maruyama with one step in between.

        Args:
            start: $v\sim N(0,I)$.
            increments: $\Delta W\sim N(0,1/\text{steps})$.
            noise: factor before $\sigma$; 0 leaves an ordinary equation with a random start.
        """
        steps = len(increments)

        def both(t, z):
            time = jnp.broadcast_to(jnp.asarray(t, z.dtype), (*z.shape[:-1], 1))
            return jnp.split(self.coefficients(jnp.concatenate([z, time], axis=-1)), 2, axis=-1)

        sde = DiagonalSDE(lambda t, z, x: both(t, z)[0], lambda t, z, x: noise * both(t, z)[1])
        z0 = self.initial(start)
        _, z = solve_on_grid(sde, z0, jnp.linspace(0, 1, steps + 1, dtype=z0.dtype), increments)
        return self.readout(jnp.concatenate([z0[None], z]))
