"""NNX modules seen as pure functions of a parameter pytree, one network or a whole ensemble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Key, PyTree

Apply = Callable[..., Any]


def functional(model: nnx.Module) -> tuple[Apply, PyTree[Array]]:
    """Split a module into ``apply(params, *inputs)`` and its ``params``, a pytree of arrays.

    The pair is safe under `jax.jit`, `jax.vmap` and `jax.grad`; every `flax.nnx.Param` of the module is in ``params``.
    """
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def apply(params: PyTree[Array], *inputs: Any) -> Any:
        return nnx.merge(graph, params, rest)(*inputs)

    return apply, params


def ensemble(make: Callable[[nnx.Rngs], nnx.Module], keys: Key[Array, " seeds"]) -> tuple[Apply, PyTree[Array]]:
    """Initialise one network a key: ``apply`` as in `functional`, and params whose leaves have a leading seed axis.

    Args:
        make: builds the module from its random streams, e.g. ``lambda rngs: MLP([2, 64, 1], rngs=rngs)``.
        keys: one key a network.

    Returns:
        ``apply`` takes one network's parameters: map it over the seeds with `jax.vmap`.
    """
    apply, _ = functional(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    params = jax.vmap(lambda key: functional(make(nnx.Rngs(key)))[1])(keys)
    return apply, params
