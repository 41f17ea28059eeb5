"""A scanned training loop for optimizers that want every example's gradient, not the gradient of the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


def fit_conditions(
    condition: Callable[..., Float[Array, ""]],
    params: PyTree[Array],
    optimizer: optax.GradientTransformationExtraArgs,
    batches: tuple[PyTree[Array], ...],
    *,
    watch: Callable[[PyTree], Any] | None = None,
    watch_every: int = 1,
) -> tuple[PyTree[Array], dict[str, Any]]:
    """Drive one scalar an example (a residual, a loss) to zero with an optimizer of per-example gradients.

    Everything is traced, so wrap the call in `jax.jit`, and in `jax.vmap` over ``params`` and ``batches`` for seeds.

    Args:
        condition: ``condition(params, *example)``.
        params: where to start.
        optimizer: its ``update`` takes gradients with a leading axis over the batch, and the extra argument
            ``conditions``, their values, as `reprise.optimizers.sven.sven` does.
        batches: one pytree for each argument of an example, leaves ``[steps, examples, ...]``.
        watch: if given, evaluated on the parameters before the first update and after every ``watch_every`` updates.
        watch_every: updates between two watches; the number of steps must be a multiple of it.

    Returns:
        The trained parameters, and ``{"conditions": [steps, examples], "state": optimizer state, "watch": pytree with
        leading axis steps // watch_every + 1}`` (``"watch"`` only if asked for). ``conditions[i]`` are the values at
        the parameters before update ``i``, on its own batch.
    """
    steps = len(jax.tree.leaves(batches)[0])
    if steps % watch_every:
        raise ValueError(f"the number of steps ({steps}) must be a multiple of watch_every ({watch_every})")
    over = (None, *(0 for _ in batches))

    def step(carry, batch):
        params, state = carry
        values, rows = jax.vmap(jax.value_and_grad(condition), over)(params, *batch)
        updates, state = optimizer.update(rows, state, params, conditions=values)
        return (optax.apply_updates(params, updates), state), values

    def block(carry, batches):
        carry, values = jax.lax.scan(step, carry, batches)
        return carry, (values, None if watch is None else watch(carry[0]))

    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, watch_every, *leaf.shape[1:]), batches)
    (trained, state), (values, seen) = jax.lax.scan(block, (params, optimizer.init(params)), blocks)
    history = {"conditions": values.reshape(steps, *values.shape[2:]), "state": state}
    if watch is not None:
        history["watch"] = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), watch(params), seen)
    return trained, history
