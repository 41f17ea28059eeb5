"""NNX modules seen as pure functions of a parameter pytree, one network or a whole ensemble."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
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


def drawn(shapes: PyTree[Any], rng: np.random.Generator, members: tuple[int, ...] = ()) -> PyTree[Array]:
    """Parameters in the standard initialisation, drawn on the host: matrices $N(0, 1/n)$ with $n$ rows, vectors zero.

    For networks made of `reprise.networks.mlp.Dense` layers it is their own initialisation, without the seconds that
    XLA takes to compile generators of random numbers.

    Args:
        shapes: a pytree of arrays or of their shapes, such as `functional` gives for `flax.nnx.eval_shape` of a module.
        rng: source of the numbers.
        members: leading axes, one network each; all are drawn independently.
    """

    def draw(leaf):
        shape = (*members, *leaf.shape)
        values = rng.normal(size=shape) / leaf.shape[0] ** 0.5 if len(leaf.shape) == 2 else np.zeros(shape)
        return values.astype(leaf.dtype)

    return jax.tree.map(draw, shapes)


def ensemble_on_host(
    make: Callable[[nnx.Rngs], nnx.Module], rng: np.random.Generator, members: int
) -> tuple[Apply, PyTree[Array]]:
    """`ensemble` with its normal numbers drawn by NumPy: the module's own initialisation, whatever it is.

    What XLA would spend on compiling one generator a parameter, often longer than a small network trains, is saved.
    Where all parameters are plain matrices and vectors, `drawn` is simpler.

    Args:
        make: builds the module from its random streams; it draws with ``jax.random.normal`` only.
        rng: source of the numbers.
        members: how many networks.
    """
    module = nnx.eval_shape(lambda: make(nnx.Rngs(0)))

    @contextmanager
    def normals(answer):
        """Let ``jax.random.normal`` be answered from elsewhere while a module is built (that is, traced)."""
        original = jax.random.normal
        jax.random.normal = lambda key, shape=(), dtype=jnp.float32: answer(shape, dtype)
        try:
            yield
        finally:
            jax.random.normal = original

    def build(answer):
        with normals(answer):
            return functional(make(nnx.Rngs(0)))[1]

    asked = []
    jax.eval_shape(lambda: build(lambda shape, dtype: asked.append((shape, dtype)) or jnp.zeros(shape, dtype)))
    draws = [rng.normal(size=(members, *shape)).astype(dtype) for shape, dtype in asked]

    def one(draws):
        following = iter(draws)
        return build(lambda *_: next(following))

    return functional(module)[0], jax.jit(jax.vmap(one))(draws)
