"""Networks for stress laws and networks on graphs: their symmetries, and a loop over edges."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from reprise.networks.constitutive import EquivariantStress, FreeStress
from reprise.networks.message_passing import MessagePassing


def test_symmetries_hold_for_any_weights_and_only_where_built_in():
    rng = np.random.default_rng(0)
    f = np.eye(2) + rng.uniform(-0.3, 0.3, size=(100, 2, 2))
    angles = rng.uniform(-np.pi, np.pi, 100)
    turns = np.moveaxis(np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]), -1, 0)
    apart = {}
    for law in (EquivariantStress(16, rngs=nnx.Rngs(0)), FreeStress(16, rngs=nnx.Rngs(0))):
        with jax.enable_x64(True):
            graph, params = nnx.split(law)
            law = nnx.merge(graph, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params))
            turned, stress, rigid = (np.asarray(law(jnp.asarray(x))) for x in (turns @ f, f, turns))
        apart[type(law).__name__] = np.abs(turned - turns @ stress).max(), np.abs(rigid).max()
    assert max(apart["EquivariantStress"]) < 1e-13
    assert apart["FreeStress"][0] > 0.1


def test_messages_against_a_loop_over_edges():
    rng = np.random.default_rng(1)
    network = MessagePassing(2, 3, 1, features=4, hidden=5, rounds=2, rngs=nnx.Rngs(0))
    nodes, edges = rng.normal(size=(6, 2)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    senders, receivers = rng.integers(6, size=(2, 9))
    found = network(nodes, edges, senders, np.append(receivers[:8], 6))  # the last edge is padding
    h = np.asarray(network.encode(nodes))
    for message, update in zip(network.messages, network.updates, strict=True):
        arrived = np.zeros_like(h)
        for k in range(8):
            s, r = senders[k], receivers[k]
            arrived[r] += np.asarray(message(np.concatenate([edges[k], h[s], h[r]])))
        h = h + np.asarray(update(np.concatenate([h, arrived], -1)))
    np.testing.assert_allclose(found, network.decode(h), atol=1e-5)
