"""Dense linear algebra: least squares by a truncated pseudoinverse."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class TruncatedSolution(NamedTuple):
    """What `truncated_lstsq` returns.

    Attributes:
        solution: $A_k^+ b$.
        singular_values: of $A$, largest first.
        kept: how many singular directions the solution uses.
    """

    solution: Float[Array, " columns"]
    singular_values: Float[Array, " smaller"]
    kept: Int[Array, ""]


def truncated_lstsq(
    matrix: Float[Array, "rows columns"],
    target: Float[Array, " rows"],
    *,
    rank: int | Int[Array, ""] | None = None,
    rtol: float | Float[Array, ""] | None = None,
) -> TruncatedSolution:
    r"""Least squares of least norm within the leading singular directions: $A_k^+b = V_k\Sigma_k^{-1}U_k^\top b$.

    Kept are the ``rank`` largest singular values, and of these the ones above ``rtol`` times the largest. The singular
    vectors come from an eigendecomposition of the smaller Gram matrix ($AA^\top$ for a wide matrix, $A^\top A$ for a
    tall one), which costs far less than an SVD of $A$ when the other side is long. The price is precision: squaring
    loses half the digits, so singular values below $\sqrt\epsilon\,\sigma_1$ are rounding noise (3e-4 in float32,
    1.5e-8 in float64). Use `jax.numpy.linalg.svd` when those matter.

    Args:
        matrix: $A$.
        target: $b$.
        rank: $k$; all directions if not given. May be traced.
        rtol: relative cut-off; $2\sqrt\epsilon$ if not given, just above the noise. May be traced.
    """
    rows, columns = matrix.shape
    wide = rows <= columns
    exact = jax.lax.Precision.HIGHEST
    gram = jnp.matmul(matrix, matrix.T, precision=exact) if wide else jnp.matmul(matrix.T, matrix, precision=exact)
    eigenvalues, vectors = jnp.linalg.eigh(gram)
    eigenvalues, vectors = jnp.maximum(eigenvalues[::-1], 0), vectors[:, ::-1]
    singular_values = jnp.sqrt(eigenvalues)
    rank = len(eigenvalues) if rank is None else rank
    rtol = 2 * jnp.finfo(matrix.dtype).eps ** 0.5 if rtol is None else rtol
    keep = (jnp.arange(len(eigenvalues)) < rank) & (singular_values > rtol * singular_values[0])
    inverse = jnp.where(keep, 1 / jnp.where(keep, eigenvalues, 1), 0)
    damp = lambda b: vectors @ (inverse * (b @ vectors))
    solution = damp(target) @ matrix if wide else damp(target @ matrix)
    return TruncatedSolution(solution, singular_values, keep.sum())
