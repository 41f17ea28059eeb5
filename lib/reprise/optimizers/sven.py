r"""Sven, singular value descent: the smallest step that meets every example's condition at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from reprise.curvature.jacobian import flatten_rows
from reprise.numerics.linalg import truncated_lstsq


class SvenState(NamedTuple):
    """What the last update did; nothing in it is needed for the next.

    Attributes:
        kept: number of singular directions used.
        largest: $\\sigma_1$, the largest singular value of the Jacobian.
    """

    kept: Int[Array, ""]
    largest: Float[Array, ""]


def scale_by_sven(
    rank: int | Int[Array, ""] | None = None, rtol: float | Float[Array, ""] | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""The direction of Sven, $M_k^+\ell$, from per-example gradients; see `sven`.

    Args:
        rank: $k$, singular directions to keep; all if not given.
        rtol: drop singular values below this share of the largest; if not given, only what float precision cannot see.
    """

    def init(params: PyTree[Array]) -> SvenState:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return SvenState(jnp.zeros((), jnp.int32), jnp.zeros((), dtype))

    def update(
        updates: PyTree[Float[Array, "examples ..."]], state: SvenState, params: PyTree[Array] | None = None,
        *, conditions: Float[Array, " examples"], **extra: Any,
    ) -> tuple[PyTree[Array], SvenState]:  # fmt: skip
        del state, params, extra
        if any(jnp.shape(leaf)[:1] != conditions.shape for leaf in jax.tree.leaves(updates)):
            raise ValueError(
                f"with {len(conditions)} conditions, every leaf of updates needs a leading axis of {len(conditions)}: "
                "pass per-example gradients, e.g. of jax.vmap(jax.value_and_grad(condition), (None, 0, 0))"
            )
        _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], updates))
        found = truncated_lstsq(flatten_rows(updates), conditions, rank=rank, rtol=rtol)
        return unravel(found.solution), SvenState(found.kept.astype(jnp.int32), found.singular_values[0])

    return optax.GradientTransformationExtraArgs(init, update)


def sven(
    learning_rate: optax.ScalarOrSchedule,
    rank: int | Int[Array, ""] | None = None,
    rtol: float | Float[Array, ""] | None = 1e-3,
) -> optax.GradientTransformationExtraArgs:
    r"""Singular value descent.

    A batch poses one condition $\ell_i(\theta) = 0$ an example: its residual, or its loss. With their Jacobian
    $M = \partial\ell/\partial\theta = U\Sigma V^\top$ the update is

    $$\theta \leftarrow \theta - \eta\,M_k^+\,\ell(\theta),\qquad M_k^+ = V_k\Sigma_k^{-1}U_k^\top ,$$

    the smallest step that solves the linearised conditions as well as the $k$ leading singular directions allow. For
    residuals and more examples than parameters it is the Gauss-Newton step, the natural gradient of a Gaussian model;
    with more parameters than examples every condition shrinks by the same factor $1 - \eta$.

    Like `optax.contrib.differentially_private_aggregate` it takes per-example gradients (a leading axis over the
    examples) where other transformations take the gradient of the mean; the conditions' values are the extra argument
    ``conditions``. Cost: one backward pass an example and an eigendecomposition of the examples' Gram matrix; memory:
    all per-example gradients.

    >>> residual = lambda params, x, y: params["w"] @ x + params["b"] - y
    >>> optimizer = sven(learning_rate=0.5)
    >>> state = optimizer.init(params)
    >>> values, rows = jax.vmap(jax.value_and_grad(residual), (None, 0, 0))(params, x, y)
    >>> updates, state = optimizer.update(rows, state, params, conditions=values)
    >>> params = optax.apply_updates(params, updates)

    Reference: Bright-Thonney, Harvey, Lukas and Thaler, "Sven: Singular Value Descent as a Computationally Efficient
    Natural Gradient Method", 2026 (arXiv:2604.01279).

    Args:
        learning_rate: $\eta$, a number or a schedule; 1 solves the linearised conditions, less is better on
            mini-batches.
        rank: $k$; all directions if not given.
        rtol: singular values below this share of the largest are dropped, however large ``rank``.
    """
    return optax.chain(scale_by_sven(rank, rtol), optax.scale_by_learning_rate(learning_rate))
