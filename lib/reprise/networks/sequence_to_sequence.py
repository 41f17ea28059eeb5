r"""LSTMs that read a sequence and write one: with a fixed set of outputs, or with pointers into their input.

The encoder's states are $e_1, \dots, e_n$; the decoder starts from the last of them, is fed the input elements it has
chosen so far, and has states $d_1, d_2, \dots$. A choice is a softmax over additive attention scores, over a fixed
list of positions, or over that list with attention to help (Vinyals et al. 2015, section 2).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

#: Ways to choose a position, as `SequenceToSequence` takes them.
READOUTS = POINTER, SOFTMAX, ATTENTION = range(3)


class LSTMState(NamedTuple):
    """An LSTM's output ``h`` and memory ``c``."""

    h: Float[Array, "*batch width"]
    c: Float[Array, "*batch width"]


class LSTM(nnx.Module):
    r"""Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    $$c_t = \sigma(f_t)\,c_{t-1} + \sigma(i_t)\tanh(g_t), \qquad h_t = \sigma(o_t)\tanh(c_t),$$

    with $(i, f, g, o) = W x_t + U h_{t-1} + b$. Weights start uniform with variance $1/\text{fan-in}$, biases at zero
    but for those of $f$.

    Args:
        inputs: entries of $x_t$.
        width: entries of $h_t$.
        forget_bias: where the bias of $f$ starts.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, inputs: int, width: int, *, forget_bias: float = 1.0, rngs: nnx.Rngs):
        drawn = _uniform(rngs, inputs + width, 4 * width, fan_in=width)
        self.into, self.recurrent = nnx.Param((width / inputs) ** 0.5 * drawn[:inputs]), nnx.Param(drawn[inputs:])
        self.bias = nnx.Param(jnp.zeros((4, width)).at[1].set(forget_bias).reshape(-1))

    def drive(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch gates"]:
        """What the inputs send to the four gates: all steps at once, outside of the recurrence."""
        return x @ self.into[...] + self.bias[...]

    def step(self, state: LSTMState, drive: Float[Array, "*batch gates"]) -> LSTMState:
        """One step of the recurrence."""
        i, f, g, o = jnp.split(drive + state.h @ self.recurrent[...], 4, -1)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return LSTMState(jax.nn.sigmoid(o) * jnp.tanh(c), c)

    def __call__(
        self, x: Float[Array, "batch time inputs"], start: LSTMState | None = None,
        present: Bool[Array, "batch time"] | None = None,
    ) -> tuple[Float[Array, "batch time width"], LSTMState]:  # fmt: skip
        """Outputs of all steps and the last state.

        Args:
            x: the sequences.
            start: the state before the first step; zeros by default.
            present: False for padding, over which the state does not change.
        """
        if start is None:
            zeros = jnp.zeros((*x.shape[:-2], self.recurrent.shape[0]), x.dtype)
            start = LSTMState(zeros, zeros)
        moved = lambda a: None if a is None else jnp.moveaxis(a, -2, 0)
        keep = None if present is None else jnp.moveaxis(present, -1, 0)[..., None]

        def step(state, now):
            drive, keep = now
            new = self.step(state, drive)
            if keep is not None:
                new = jax.tree.map(lambda new, old: jnp.where(keep, new, old), new, state)
            return new, new.h

        last, outputs = jax.lax.scan(step, start, (moved(self.drive(x)), keep))
        return jnp.moveaxis(outputs, 0, -2), last


class AdditiveAttention(nnx.Module):
    r"""Scores $u_j = v^\top\tanh(W_1e_j + W_2d)$ of a query $d$ for keys $e_j$ (Bahdanau et al. 2015).

    Each key is scored on its own, whatever its position and however many there are.

    Args:
        width: of keys and queries.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        drawn = _uniform(rngs, 2 * width + 1, width, fan_in=width)
        self.keys, self.queries, self.vector = (
            nnx.Param(part) for part in (drawn[:width], drawn[width:-1], drawn[-1])
        )  # fmt: skip

    def __call__(
        self, keys: Float[Array, "*batch n width"], queries: Float[Array, "*batch steps width"]
    ) -> Float[Array, "*batch steps n"]:
        """The scores of every query for every key."""
        keyed, asked = keys @ self.keys[...], queries @ self.queries[...]
        return jnp.tanh(keyed[..., None, :, :] + asked[..., :, None, :]) @ self.vector[...]


class Encoded(NamedTuple):
    """A sequence that was read: the elements, the keys to choose from, which of them are there, and the last state."""

    x: Float[Array, "batch n inputs"]
    keys: Float[Array, "batch choices width"]
    present: Bool[Array, "batch choices"] | None
    state: LSTMState


