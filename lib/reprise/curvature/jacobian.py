r"""Per-example Jacobians, and products with the Gauss-Newton matrix, which is the Fisher matrix of a Gaussian model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


def per_example_jacobian(
    function: Callable[..., Float[Array, ""]], params: PyTree[Array], *batch: Any
) -> tuple[Float[Array, " examples"], Float[Array, "examples parameters"]]:
    r"""Values $f(\theta, z_i)$ and the matrix of their gradients.

    Row $i$ holds $\partial f(\theta, z_i)/\partial\theta$. Columns are in the
    order of `jax.flatten_util.ravel_pytree`. One backward pass an example, all mapped by `jax.vmap`.

    Args:
        function: one example's scalar, ``function(params, *example)``: an output, a residual or a loss.
        params: $\theta$.
        batch: arrays (or pytrees) with a leading axis over examples, one for each argument of an example.
    """
    over = (None, *(0 for _ in batch))
    values, rows = jax.vmap(jax.value_and_grad(function), over)(params, *batch)
    return values, flatten_rows(rows)


def flatten_rows(rows: PyTree[Float[Array, "examples ..."]]) -> Float[Array, "examples parameters"]:
    """A matrix from a pytree whose leaves have a leading axis over examples: one row an example."""
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)], axis=1)


def gauss_newton_product(
    function: Callable[[PyTree[Array]], PyTree[Array]], params: PyTree[Array], vector: PyTree[Array]
) -> PyTree[Array]:
    r"""$J^\top J\,v$ for the Jacobian $J$ of ``function`` at ``params``, by one forward and one backward sweep.

    For a network's outputs on a data set this is the Gauss-Newton matrix of $\frac12\sum_i r_i^2$, and the Fisher
    matrix of the model $y\sim N(f(\theta, x), 1)$ summed over the inputs.

    Args:
        function: maps parameters to outputs (any pytree of arrays).
        params: where $J$ is taken.
        vector: $v$, with the structure of ``params``.
    """
    _, tangent = jax.jvp(function, (params,), (vector,))
    _, pull = jax.vjp(function, params)
    return pull(tangent)[0]


def gauss_newton_matrix(
    function: Callable[[PyTree[Array]], PyTree[Array]], params: PyTree[Array]
) -> Float[Array, "parameters parameters"]:
    """The matrix of `gauss_newton_product`, column by column; for models of up to a few thousand parameters."""
    flat, unravel = ravel_pytree(params)
    column = lambda direction: ravel_pytree(gauss_newton_product(function, params, unravel(direction)))[0]
    return jax.vmap(column)(jnp.eye(flat.size, dtype=flat.dtype))
