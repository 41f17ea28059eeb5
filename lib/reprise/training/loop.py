"""One training loop: a `jax.lax.scan` over steps, to be jitted once and mapped over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
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
        steps: number of updates.
        inputs: if given, a pytree with leading axis ``steps`` (an annealed coefficient, say): the loss is called as
            ``loss(params, key, inputs of this step)``.
        has_aux: whether the loss returns ``(value, aux)``.
        state: the optimizer's state to go on from (``history["state"]`` of an earlier call); fresh if not given.
        watch: if given, evaluated on the parameters before the first update, after every ``watch_every`` updates and
            after the last.
        watch_every: updates between two watches.

    Returns:
        The trained parameters, and ``{"loss": [steps], "state": optimizer state, "aux": pytree with leading axis steps,
        "watch": pytree with leading axis ceil(steps / watch_every) + 1}`` (``"aux"`` and ``"watch"`` if asked for).
        ``loss[i]`` and ``aux[i]`` are those at the parameters before update ``i``.
    """
    if watch_every < 1:
        raise ValueError(f"watch_every ({watch_every}) must be at least 1")

    def step(carry, now):
        params, state = carry
        value, gradient = jax.value_and_grad(loss, has_aux=has_aux)(params, *now)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    state = optimizer.init(params) if state is None else state
    keys = jax.random.split(key, steps)
    per_step = (keys,) if inputs is None else (keys, inputs)
    history = {}
    if watch is None:
        (params, state), values = jax.lax.scan(step, (params, state), per_step)
    else:
        watch_carry = lambda carry: watch(carry[0])
        (params, state), values, history["watch"] = _watched(step, (params, state), per_step, watch_carry, watch_every)
    losses, *aux = values if has_aux else (values,)
    history |= {"loss": losses, "state": state}
    if has_aux:
        (history["aux"],) = aux
    return params, history


def _watched(step: Callable, start: PyTree, per_step: PyTree[Array], watch: Callable, every: int):
    """Scan ``step``, and watch the carry at the start, every so many steps and at the end."""
    steps = len(jax.tree.leaves(per_step)[0])
    whole = steps - steps % every

    def block(carry, now):
        carry, values = jax.lax.scan(step, carry, now)
        return carry, (values, watch(carry))

    blocks = jax.tree.map(lambda x: x[:whole].reshape(whole // every, every, *x.shape[1:]), per_step)
    carry, (values, seen) = jax.lax.scan(block, start, blocks)
    values = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), values)
    seen = _joined(_single(watch(start)), seen)
    if whole < steps:
        carry, (rest, last) = block(carry, jax.tree.map(lambda x: x[whole:], per_step))
        values, seen = _joined(values, rest), _joined(seen, _single(last))
    return carry, values, seen


def _single(tree: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x: jnp.asarray(x)[None], tree)


def _joined(*trees: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)
