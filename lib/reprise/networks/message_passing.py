"""Networks on graphs: messages along edges, summed at nodes (Battaglia et al. 2018; Sanchez-Gonzalez et al. 2020)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from reprise.networks.mlp import MLP


class MessagePassing(nnx.Module):
    r"""Encode nodes, exchange messages in some rounds, decode nodes.

    In a round every edge computes a message from its own features and those of its two nodes, $m_e = \mathrm{MLP}(e,
    h_{s(e)}, h_{r(e)})$, and every node adds $\mathrm{MLP}(h_n, \sum_{e\to n} m_e)$ to its features.

    Args:
        nodes, edges: numbers of input features.
        outputs: numbers for every node.
        features: of nodes and messages inside.
        hidden: units of the one hidden layer of every perceptron.
        rounds: of messages, each with its own weights.
        rngs: NNX random streams (``params``).
    """

    def __init__(
        self, nodes: int, edges: int, outputs: int, *, features: int, hidden: int, rounds: int, rngs: nnx.Rngs
    ):  # fmt: skip
        make = lambda into, out: MLP([into, hidden, out], rngs=rngs)
        self.encode = make(nodes, features)
        self.messages = nnx.List(make(edges + 2 * features, features) for _ in range(rounds))
        self.updates = nnx.List(make(2 * features, features) for _ in range(rounds))
        self.decode = make(features, outputs)

    def __call__(
        self, nodes: Float[Array, "nodes n"], edges: Float[Array, "edges e"],
        senders: Int[Array, " edges"], receivers: Int[Array, " edges"],
    ) -> Float[Array, "nodes outputs"]:  # fmt: skip
        """Outputs of all nodes. A receiver beyond the last node makes its edge one that is not there (padding)."""
        # Incidence as dense matrices: on graphs of some hundred edges much faster than gather and scatter on a CPU.
        send, receive = (jax.nn.one_hot(which, len(nodes), dtype=nodes.dtype) for which in (senders, receivers))
        h = self.encode(nodes)
        for message, update in zip(self.messages, self.updates, strict=True):
            sent = message(jnp.concatenate([edges, send @ h, receive @ h], -1))
            h = h + update(jnp.concatenate([h, receive.T @ sent], -1))
        return self.decode(h)
