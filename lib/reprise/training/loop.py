"""One training loop: a `jax.lax.scan` over steps, to be jitted once and mapped over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array, Float, Key, PyTree

Loss = Callable[..., Float[Array, ""]]


def fit(
    loss: Loss,
    params: PyTree[Array],
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    steps: int,
    *,
    inputs: PyTree[Array] | None = None,
    has_aux: bool = False,
    state: PyTree[Array] | None = None,
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
        inputs: if given, a pytree with leading axis ``steps`` (an annealed coefficient, say): the loss is called as
            ``loss(params, key, inputs of this step)``.
        has_aux: whether the loss returns ``(value, aux)``.
        state: the optimizer's state to go on from (``history["state"]`` of an earlier call); fresh if not given.
        watch: if given, evaluated on the parameters before the first update and after every ``watch_every`` updates.
        watch_every: updates between two watches.

    Returns:
        The trained parameters, and ``{"loss": [steps], "state": optimizer state, "aux": pytree with leading axis steps,
        "watch": pytree with leading axis steps // watch_every + 1}`` (``"aux"`` and ``"watch"`` only if asked for).
        ``loss[i]`` and ``aux[i]`` are those at the parameters before update ``i``.
    """
    if steps % watch_every:
        raise ValueError(f"steps ({steps}) must be a multiple of watch_every ({watch_every})")

    def step(carry, now):
        params, state = carry
        value, gradient = jax.value_and_grad(loss, has_aux=has_aux)(params, *now)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    start = (params, optimizer.init(params) if state is None else state)
    keys = jax.random.split(key, steps)
    per_step = (keys,) if inputs is None else (keys, inputs)
    history = {}
    if watch is None:
        (params, state), values = jax.lax.scan(step, start, per_step)
    else:

        def block(carry, now):
            carry, values = jax.lax.scan(step, carry, now)
            return carry, (values, watch(carry[0]))

        first = watch(params)
        blocks = jax.tree.map(lambda x: x.reshape(-1, watch_every, *x.shape[1:]), per_step)
        (params, state), (values, seen) = jax.lax.scan(block, start, blocks)
        values = jax.tree.map(lambda x: x.reshape(steps, *x.shape[2:]), values)
        history["watch"] = jax.tree.map(
            lambda one, rest: jax.numpy.concatenate([one[None], rest]), jax.tree.map(jax.numpy.asarray, first), seen
        )
    losses, *aux = values if has_aux else (values,)
    history |= {"loss": losses, "state": state}
    if has_aux:
        (history["aux"],) = aux
    return params, history
