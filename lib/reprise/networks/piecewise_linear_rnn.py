"""Piecewise-linear recurrent networks: models of a dynamical system that are a map, not a sequence-to-sequence net."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class ShallowPLRNN(nnx.Module):
    r"""A map of state space with one hidden layer of rectifiers, $F(z)=Az+W_1\,\phi(z)+h_1$, $A$ diagonal.

    Plain: $\phi(z)=\mathrm{ReLU}(W_2z+h_2)$. Clipped: $\phi(z)=\mathrm{ReLU}(W_2z+h_2)-\mathrm{ReLU}(W_2z)$, which lies
    between 0 and $h_2$, so that every orbit stays bounded as long as $|A_{ii}|<1$ (Hess et al. 2023, arXiv:2306.04406).

    All weights start uniform on $\pm1/\sqrt{\text{fan-in}}$, $h_1$ at zero, $A$ uniform on $[0.5, 1]$.

    Args:
        dim: components of the state.
        hidden: rectifiers.
        clipped: which of the two.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, dim: int, hidden: int, *, clipped: bool = True, rngs: nnx.Rngs):
        # One draw for all weights: XLA compiles a single generator.
        draw = rngs.params.uniform((dim + 2 * dim * hidden + hidden,), minval=-1.0)
        decay, inner, outer, offset = jnp.split(draw, [dim, dim + dim * hidden, dim + 2 * dim * hidden])
        self.decay = nnx.Param(0.75 + 0.25 * decay)
        self.inner = nnx.Param(inner.reshape(dim, hidden) / dim**0.5)
        self.outer = nnx.Param(outer.reshape(hidden, dim) / hidden**0.5)
        self.hidden_offset = nnx.Param(offset / hidden**0.5)
        self.offset = nnx.Param(jnp.zeros(dim))
        self.clipped = clipped

    def __call__(self, z: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """The next state."""
        inner = z @ self.inner[...]
        units = jax.nn.relu(inner + self.hidden_offset[...])
        units = units - jax.nn.relu(inner) if self.clipped else units
        return self.decay[...] * z + units @ self.outer[...] + self.offset[...]
