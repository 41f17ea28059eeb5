r"""Single-index regression: targets that depend on the inputs through one hidden direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class SingleIndex(NamedTuple):
    r"""Samples of $y = g(\beta^\top x)$: ``inputs`` $x$, ``targets`` $y$ and the hidden ``direction`` $\beta$."""

    inputs: Float[Array, "n d"]
    targets: Float[Array, " n"]
    direction: Float[Array, " d"]


def sample(key: Key[Array, ""], samples: int, dimension: int, link: Callable[[Array], Array]) -> SingleIndex:
    r"""Draw $x\sim N(0, I/d)$ and a direction with $\lVert\beta\rVert^2 = d$, so that $\beta^\top x\sim N(0, 1)$.

    Args:
        key: randomness of inputs and direction.
        samples: n.
        dimension: d.
        link: $g$, elementwise.
    """
    draws = jax.random.normal(key, (samples + 1, dimension))
    inputs, direction = draws[:-1] / dimension**0.5, draws[-1] * dimension**0.5 / jnp.linalg.norm(draws[-1])
    return SingleIndex(inputs, link(inputs @ direction), direction)
