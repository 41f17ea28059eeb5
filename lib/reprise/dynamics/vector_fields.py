"""Right-hand sides of neural differential equations."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from reprise.networks.mlp import MLP


class TimeMLP(nnx.Module):
    r"""A perceptron $f(t, z)$ that sees the time as one more input (Chen et al. 2018, arXiv:1806.07366).

    Args:
        dim: number of components of the state ``z``.
        hidden: width of the one hidden layer.
        activation: applied to the hidden layer.
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, dim: int, hidden: int, *, activation: Callable[[Array], Array] = jnp.tanh, rngs: nnx.Rngs
    ):  # fmt: skip
        self.mlp = MLP([dim + 1, hidden, dim], activation=activation, rngs=rngs)

    def __call__(self, t: Float[Array, ""], z: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        r"""The slope $\dot z$ at time ``t``."""
        time = jnp.broadcast_to(jnp.asarray(t, z.dtype), (*z.shape[:-1], 1))
        return self.mlp(jnp.concatenate([z, time], axis=-1))
