r"""The tangent kernel of a finite network, $\Theta(x, x') = \sum_p \partial_p f(x)\,\partial_p f(x')$."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from reprise.networks.mlp import MLP

Outputs = Literal["mean", "all"]


def jacobian_ntk(
    apply: Callable[[PyTree, Any], Array],
    params: PyTree[Array],
    x1: Float[Array, "n ..."],
    x2: Float[Array, "m ..."] | None = None,
    *,
    rates: PyTree[Array] | None = None,
    outputs: Outputs = "mean",
) -> Float[Array, "n m *kk"]:
    r"""The tangent kernel of any network, from its Jacobian (n times the outputs times all parameters in memory).

    Args:
        apply: ``apply(params, x)`` maps a batch ``[n, ...]`` to outputs ``[n, k]``.
        params: a pytree of arrays.
        x1: first batch.
        x2: second batch; ``x1`` by default.
        rates: relative learning rates $\eta_p$, a pytree like ``params`` (leaves broadcast). Gradient descent that
            moves parameter $p$ at the rate $\eta_p$ follows the kernel $\sum_p \eta_p\,\partial_p f\,\partial_p f'$.
        outputs: "mean" averages the kernels of the ``k`` outputs, shape ``[n, m]``; "all" keeps ``[n, m, k, k]``.
    """
    one = lambda x: jax.jacrev(lambda p: apply(p, x[None])[0])(params)
    first = jax.vmap(one)(x1)
    second = first if x2 is None else jax.vmap(one)(x2)
    if rates is not None:
        second = jax.tree.map(jnp.multiply, second, rates)
    return sum(
        _contract(a.reshape(*a.shape[:2], -1), b.reshape(*b.shape[:2], -1), outputs)
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )


def layerwise_ntk(
    model: MLP,
    x1: Float[Array, "n d"],
    x2: Float[Array, "m d"] | None = None,
    *,
    rates: Sequence[tuple[float, float]] | None = None,
    outputs: Outputs = "mean",
) -> Float[Array, "n m *kk"]:
    r"""The tangent kernel of an `MLP` as a sum over its layers, without ever forming a Jacobian.

    A layer's weight gradient is the outer product of its input $\alpha$ and the signal $\delta$ that comes back to its
    output, so its share is a product of two small Gram matrices: $(s_w^2/n\;\alpha\cdot\alpha' + s_b^2)\,
    (\delta\cdot\delta')$. Costs one forward and one backward pass.

    Args:
        model: the network, in either parametrisation.
        x1: first batch.
        x2: second batch; ``x1`` by default.
        rates: relative learning rates of each layer's weights and biases, 1 by default (see `jacobian_ntk`).
        outputs: as in `jacobian_ntk`.
    """
    first = _signals(model, x1)
    second = first if x2 is None else _signals(model, x2)
    rates = [(1.0, 1.0)] * len(first) if rates is None else rates
    total = 0.0
    for layer, (a1, d1), (a2, d2), rate in zip(model.layers, first, second, rates, strict=True):
        weight, bias = (r * scale**2 for r, scale in zip(rate, layer.scales, strict=True))
        inside = weight * jnp.matmul(a1, a2.T, precision="highest") + bias
        back = _contract(d1, d2, outputs)
        total += back * (inside if outputs == "mean" else inside[..., None, None])
    return total


def _signals(model: MLP, x):
    """For each layer its input [n, fan_in] and the gradient of every network output at its output [n, k, fan_out]."""
    layers, inputs, pullbacks = list(model.layers), [x], []
    for layer in layers[:-1]:
        x, pullback = jax.vjp(model.activation, layer(x))
        inputs.append(x)
        pullbacks.append(pullback)
    k = layers[-1].weight.shape[1]
    back = [jnp.broadcast_to(jnp.eye(k, dtype=x.dtype), (x.shape[0], k, k))]
    for layer, pullback in zip(layers[:0:-1], pullbacks[::-1], strict=True):
        signal = layer.scales[0] * jnp.einsum("nkj,ij->nki", back[-1], layer.weight[...])
        back.append(jax.vmap(lambda s, p=pullback: p(s)[0], in_axes=1, out_axes=1)(signal))
    return list(zip(inputs, back[::-1], strict=True))


def _contract(a, b, outputs: Outputs):
    if outputs == "mean":
        return jnp.einsum("nkp,mkp->nm", a, b, precision="highest") / a.shape[1]
    if outputs == "all":
        return jnp.einsum("nkp,mlp->nmkl", a, b, precision="highest")
    raise ValueError(f"outputs must be 'mean' or 'all', not {outputs!r}")
