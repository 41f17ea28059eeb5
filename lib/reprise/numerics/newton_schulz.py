r"""Newton's method for the inverse of a matrix, which needs nothing but matrix products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float


def newton_inverse(
    matrix: Float[Array, "*batch n n"], scale: Float[ArrayLike, "*batch"], iterations: int
) -> Float[Array, "iterations+1 *batch n n"]:
    r"""Iterates $M_0, \dots, M_k$ of Newton's method for $S^{-1}$, from $M_0 = \alpha S^\top$.

    $$M_{k+1} = 2M_k - M_kSM_k$$

    squares the residual, $I - M_{k+1}S = (I - M_kS)^2$. It converges for every $S$ of full rank if
    $0 < \alpha < 2/\lVert S\rVert_2^2$, at first slowly: a singular value $s$ takes about $\log_2 1/(\alpha s^2)$
    iterations to be felt, and then doubles its digits in each (Schulz 1933; Ben-Israel 1965). Rounding stops the
    doubling near $\kappa\epsilon$.

    Args:
        matrix: $S$.
        scale: $\alpha$; `safe_scale` is a choice that always converges.
        iterations: $k$.
    """

    def step(inverse, _):
        product = jnp.einsum("...ij,...jk->...ik", matrix, inverse, precision="highest")
        return 2 * inverse - jnp.einsum("...ij,...jk->...ik", inverse, product, precision="highest"), inverse

    start = jnp.asarray(scale)[..., None, None] * matrix.mT
    last, before = jax.lax.scan(step, start, length=iterations)
    return jnp.concatenate([before, last[None]])


def newton_residual(
    eigenvalues: Float[ArrayLike, "*shape"], scale: Float[ArrayLike, ...], iterations: int
) -> Float[np.ndarray, "*shape"]:
    r"""Residual of `newton_inverse` along an eigenvector of a symmetric $S$, in closed form: $(1-\alpha s^2)^{2^k}$.

    Args:
        eigenvalues: $s$.
        scale: $\alpha$, which broadcasts against the eigenvalues.
        iterations: $k$.
    """
    residual = 1 - np.asarray(scale) * np.square(eigenvalues)
    for _ in range(iterations):
        residual = residual**2
    return residual


def safe_scale(eigenvalues: Float[ArrayLike, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    r"""$\alpha = 1/\max_i s_i^2$, half of what would diverge: the largest eigenvalue has no residual from the start."""
    return 1 / np.max(np.square(eigenvalues), -1)
