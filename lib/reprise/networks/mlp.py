"""Multi-layer perceptrons in the standard and the NTK parametrisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

Parametrization = Literal["standard", "ntk"]


class Dense(nnx.Module):
    r"""An affine layer whose scale sits in the initialisation ("standard") or in the forward pass ("ntk").

    Standard: $Wx + b$ with $W_{ij}\sim N(0, s_w^2/n)$, $b_i\sim N(0, s_b^2)$.
    NTK: $\tfrac{s_w}{\sqrt n}Wx + s_b b$ with $W_{ij}, b_i\sim N(0, 1)$ (Jacot et al. 2018, section 2).
    Both are the same function at initialisation and differ in how gradient descent moves it.

    Args:
        fan_in: $n$, the number of inputs.
        fan_out: number of outputs.
        parametrization: "standard" or "ntk".
        weight_std: $s_w$.
        bias_std: $s_b$; 0 starts biases at zero ("ntk" then never trains them, "standard" does).
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, fan_in: int, fan_out: int, *, parametrization: Parametrization = "standard",
        weight_std: float = 1.0, bias_std: float = 0.0, rngs: nnx.Rngs,
    ):  # fmt: skip
        if parametrization not in ("standard", "ntk"):
            raise ValueError(f"parametrization must be 'standard' or 'ntk', not {parametrization!r}")
        weight = rngs.params.normal((fan_in, fan_out))
        if parametrization == "ntk" or bias_std != 0:
            bias = rngs.params.normal((fan_out,))
        else:  # a draw that would be multiplied by zero is left out: compiling it costs as much as that of the weights
            bias, _ = jax.device_put(np.zeros(fan_out)), rngs.params()
        weight_scale, bias_scale = weight_std / fan_in**0.5, bias_std
        self.scales = (weight_scale, bias_scale) if parametrization == "ntk" else (1.0, 1.0)
        at_init = (1.0, 1.0) if parametrization == "ntk" else (weight_scale, bias_scale)
        self.weight, self.bias = nnx.Param(at_init[0] * weight), nnx.Param(at_init[1] * bias)

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch fan_out"]:
        """The layer's output."""
        weight_scale, bias_scale = self.scales
        return weight_scale * (x @ self.weight[...]) + bias_scale * self.bias[...]


class MLP(nnx.Module):
    """Affine layers with an activation between them (none after the last).

    Args:
        widths: input, hidden and output sizes, e.g. ``[2, 64, 64, 1]``.
        activation: applied elementwise after every layer but the last.
        parametrization, weight_std, bias_std: as in `Dense`, for every layer.
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, widths: Sequence[int], *, activation: Callable[[Array], Array] = jax.nn.relu,
        parametrization: Parametrization = "standard", weight_std: float = 1.0, bias_std: float = 0.0, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.activation = activation
        self.layers = nnx.List(
            Dense(m, n, parametrization=parametrization, weight_std=weight_std, bias_std=bias_std, rngs=rngs)
            for m, n in zip(widths, widths[1:], strict=False)
        )

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """The network's output."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def count_parameters(params) -> int:
    """Number of scalars in a pytree of arrays or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
