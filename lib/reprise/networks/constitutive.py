r"""Stress laws $F\mapsto P$ as networks: with the symmetries of elasticity built in, and without.

$F$ is the deformation gradient and $P$ the first Piola-Kirchhoff stress, here in the plane.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from reprise.networks.mlp import MLP
from reprise.numerics.plane_matrices import determinant, polar


class EquivariantStress(nnx.Module):
    r"""$P = R\,\tfrac12(X + X^\top)$ with $F = RS$ and a network $X$ of what a rotation of the body leaves alone.

    The network sees $S - I$, $F^\top F - I$ and $\det F - 1$, and none of them changes when $F$ becomes $QF$ for a
    rotation $Q$, while $R$ becomes $QR$. All are zero at rest, and a network without biases whose activation is
    zero at zero then answers zero. So for any weights $P(QF) = Q\,P(F)$ and $P(Q) = 0$ (after Ma et al. 2023, there
    with the singular values in the place of $S$).

    Args:
        hidden: units of each of the two hidden layers.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, hidden: int, *, rngs: nnx.Rngs):
        widths, draw = (7, hidden, hidden, 3), lambda m, n: rngs.params.normal((m, n)) / m**0.5
        self.weights = nnx.List(nnx.Param(draw(m, n)) for m, n in zip(widths, widths[1:], strict=False))

    def __call__(self, f: Float[Array, "*batch 2 2"]) -> Float[Array, "*batch 2 2"]:
        """The stress."""
        turn, stretch = polar(f)
        one = jnp.eye(2, dtype=f.dtype)
        entries = lambda m: jnp.stack([m[..., 0, 0], m[..., 1, 1], m[..., 0, 1]], -1)
        h = jnp.concatenate(
            [entries(stretch - one), entries(f.mT @ f - one), determinant(f)[..., None] - 1], -1
        )  # fmt: skip
        for weight in self.weights[:-1]:
            h = jax.nn.gelu(h @ weight[...])
        x = h @ self.weights[-1][...]
        symmetric = jnp.stack([x[..., ::2], x[..., :0:-1]], -2)
        return turn @ symmetric


class FreeStress(nnx.Module):
    """A perceptron with biases from the four entries of $F - I$ to the four of $P$; it has no symmetry.

    Args:
        hidden: units of each of the two hidden layers.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, hidden: int, *, rngs: nnx.Rngs):
        self.mlp = MLP([4, hidden, hidden, 4], activation=jax.nn.gelu, rngs=rngs)

    def __call__(self, f: Float[Array, "*batch 2 2"]) -> Float[Array, "*batch 2 2"]:
        """The stress."""
        entries = (f - jnp.eye(2, dtype=f.dtype)).reshape(*f.shape[:-2], 4)
        return self.mlp(entries).reshape(f.shape)
