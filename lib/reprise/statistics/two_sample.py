r"""Comparing two samples: the energy distance, also as a loss, and what it costs to move one onto the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def mean_distance(x: Float[Array, "n d"], y: Float[Array, "m d"], block: int = 512) -> Float[Array, ""]:
    r"""Mean of $\|x_i-y_j\|$ over all pairs, in blocks of rows of ``x``, so that no $n\times m$ matrix is held.

    Args:
        x: first sample; its size must be a multiple of ``block``, or at most ``block``.
        y: second sample.
        block: rows handled at a time.
    """
    block = min(block, len(x))
    if len(x) % block:
        raise ValueError(f"the first sample's size ({len(x)}) must be a multiple of block ({block})")

    def rows(part):
        squared = sum((part[:, None, k] - y[None, :, k]) ** 2 for k in range(x.shape[1]))
        return jnp.sqrt(squared).mean()

    return jax.lax.map(rows, x.reshape(-1, block, x.shape[1])).mean()


def energy_distance(x: Float[Array, "n d"], y: Float[Array, "m d"], block: int = 512) -> Float[Array, ""]:
    r"""$2E\|X-Y\|-E\|X-X'\|-E\|Y-Y'\|$ between two samples' empirical distributions (Székely and Rizzo 2013).

    Zero if and only if they are equal, and never negative. All pairs enter, a point with itself too, so that two
    samples of size $n$ of one distribution have an expected distance of $2E\|X-X'\|/n$. In units of length.

    Args:
        x: first sample; its size, as that of ``y``, must be a multiple of ``block``, or at most ``block``.
        y: second sample.
        block: rows handled at a time.
    """
    return 2 * mean_distance(x, y, block) - mean_distance(x, x, block) - mean_distance(y, y, block)


def energy_loss(x: Float[Array, "n d"], y: Float[Array, "m d"], softening: float = 1e-4) -> Float[Array, ""]:
    r"""Unbiased estimate of the energy distance from two batches, for training: differentiable at coinciding points.

    The means of $\|x_i-x_k\|$ and of $\|y_j-y_l\|$ leave out the pairs of a point with itself. So two batches of one
    distribution give zero on average, and less than zero now and then (Székely and Rizzo 2013).

    Args:
        x: one batch.
        y: the other.
        softening: distances are $\sqrt{\|\cdot\|^2+\text{softening}^2}$, so that zero has a gradient.
    """

    def total(a, b):
        return jnp.sqrt(jnp.sum((a[:, None] - b[None]) ** 2, axis=-1) + softening**2).sum()

    n, m = len(x), len(y)
    within = (total(x, x) - n * softening) / (n * (n - 1)) + (total(y, y) - m * softening) / (m * (m - 1))
    return 2 * total(x, y) / (n * m) - within


def transport_costs(displacement: Float[Array, "*batch n d"]) -> dict[str, Float[Array, "*batch"]]:
    r"""Mean over points of convex costs $c(d)$ of displacements $d=Z_1-Z_0$.

    Returns:
        By name: $\sum_j|d_j|$, $\sum_j|d_j|^{3/2}$, $\|d\|_2$, $\|d\|_2^2$, $\|d\|_2^4$ and $\max_j|d_j|$.
    """
    size = jnp.abs(displacement)
    squared = jnp.sum(displacement**2, -1)
    costs = {
        "sum |d_j|": size.sum(-1),
        "sum |d_j|^1.5": (size**1.5).sum(-1),
        "|d|": jnp.sqrt(squared),
        "|d|^2": squared,
        "|d|^4": squared**2,
        "max |d_j|": size.max(-1),
    }
    return {name: cost.mean(-1) for name, cost in costs.items()}


def optimal_assignment(x: Float[Array, "n d"], y: Float[Array, "n d"]) -> tuple[np.ndarray, float]:
    r"""The pairing of two samples with the least mean squared distance, the floor of quadratic transport costs.

    Solved exactly on the host by SciPy, in a time that grows as $n^3$: a thousand points take a tenth of a second.

    Args:
        x: first sample.
        y: second sample, of the same size.

    Returns:
        For each row of ``x`` its partner's index in ``y``, and the mean of $\|x_i-y_{\text{partner}(i)}\|^2$.
    """
    costs = cdist(np.asarray(x), np.asarray(y), "sqeuclidean")
    rows, partners = linear_sum_assignment(costs)
    return partners, float(costs[rows, partners].mean())
