r"""Forcing a model along data while it is trained, from not at all to completely.

The forced state is the mixture $\tilde z_t=(1-\alpha_t)z_t+\alpha_t\bar z_t$ of the model's own state and the data's.
Its Jacobian with respect to $z_t$ is $(1-\alpha_t)I$, which damps every factor of a gradient through time (Hess et al.
2023, arXiv:2306.04406).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Forced(NamedTuple):
    r"""A model's run along data.

    Attributes:
        predictions: $z_1,\dots,z_T$, what the model made of the forced state before; to be compared with the data.
        states: $\tilde z_0,\dots,\tilde z_{T-1}$, the forced states that the model was applied to.
    """

    predictions: Float[Array, " length *shape"]
    states: Float[Array, " length *shape"]


def force(
    step: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]],
    data: Float[Array, " length+1 *shape"],
    strength: Float[Array, "*length"],
    start: Float[Array, "*shape"] | None = None,
) -> Forced:
    r"""Run a model along data: $z_{t+1}=F(\tilde z_t)$ with $\tilde z_t=(1-\alpha_t)z_t+\alpha_t\bar z_t$.

    Args:
        step: the model's map $F$.
        data: $\bar z_0,\dots,\bar z_T$, time first; further axes may hold a batch.
        strength: $\alpha$, one number or one for each of the $T$ steps. 0 is free running from the start, 1 full
            teacher forcing; see `sparse_strength`.
        start: $z_0$, by default $\bar z_0$.
    """
    data = jnp.asarray(data)
    strength = jnp.broadcast_to(jnp.asarray(strength, data.dtype), (len(data) - 1,))

    def advance(state, now):
        target, alpha = now
        forced = (1 - alpha) * state + alpha * target
        ahead = step(forced)
        return ahead, (ahead, forced)

    return Forced(*jax.lax.scan(advance, data[0] if start is None else start, (data[:-1], strength))[1])


def sparse_strength(length: int, interval: int) -> Float[np.ndarray, " length"]:
    """Strengths of sparse teacher forcing: 1 at every ``interval``-th step, 0 between (Mikhaeil et al. 2022)."""
    return (np.arange(length) % interval == 0).astype(np.float32)


def strength_for(norm: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""The strength $\alpha=\max(0, 1-1/\sigma)$, which brings Jacobians of spectral norm $\sigma$ down to 1."""
    return jnp.maximum(0.0, 1.0 - 1.0 / norm)


def adapted_strength(
    jacobians: Float[Array, "batch length dim dim"], previous: Float[Array, ""], memory: float = 0.999
) -> Float[Array, ""]:
    r"""One update of the adaptive strength, from the model's Jacobians at the states of a batch of data.

    The estimate is `strength_for` of the geometric mean of the Jacobians' spectral norms along a sequence, an upper
    bound on the growth of their product, at the worst sequence of the batch. A larger estimate takes effect at once, a
    smaller one through an exponential average (Hess et al. 2023, algorithm in the appendix).

    Args:
        jacobians: of the model's map.
        previous: the strength in use.
        memory: $\gamma$, the weight of ``previous`` on the way down.
    """
    norms = jnp.sqrt(jnp.linalg.eigvalsh(jnp.einsum("...ji,...jk->...ik", jacobians, jacobians))[..., -1])
    estimate = jnp.max(strength_for(jnp.exp(jnp.mean(jnp.log(norms), axis=-1))))
    return jnp.where(estimate > previous, estimate, memory * previous + (1 - memory) * estimate)
