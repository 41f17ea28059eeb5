"""NNX modules seen as pure functions of a parameter pytree, one network or a whole ensemble."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

Apply = Callable[..., Any]


def functional(model: nnx.Module, method: Callable[..., Any] | None = None) -> tuple[Apply, PyTree[Array]]:
    """Split a module into ``apply(params, *inputs)`` and its ``params``, a pytree of arrays.

    The pair is safe under `jax.jit`, `jax.vmap` and `jax.grad`; every `flax.nnx.Param` of the module is in ``params``.

    Args:
        model: the module (one of shapes only, from `flax.nnx.eval_shape`, will do to get ``apply``).
        method: what ``apply`` computes, ``method(model, *inputs)``; by default it calls the module.
    """
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def apply(params: PyTree[Array], *inputs: Any) -> Any:
        module = nnx.merge(graph, params, rest)
        return module(*inputs) if method is None else method(module, *inputs)

    return apply, params


def from_vector(shapes: PyTree[Any], vector: Float[Array, " size"]) -> PyTree[Array]:
    """Fold a vector into a parameter pytree, leaf after leaf: a network as a function of one point in parameter space.

    Drawing vectors is also the cheapest way to initialise networks in the NTK parametrisation, whose parameters are all
    independent $N(0, 1)$: XLA compiles one generator, where a draw for every layer would compile one each.

    Args:
        shapes: a pytree of arrays or of their shapes, such as `functional` gives for `flax.nnx.eval_shape` of a module.
        vector: as many numbers as the pytree has, see `reprise.networks.mlp.count_parameters`.
    """
    leaves, tree = jax.tree.flatten(shapes)
    ends = np.cumsum([leaf.size for leaf in leaves])
    if vector.shape != (ends[-1],):
        raise ValueError(f"vector must have shape ({ends[-1]},), not {vector.shape}")
    parts = jnp.split(vector, ends[:-1])
    return tree.unflatten(part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True))


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


def initialise(
    make: Callable[[nnx.Rngs], nnx.Module], rng: np.random.Generator, members: int | None = None
) -> tuple[Apply, PyTree[np.ndarray]]:
    """A module in its own initial distribution, drawn on the host: ``apply`` as in `functional`, and its parameters.

    `ensemble` draws from the same distribution on the device, under `jax.jit` if need be. For small networks XLA then
    compiles longer (a generator for every parameter) than they train. Here NumPy draws and nothing is compiled.

    >>> apply, params = initialise(lambda rngs: MLP([2, 64, 1], rngs=rngs), np.random.default_rng(0))

    Args:
        make: builds the module from its random streams. Numbers that it asks of a stream itself, as in
            ``rngs.params.normal(shape)`` or ``uniform``, are NumPy's; those for which it asks a key, ``rngs.params()``,
            are JAX's (correct, but compiled).
        rng: source of the numbers.
        members: networks, along a new leading axis of every parameter; without it, one network and no such axis.
    """
    shape = () if members is None else (members,)
    asked = []
    model = nnx.eval_shape(lambda: make(_Streams(lambda draw, size: asked.append((draw, size)) or np.zeros(size))))
    drawn = [np.asarray(draw(rng, (*shape, *size))) for draw, size in asked]
    apply, shapes = functional(model)

    def build(member):
        following = (numbers[member] for numbers in drawn)
        module = make(_Streams(lambda draw, size: next(following), rng.spawn(1)[0]))
        return jax.tree.map(lambda leaf, like: np.asarray(leaf, like.dtype), nnx.state(module, nnx.Param), shapes)

    if members is None:
        return apply, build(...)
    return apply, jax.tree.map(lambda *leaves: np.stack(leaves), *map(build, range(members)))


class _Streams:
    """What a module takes for its `flax.nnx.Rngs`: ``answer(draw, size)`` says what its streams return.

    All streams are one. Without a generator for keys, keys are all the same (enough to find out shapes).
    """

    def __init__(self, answer: Callable[..., np.ndarray], keys: np.random.Generator | None = None):
        self._answer, self._keys = answer, keys

    def normal(self, shape=(), dtype=float):
        return self._numbers(lambda rng, size: rng.normal(size=size), shape, dtype)

    def uniform(self, shape=(), dtype=float, minval=0.0, maxval=1.0):
        return self._numbers(lambda rng, size: rng.uniform(minval, maxval, size), shape, dtype)

    def _numbers(self, draw, size, dtype):
        return self._answer(draw, size).astype(jax.dtypes.canonicalize_dtype(dtype))

    def __call__(self):
        data = np.zeros(2) if self._keys is None else self._keys.integers(2**32, size=2)
        return jax.random.wrap_key_data(data.astype(np.uint32))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        method = getattr(nnx.RngStream, name, None)  # another distribution: drawn by JAX from a key
        return self if method is None else partial(method, self)
