r"""Low-rank adapters: a few more parameters beside the weight matrices of a network that is itself left alone.

A chosen matrix $W$ of shape ``[fan_in, fan_out]`` becomes

$$W + s\,A B, \qquad A\in\mathbb R^{\text{fan in}\times r},\quad B\in\mathbb R^{r\times\text{fan out}},$$

and only $A$ and $B$ are trained (LoRA, Hu et al. 2021, arXiv:2106.09685, section 4.1, there transposed). $A$ starts
random and $B$ at zero, so that the adapted network begins as the old one. Adapters are a pytree of their own:
differentiate ``lambda adapters: loss(merge(params, adapters))``, and the parameters get no gradient.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree


class Adapter(NamedTuple):
    """The two factors of what is added to a matrix; with the leading axes of a stack of matrices, if it is one."""

    into: Float[Array, "*stack fan_in rank"]
    out: Float[Array, "*stack rank fan_out"]


Adapters = dict[str, Adapter]


def low_rank_adapters(
    params: PyTree[Any], names: Collection[str], rank: int, rng: np.random.Generator, members: int | None = None
) -> Adapters:
    r"""Fresh adapters, $A_{ij}\sim N(0, 1/\text{fan in})$ and $B=0$, for the chosen matrices of a parameter pytree.

    Args:
        params: the network's parameters (or their shapes).
        names: which leaves: those with one of these names on their path. Axes before the last two count matrices.
        rank: $r$, at most the smaller side of every chosen matrix.
        rng: source of the numbers.
        members: if given, so many independent adapters along a new leading axis.

    Returns:
        Adapters by their matrices' paths.

    Raises:
        ValueError: a name chooses nothing, or something that is not a matrix or too small for the rank.
    """
    chosen = {path: leaf for path, leaf in _by_path(params) if set(names) & set(path.split("/"))}
    for name in names:
        if not any(name in path.split("/") for path in chosen):
            raise ValueError(f"no parameter is named {name!r}; there are {', '.join(p for p, _ in _by_path(params))}")
    adapters, lead = {}, () if members is None else (members,)
    for path, leaf in chosen.items():
        if len(leaf.shape) < 2 or rank > min(leaf.shape[-2:]):
            raise ValueError(f"{path} has shape {tuple(leaf.shape)}: there is no adapter of rank {rank} for it")
        *stack, fan_in, fan_out = leaf.shape
        into = rng.normal(size=(*lead, *stack, fan_in, rank)) / fan_in**0.5
        adapters[path] = Adapter(into.astype(leaf.dtype), np.zeros((*lead, *stack, rank, fan_out), leaf.dtype))
    return adapters


def merge(params: PyTree[Array], adapters: Adapters, scale: float | Float[Array, ""] = 1.0) -> PyTree[Array]:
    """The parameters with $s A B$ added to the matrices that have an adapter; all others as they are.

    Args:
        params: the network's parameters.
        adapters: from `low_rank_adapters`, trained or not.
        scale: $s$.
    """
    paths = iter([path for path, _ in _by_path(params)])

    def add(leaf):
        adapter = adapters.get(next(paths))
        return leaf if adapter is None else leaf + scale * jnp.matmul(adapter.into, adapter.out)

    return jax.tree.map(add, params)


def _by_path(params):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]
