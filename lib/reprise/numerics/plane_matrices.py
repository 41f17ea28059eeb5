"""Batches of 2 x 2 matrices, written out: LAPACK calls one small matrix at a time are slow."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def determinant(f: Float[Array, "*batch 2 2"]) -> Float[Array, "*batch"]:
    """Determinants."""
    return f[..., 0, 0] * f[..., 1, 1] - f[..., 0, 1] * f[..., 1, 0]


def cofactor(f: Float[Array, "*batch 2 2"]) -> Float[Array, "*batch 2 2"]:
    r"""Cofactor matrices, $\det(F)\,F^{-\top}$."""
    rows = jnp.stack([f[..., 1, 1], -f[..., 1, 0]], -1), jnp.stack([-f[..., 0, 1], f[..., 0, 0]], -1)
    return jnp.stack(rows, -2)


def rotation(angle: Float[Array, "*batch"]) -> Float[Array, "*batch 2 2"]:
    """Rotations by angles in radians, anticlockwise."""
    return _rotation(jnp.cos(angle), jnp.sin(angle))


def polar(f: Float[Array, "*batch 2 2"]) -> tuple[Float[Array, "*batch 2 2"], Float[Array, "*batch 2 2"]]:
    r"""Rotation $R$ and symmetric stretch $S$ with $F = RS$, for matrices with a positive determinant.

    In the plane $R$ rotates by the angle of $(F_{11} + F_{22},\ F_{21} - F_{12})$. Unlike a singular value
    decomposition it has a smooth derivative where both stretches are equal, such as at rest.
    """
    cos, sin = f[..., 0, 0] + f[..., 1, 1], f[..., 1, 0] - f[..., 0, 1]
    scale = 1 / jnp.sqrt(cos**2 + sin**2)
    turn = _rotation(cos * scale, sin * scale)
    return turn, turn.mT @ f


def _rotation(cos, sin):
    return jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)
