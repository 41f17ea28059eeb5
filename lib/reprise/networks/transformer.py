r"""A small transformer: softmax self-attention and MLPs on a residual stream, with layer norm before each of them.

$$h \leftarrow h + \mathrm{Attention}(\mathrm{norm}(h)), \qquad
  h \leftarrow h + W_2\,\mathrm{gelu}(W_1\,\mathrm{norm}(h) + b_1) + b_2$$

(Vaswani et al. 2017; layer norm before the branches as in GPT-2, Radford et al. 2019.) All blocks are one array per
parameter, with the blocks along the leading axis, and run in a scan: compiling takes as long for twelve as for one.
(One or two of them compile and run faster when they are written out, which is an option.)
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from reprise.networks.mlp import Dense


class Cache(NamedTuple):
    """Keys and values that later tokens can attend to, one set a block."""

    keys: Float[Array, "depth *batch heads past channels"]
    values: Float[Array, "depth *batch heads past channels"]

    def followed_by(self, other: Cache) -> Cache:
        """This cache with another one's tokens after its own."""
        return Cache(*(jnp.concatenate(pair, -2) for pair in zip(self, other, strict=True)))


class Transformer(nnx.Module):
    r"""Tokens are vectors; a linear map embeds them, and another reads every position's output.

    For symbols, pass one-hot vectors. Weights are drawn from $N(0, 1/\text{fan-in})$, those that write into the
    residual stream divided by $\sqrt{2\,\text{depth}}$; biases start at 0 and layer norm's gains at 1.

    Args:
        inputs: entries of an input token.
        width: of the residual stream.
        outputs: entries of an output.
        depth: number of blocks.
        heads: of attention, a divisor of the width.
        hidden: units of the MLPs; four times the width by default.
        length: number of positions that have a learned embedding, $N(0, 1/\text{width})$; 0 for a network that
            sees no positions but through the causal mask.
        causal: whether a token attends only to itself and those before it.
        unroll: write the blocks out instead of scanning them. A few small blocks then compile and train faster.
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, *, depth: int, heads: int, hidden: int | None = None,
        length: int = 0, causal: bool = True, unroll: bool = False, rngs: nnx.Rngs,
    ):  # fmt: skip
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        hidden = 4 * width if hidden is None else hidden
        self.heads, self.causal, self.length, self.unroll = heads, causal, length, unroll
        into = (2 * depth) ** -0.5

        def draw(*shape, scale=1.0):
            return nnx.Param(scale * shape[-2] ** -0.5 * rngs.params.normal(shape))

        zeros, ones = (lambda *shape, fill=fill: nnx.Param(jax.device_put(np.full(shape, fill))) for fill in (0.0, 1.0))
        self.embedding = Dense(inputs, width, rngs=rngs)
        self.positions = nnx.Param(width**-0.5 * rngs.params.normal((length, width)))
        self.blocks = nnx.Dict(
            gain=ones(depth, 2, width), shift=zeros(depth, 2, width),
            attend=draw(depth, width, 3 * width), merge=draw(depth, width, width, scale=into),
            up=draw(depth, width, hidden), up_bias=zeros(depth, hidden),
            down=draw(depth, hidden, width, scale=into), down_bias=zeros(depth, width),
        )  # fmt: skip
        self.gain, self.shift = ones(width), zeros(width)
        self.readout = Dense(width, outputs, rngs=rngs)

    def __call__(
        self, x: Float[Array, "*batch time inputs"], mask: Bool[Array, "... time time"] | None = None
    ) -> Float[Array, "*batch time outputs"]:
        """Outputs at all positions. ``mask`` is as in `body`."""
        return self.read(self.body(self.embed(x), mask=mask)[0])

    def embed(
        self, x: Float[Array, "*batch time inputs"], start: int | Int[Array, "*batch time"] = 0
    ) -> Float[Array, "*batch time width"]:
        """The residual stream before the first block, for tokens at positions ``start``, ``start + 1``, ... or, if
        ``start`` is an array, at these positions (not checked: an array may be traced)."""
        h = self.embedding(x)
        if not self.length:
            return h
        if not isinstance(start, int):
            return h + self.positions[...][start]
        if start + x.shape[-2] > self.length:
            raise ValueError(f"positions {start} to {start + x.shape[-2] - 1}, but there are {self.length} embeddings")
        return h + self.positions[start : start + x.shape[-2]]

    def body(
        self, h: Float[Array, "*batch time width"], cache: Cache | None = None,
        mask: Bool[Array, "... time keys"] | None = None,
    ) -> tuple[Float[Array, "*batch time width"], Cache]:  # fmt: skip
        """All blocks.

        Args:
            h: the residual stream before the first block.
            cache: tokens that came before, which all of ``h`` may attend to.
            mask: True where a token (row) may attend to a key (column: the cache's tokens, then those of ``h``);
                broadcast over the batch and, with four or more axes, over heads. In place of the causal mask.

        Returns:
            The stream after the last block, and the keys and values of ``h``'s own tokens.
        """
        time = h.shape[-2]
        past = 0 if cache is None else cache.keys.shape[-2]
        if mask is None and self.causal:
            mask = jnp.tril(jnp.ones((time, past + time), bool), past)
        elif mask is not None and mask.ndim > 2:
            mask = jnp.expand_dims(mask, -3) if mask.ndim < h.ndim + 1 else mask

        def block(h, now):
            p, seen = now
            keyed = normalise(h) * p["gain"][0] + p["shift"][0]
            queries, keys, values = (self._split(part) for part in jnp.split(keyed @ p["attend"], 3, -1))
            own = Cache(keys, values)
            keys, values = own if seen is None else seen.followed_by(own)
            read = attention(queries, keys, values, mask)
            h = h + jnp.moveaxis(read, -3, -2).reshape(h.shape) @ p["merge"]
            keyed = normalise(h) * p["gain"][1] + p["shift"][1]
            h = h + jax.nn.gelu(keyed @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]
            return h, own

        parameters = {name: leaf[...] for name, leaf in self.blocks.items()}
        return jax.lax.scan(block, h, (parameters, cache), unroll=self.unroll)

    def read(self, h: Float[Array, "*batch time width"]) -> Float[Array, "*batch time outputs"]:
        """The outputs of a residual stream: layer norm and a linear map."""
        return self.readout(normalise(h) * self.gain[...] + self.shift[...])

    def _split(self, x):
        return jnp.moveaxis(x.reshape(*x.shape[:-1], self.heads, -1), -2, -3)


def normalise(h: Float[Array, "*batch width"], floor: float = 1e-5) -> Float[Array, "*batch width"]:
    """Layer norm without gain and shift: mean 0 and variance 1 over the last axis (variances much below ``floor``
    stay small)."""
    h = h - h.mean(-1, keepdims=True)
    return h * jax.lax.rsqrt(jnp.mean(h**2, -1, keepdims=True) + floor)


def attention(
    queries: Float[Array, "*batch time channels"], keys: Float[Array, "*batch keys channels"],
    values: Float[Array, "*batch keys v"], mask: Bool[Array, "... time keys"] | None = None,
) -> Float[Array, "*batch time v"]:  # fmt: skip
    r"""$\mathrm{softmax}(QK^\top/\sqrt{d})\,V$ over the keys that ``mask`` allows (True), all if there is none."""
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    return jax.nn.softmax(scores, -1) @ values
