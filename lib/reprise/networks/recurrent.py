"""Simple recurrent networks in the NTK parametrisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Recurrent(nnx.Module):
    r"""An Elman network, $h^t = \phi(g^t)$, $g^t = \tfrac{s_w}{\sqrt n}Wh^{t-1} + \tfrac{s_u}{\sqrt d}Ux^t + s_b b$.

    The state before the first step is zero and the output is $\tfrac{1}{\sqrt n}v^\top h$, with $h$ the last state or
    the mean over all. Parameters are all drawn from $N(0, 1)$. With infinite width: `reprise.kernels.recurrent`.

    Args:
        inputs: $d$.
        width: $n$.
        outputs: number of outputs.
        activation: $\phi$.
        weight_std, input_std, bias_std: $s_w$, $s_u$, $s_b$.
        steps: if given, the length of all sequences, and every step has a recurrent matrix of its own. By default one
            matrix is shared by all steps.
        pool: "last" or "mean".
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, inputs: int, width: int, outputs: int = 1, *, activation: Callable[[Array], Array] = jnp.tanh,
        weight_std: float = 1.0, input_std: float = 1.0, bias_std: float = 0.0, steps: int | None = None,
        pool: Literal["last", "mean"] = "last", rngs: nnx.Rngs,
    ):  # fmt: skip
        if pool not in ("last", "mean"):
            raise ValueError(f"pool must be 'last' or 'mean', not {pool!r}")
        self.activation, self.pool, self.steps = activation, pool, steps
        self.scales = (weight_std / width**0.5, input_std / inputs**0.5, bias_std, width**-0.5)
        matrices = (width, width) if steps is None else (steps - 1, width, width)
        draw = lambda *shape: nnx.Param(rngs.params.normal(shape))
        self.recurrent, self.input, self.bias = draw(*matrices), draw(inputs, width), draw(width)
        self.readout = draw(width, outputs)

    def states(self, x: Float[Array, "batch time inputs"]) -> Float[Array, "batch time width"]:
        """The states at all steps."""
        if self.steps is not None and x.shape[1] != self.steps:
            raise ValueError(f"x must have {self.steps} steps, one more than there are matrices, not {x.shape[1]}")
        weight, into, bias, _ = self.scales
        drive = jnp.moveaxis(into * (x @ self.input[...]) + bias * self.bias[...], 1, 0)
        shared = None if self.steps is not None else self.recurrent[...]

        def step(h, now):
            drive, own = now if shared is None else (now, shared)
            h = self.activation(drive + weight * (h @ own))
            return h, h

        first = self.activation(drive[0])
        later = drive[1:] if shared is not None else (drive[1:], self.recurrent[...])
        _, rest = jax.lax.scan(step, first, later)
        return jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, 1)

    def __call__(self, x: Float[Array, "batch time inputs"]) -> Float[Array, "batch outputs"]:
        """The network's output."""
        states = self.states(x)
        h = states[:, -1] if self.pool == "last" else states.mean(1)
        return self.scales[3] * (h @ self.readout[...])