class SequenceToSequence(nnx.Module):
    r"""An encoder LSTM, a decoder LSTM, and three ways to choose an input position at each step (see `READOUTS`).

    - `POINTER` (Ptr-Net): $p(C_i = j) = \mathrm{softmax}_j(u^i)$ with the scores $u^i_j$ of `AdditiveAttention`, for
      inputs of any length.
    - `SOFTMAX`: an affine map of $d_i$ to a fixed number of positions.
    - `ATTENTION`: the same of $[d_i, \sum_ja^i_je_j]$ with $a^i = \mathrm{softmax}(u^i)$.

    Which of them is an argument like any other: a Python number compiles that one alone, a traced number (under
    `jax.vmap`, say) all three in one program, where a network's unused parameters have no effect and no gradient.
    Choices that were made already are not excluded.

    Args:
        inputs: entries of an element.
        width: of both LSTMs.
        length: number of positions that the fixed readouts can name; 0 for a network that has pointers only.
        end: whether there is one more choice, the end of the output: for a pointer a learned key behind the others.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, inputs: int, width: int, *, length: int = 0, end: bool = False, rngs: nnx.Rngs):
        self.length, self.end = length, end
        self.encoder, self.decoder = (LSTM(inputs, width, rngs=rngs) for _ in range(2))
        self.attention = AdditiveAttention(width, rngs=rngs)
        self.start = nnx.Param(jnp.zeros(inputs))
        self.end_key = nnx.Param(jnp.zeros((int(end), width)))
        if length:
            outputs = length + int(end)
            self.weight = nnx.Param(_uniform(rngs, 2 * width, outputs, fan_in=width))
            self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(
        self, x: Float[Array, "batch n inputs"], choices: Int[Array, "batch steps"],
        present: Bool[Array, "batch n"] | None = None, readout: int | Int[Array, ""] = POINTER,
    ) -> Float[Array, "batch steps outputs"]:  # fmt: skip
        """Logits of every choice, given the true choices before it (teacher forcing).

        Args:
            x: the input sequences.
            choices: positions in ``x``; the end is ``n``. The last of them is never read.
            present: False for padding.
            readout: one of `READOUTS`.
        """
        encoded = self.encode(x, present)
        before = jnp.minimum(choices[:, :-1], x.shape[1] - 1)  # an end in there is padding, of no effect on the loss
        chosen = jnp.take_along_axis(x, before[..., None], 1)
        start = jnp.broadcast_to(self.start[...], (len(x), 1, x.shape[-1]))
        states, _ = self.decoder(jnp.concatenate([start, chosen], 1), encoded.state)
        return self.logits(encoded, states, readout)

    def encode(self, x: Float[Array, "batch n inputs"], present: Bool[Array, "batch n"] | None = None) -> Encoded:
        """Read the input. With an end, its key comes last."""
        keys, state = self.encoder(x, present=present)
        if self.end:
            keys = jnp.concatenate([keys, jnp.broadcast_to(self.end_key[...], (len(x), 1, keys.shape[-1]))], 1)
            if present is not None:
                present = jnp.concatenate([present, jnp.ones((len(x), 1), bool)], 1)
        return Encoded(x, keys, present, state)

    def logits(
        self, encoded: Encoded, states: Float[Array, "batch steps width"], readout: int | Int[Array, ""] = POINTER
    ) -> Float[Array, "batch steps outputs"]:
        """Unnormalised log-probabilities of the choices from the decoder's states; pointers never point at padding."""
        scores = self.attention(encoded.keys, states)
        if encoded.present is not None:
            scores = jnp.where(encoded.present[:, None], scores, -jnp.inf)
        if isinstance(readout, int) and readout == POINTER:
            return scores
        if encoded.x.shape[1] != self.length:
            raise ValueError(
                f"x has {encoded.x.shape[1]} positions, the fixed readouts {self.length}: only pointers fit"
            )
        inputs = slice(0, self.length)  # the end is a choice, not something to read
        read = jax.nn.softmax(scores[..., inputs], -1) @ encoded.keys[:, inputs]
        of_state, of_read = jnp.split(self.weight[...], 2)
        fixed = states @ of_state + self.bias[...]
        fixed += jnp.where(readout == ATTENTION, 1.0, 0.0) * (read @ of_read)
        return jnp.where(readout == POINTER, scores, fixed)

    def generate(
        self, x: Float[Array, "batch n inputs"], steps: int, present: Bool[Array, "batch n"] | None = None,
        readout: int | Int[Array, ""] = POINTER,
    ) -> tuple[Int[Array, "batch steps"], Float[Array, "batch steps outputs"]]:  # fmt: skip
        """The most probable choice at every step, each fed back, and the distributions they were chosen from.

        What follows an end means nothing. Arguments are as in a call; ``steps`` is the number of choices.
        """
        encoded = self.encode(x, present)

        def step(carry, _):
            state, element = carry
            state = self.decoder.step(state, self.decoder.drive(element))
            logits = self.logits(encoded, state.h[:, None], readout)[:, 0]
            choice = jnp.argmax(logits, -1)
            element = jnp.take_along_axis(x, jnp.minimum(choice, x.shape[1] - 1)[:, None, None], 1)[:, 0]
            return (state, element), (choice, jax.nn.softmax(logits, -1))

        first = jnp.broadcast_to(self.start[...], (len(x), x.shape[-1]))
        _, (choices, distributions) = jax.lax.scan(step, (encoded.state, first), length=steps)
        return choices.T, jnp.moveaxis(distributions, 0, 1)


def choice_loss(
    logits: Float[Array, "batch steps outputs"], choices: Int[Array, "batch steps"],
    counted: Bool[Array, "batch steps"],
) -> Float[Array, ""]:  # fmt: skip
    """Mean negative log-likelihood, in nats, of the counted choices.

    Args:
        logits: unnormalised log-probabilities.
        choices: the true ones.
        counted: False for steps after the end.
    """
    logs = jax.nn.log_softmax(logits, -1)
    losses = -jnp.take_along_axis(logs, choices[..., None], -1)[..., 0]
    return jnp.sum(jnp.where(counted, losses, 0)) / jnp.sum(counted)


def _uniform(rngs, rows, columns, fan_in):
    """Uniform weights of variance 1 / fan-in: one draw a module keeps compilation short."""
    bound = (3 / fan_in) ** 0.5
    return rngs.params.uniform((rows, columns), minval=-bound, maxval=bound)
