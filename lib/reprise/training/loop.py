"""One training loop: a `jax.lax.scan` over steps, to be jitted once and mapped over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array, Float, Key, PyTree

Loss = Callable[[PyTree, Key[Array, ""]], Float[Array, ""]]


def fit(
    loss: Loss,
    params: PyTree[Array],
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    steps: int,
    *,
    watch: Callable[[PyTree], Any] | None = None,
    watch_every: int = 1,
) -> tuple[PyTree[Array], dict[str, Any]]:
    """Minimise a loss with an Optax optimizer.

    Everything is traced, so wrap the call in `jax.jit`, and in `jax.vmap` over ``params`` and ``key`` for seeds.

    Args:
        loss: ``loss(params, key)``; draw the step's batch from ``key`` (a full-batch loss ignores it).
        params: where to start.
        optimizer: an Optax transformation.
        key: randomness of all steps.
        steps: number of updates; a multiple of ``watch_every``.
        watch: if given, evaluated on the parameters before the first update and after every ``watch_every`` updates.
        watch_every: updates between two watches.

    Returns:
        The trained parameters, and ``{"loss": [steps], "watch": pytree with leading axis steps // watch_every + 1}``
        (``"watch"`` only if asked for). ``loss[i]`` is the loss at the parameters before update ``i``.
    """
    if steps % watch_every:
        raise ValueError(f"steps ({steps}) must be a multiple of watch_every ({watch_every})")

    def step(carry, key):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, key)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    start = (params, optimizer.init(params))
    keys = jax.random.split(key, steps)
    if watch is None:
        (params, _), losses = jax.lax.scan(step, start, keys)
        return params, {"loss": losses}

    def block(carry, keys):
        carry, losses = jax.lax.scan(step, carry, keys)
        return carry, (losses, watch(carry[0]))

    first = watch(params)
    (params, _), (losses, seen) = jax.lax.scan(block, start, keys.reshape(-1, watch_every, *keys.shape[1:]))
    seen = jax.tree.map(
        lambda one, rest: jax.numpy.concatenate([one[None], rest]), jax.tree.map(jax.numpy.asarray, first), seen
    )
    return params, {"loss": losses.reshape(-1), "watch": seen}
