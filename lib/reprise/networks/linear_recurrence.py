r"""Gated linear recurrences, in parallel over time: a recurrent network without attention and without saturation.

$$h_t = a_t\odot h_{t-1} + u_t$$

with a decay $a_t$ for every channel that depends on the token but not on the state. That makes the map
$h_{t-1}\mapsto h_t$ affine, affine maps compose to affine maps, and composition is associative, so that all states
follow in $\lceil\log_2 T\rceil$ rounds of pairwise composition instead of $T$ steps (Blelloch 1990; Martin and Cundy
2018 for networks).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from reprise.networks.mlp import Dense
from reprise.networks.transformer import normalise


def scan_parallel(
    decay: Float[Array, "*batch time channels"], inputs: Float[Array, "*batch time channels"],
    start: Float[Array, "*batch channels"] | None = None,
) -> Float[Array, "*batch time channels"]:  # fmt: skip
    r"""All states of $h_t = a_t h_{t-1} + u_t$, by an associative scan: logarithmic depth, about twice the work.

    The pair $(a, u)$ stands for the map $h\mapsto ah + u$; the later of two after the earlier is
    $(a_2a_1,\ a_2u_1 + u_2)$.

    Args:
        decay: $a_t$.
        inputs: $u_t$.
        start: $h_0$, the state before the first input; zero if not given.
    """
    decay, inputs = _broadcast(decay, inputs, start)
    then = lambda first, later: (later[0] * first[0], later[0] * first[1] + later[1])
    return jax.lax.associative_scan(then, (decay, inputs), axis=inputs.ndim - 2)[1]


def scan_sequential(
    decay: Float[Array, "*batch time channels"], inputs: Float[Array, "*batch time channels"],
    start: Float[Array, "*batch channels"] | None = None,
) -> Float[Array, "*batch time channels"]:  # fmt: skip
    """The same states as `scan_parallel`, one time step after the other: least work, linear depth."""
    decay, inputs = _broadcast(decay, inputs, start)

    def step(h, now):
        a, u = now
        h = a * h + u
        return h, h

    by_time = jnp.moveaxis(decay, -2, 0), jnp.moveaxis(inputs, -2, 0)
    return jnp.moveaxis(jax.lax.scan(step, jnp.zeros_like(by_time[1][0]), by_time)[1], 0, -2)


def _broadcast(decay, inputs, start):
    """Both in one shape and type, with the start state folded into the first input."""
    decay, inputs = jnp.broadcast_arrays(*(jnp.asarray(a, jnp.result_type(decay, inputs)) for a in (decay, inputs)))
    if start is not None:
        inputs = inputs.at[..., 0, :].add(decay[..., 0, :] * start)
    return decay, inputs


def gated_recurrence(
    x: Float[Array, "*batch time width"], project: Float[Array, "width 3*width"],
    bias: Float[Array, " width"], merge: Float[Array, "width width"], *, parallel: bool = True,
) -> Float[Array, "*batch time width"]:  # fmt: skip
    r"""What `GatedRecurrence` computes, as a function of its parameters."""
    decay, value, gate = jnp.split(x @ project, 3, -1)
    keep = jax.nn.sigmoid(decay + bias)
    # 1 - sigmoid, without the cancellation where it is close to 1
    driven = jax.nn.sigmoid(-decay - bias) * value
    states = (scan_parallel if parallel else scan_sequential)(keep, driven)
    return (states * jax.nn.silu(gate)) @ merge


class GatedRecurrence(nnx.Module):
    r"""A recurrent layer with a decay for every channel and token, and a gated output:

    $$a_t = \sigma(W_ax_t + b),\quad h_t = a_t\odot h_{t-1} + (1 - a_t)\odot W_vx_t,\quad
      y_t = W_o\,\big(h_t\odot\mathrm{silu}(W_gx_t)\big).$$

    A state is a running average of values, and the decay is how much of the past it keeps. The biases $b$ start evenly
    spread over ``memory``, so that channels begin with different memories: $\sigma(4)$ forgets over some 55 tokens.
    (The diagonal gate of Qin et al. 2023, arXiv:2311.04823, and Feng et al. 2024, arXiv:2410.01201.) No nonlinearity
    acts from state to state, which is what lets time be a scan.

    Args:
        width: channels of tokens, states and outputs.
        memory: the first and the last of the biases.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, width: int, *, memory: tuple[float, float] = (0.0, 4.0), rngs: nnx.Rngs):
        draw = lambda *shape: nnx.Param(width**-0.5 * rngs.params.normal(shape))
        self.project, self.merge = draw(width, 3 * width), draw(width, width)
        self.bias = nnx.Param(jnp.linspace(*memory, width))

    def __call__(self, x: Float[Array, "*batch time width"]) -> Float[Array, "*batch time width"]:
        """Outputs at all times; each depends on the tokens up to its own."""
        return gated_recurrence(x, self.project[...], self.bias[...], self.merge[...])


class RecurrentBlocks(nnx.Module):
    r"""`reprise.networks.transformer.Transformer` with gated recurrences in the place of attention, and nothing else.

    Layer norm, residual stream, MLPs, initialisation and read-out are the transformer's, so that comparing the two
    compares attention with recurrence. It has no positions: the order of the tokens is in the recurrence.

    Args:
        inputs: entries of an input token.
        width: of the residual stream.
        outputs: entries of an output.
        depth: number of blocks.
        hidden: units of the MLPs; four times the width by default.
        memory: as in `GatedRecurrence`.
        parallel: whether time is an associative scan or a loop: as fast on short sequences, and sooner compiled.
        unroll: write the blocks out instead of scanning them. A few small blocks then compile and train faster.
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, *, depth: int, hidden: int | None = None,
        memory: tuple[float, float] = (0.0, 4.0), parallel: bool = True, unroll: bool = False, rngs: nnx.Rngs,
    ):  # fmt: skip
        hidden = 4 * width if hidden is None else hidden
        self.parallel, self.unroll = parallel, unroll
        into = (2 * depth) ** -0.5

        def draw(*shape, scale=1.0):
            return nnx.Param(scale * shape[-2] ** -0.5 * rngs.params.normal(shape))

        zeros, ones = (lambda *shape: nnx.Param(jnp.zeros(shape))), (lambda *shape: nnx.Param(jnp.ones(shape)))
        self.embedding = Dense(inputs, width, rngs=rngs)
        self.blocks = nnx.Dict(
            gain=ones(depth, 2, width), shift=zeros(depth, 2, width),
            project=draw(depth, width, 3 * width), bias=nnx.Param(jnp.tile(jnp.linspace(*memory, width), (depth, 1))),
            merge=draw(depth, width, width, scale=into),
            up=draw(depth, width, hidden), up_bias=zeros(depth, hidden),
            down=draw(depth, hidden, width, scale=into), down_bias=zeros(depth, width),
        )  # fmt: skip
        self.gain, self.shift = ones(width), zeros(width)
        self.readout = Dense(width, outputs, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch time inputs"]) -> Float[Array, "*batch time outputs"]:
        """Outputs at all times."""

        def block(h, p):
            keyed = normalise(h) * p["gain"][0] + p["shift"][0]
            h = h + gated_recurrence(keyed, p["project"], p["bias"], p["merge"], parallel=self.parallel)
            keyed = normalise(h) * p["gain"][1] + p["shift"][1]
            return h + jax.nn.gelu(keyed @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"], None

        parameters = {name: leaf[...] for name, leaf in self.blocks.items()}
        h, _ = jax.lax.scan(block, self.embedding(x), parameters, unroll=self.unroll)
        return self.readout(normalise(h) * self.gain[...] + self.shift[...])
