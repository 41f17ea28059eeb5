r"""Kernels of infinitely wide networks, layer by layer: the Gaussian-process (NNGP) and the tangent kernel (NTK).

A network of infinite width is known, as far as initialisation and lazy training go, by two kernels. Each layer is a
rule that maps the pair to the next one, so an architecture is the composition of its layers' rules:

>>> kernels = affine(inputs(x), bias_std=0.1)
>>> kernels = affine(activate(kernels, RELU), bias_std=0.1)   # one hidden layer
>>> kernels.ntk                                               # shape [n, n]

`mlp_kernels` is that composition for `reprise.networks.mlp.MLP`. A new layer is one more function of `Kernels`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from reprise.kernels.activations import RELU, Nonlinearity


class Kernels(NamedTuple):
    """Both kernels between two batches of inputs, at one layer of an infinitely wide network.

    Attributes:
        nngp: covariance of one unit's value over random initialisations, between batch 1 and batch 2.
        ntk: inner product of one unit's parameter gradients, between batch 1 and batch 2.
        variance1: the diagonal that ``nngp`` has within batch 1.
        variance2: the same within batch 2.
    """

    nngp: Float[Array, "n m"]
    ntk: Float[Array, "n m"]
    variance1: Float[Array, " n"]
    variance2: Float[Array, " m"]


def inputs(x1: Float[Array, "n d"], x2: Float[Array, "m d"] | None = None) -> Kernels:
    """The kernels of the inputs themselves: ``x1 @ x2.T / d``, and no parameters yet.

    Args:
        x1: first batch.
        x2: second batch; ``x1`` by default.
    """
    x2 = x1 if x2 is None else x2
    if x1.ndim != 2 or x2.ndim != 2 or x1.shape[1] != x2.shape[1]:
        raise ValueError(f"x1 and x2 must be [n, d] and [m, d], not {x1.shape} and {x2.shape}")
    nngp = jnp.matmul(x1, x2.T, precision="highest") / x1.shape[1]
    return Kernels(nngp, jnp.zeros_like(nngp), (x1**2).mean(1), (x2**2).mean(1))


def affine(kernels: Kernels, weight_std: float = 1.0, bias_std: float = 0.0) -> Kernels:
    r"""A dense layer in the NTK parametrisation, $\tfrac{s_w}{\sqrt n}Wx + s_b b$ with $W_{ij}, b_i \sim N(0, 1)$.

    $\Sigma \mapsto s_w^2\Sigma + s_b^2$ and $\Theta \mapsto s_w^2\Theta + (s_w^2\Sigma + s_b^2)$: what the layers below
    contribute, and this layer's own weights and biases (Jacot et al. 2018, theorem 1).

    Args:
        kernels: of the layer's inputs.
        weight_std: $s_w$.
        bias_std: $s_b$, the paper's $\beta$.
    """
    nngp, variance1, variance2 = (
        weight_std**2 * k + bias_std**2 for k in (kernels.nngp, kernels.variance1, kernels.variance2)
    )
    return Kernels(nngp, weight_std**2 * kernels.ntk + nngp, variance1, variance2)


def activate(kernels: Kernels, nonlinearity: Nonlinearity) -> Kernels:
    r"""A nonlinearity: $\Sigma \mapsto \mathbb E[\sigma\sigma]$ and $\Theta \mapsto \Theta\,\mathbb E[\sigma'\sigma']$.

    Args:
        kernels: of the preactivations, which are Gaussian in the limit.
        nonlinearity: with its dual, e.g. `reprise.kernels.activations.RELU`.
    """
    one, two = kernels.variance1, kernels.variance2
    value, slope = nonlinearity.dual(kernels.nngp, one[:, None], two[None, :])
    return Kernels(
        value, kernels.ntk * slope, nonlinearity.dual(one, one, one).value, nonlinearity.dual(two, two, two).value
    )


def mlp_kernels(
    x1: Float[Array, "n d"],
    x2: Float[Array, "m d"] | None = None,
    *,
    hidden: int,
    nonlinearity: Nonlinearity = RELU,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
) -> Kernels:
    """Kernels at the output of a `reprise.networks.mlp.MLP` (``parametrization="ntk"``) with infinitely wide layers.

    Args:
        x1: first batch of inputs.
        x2: second batch; ``x1`` by default.
        hidden: number of hidden layers (the depth $L$ of Jacot et al. counts the output layer too: $L$ = hidden + 1).
        nonlinearity: after every layer but the last.
        weight_std: as in the network.
        bias_std: as in the network.
    """
    if hidden < 0:
        raise ValueError(f"hidden must be 0 or more, not {hidden}")
    kernels = affine(inputs(x1, x2), weight_std, bias_std)
    for _ in range(hidden):
        kernels = affine(activate(kernels, nonlinearity), weight_std, bias_std)
    return kernels
