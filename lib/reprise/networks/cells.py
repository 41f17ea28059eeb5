r"""A cell search space in one network: every architecture is a choice of operations, an input like any other.

The cell of NAS-Bench-201 (Dong and Yang 2020), on vectors: nodes in a row, an edge between any two of them, on every
edge one of five operations. A node is the sum of what comes in. As the choice enters by one-hot coefficients, one
compiled program trains any architecture, and `jax.vmap` trains many at once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from reprise.networks.mlp import Dense

#: What an edge can do: nothing, pass on, average each unit with its two neighbours (around a ring), or an affine map
#: followed by a nonlinearity.
OPERATIONS = ("none", "skip", "average", "relu", "tanh")


def edges(nodes: int) -> list[tuple[int, int]]:
    """Edges of a cell, from earlier to later nodes, in the order in which architectures list their operations."""
    return [(i, j) for j in range(1, nodes) for i in range(j)]


class CellNetwork(nnx.Module):
    r"""A linear stem, a cell, a linear read-out.

    Each edge has an affine map $Wx + b$ with $W_{ij}\sim N(0, 2/\text{width})$ of its own, which only "relu" and "tanh"
    use; parameters of other edges have no effect and no gradient.

    Args:
        inputs: number of inputs.
        width: units of every node.
        outputs: number of outputs.
        nodes: nodes of the cell, the first holds the stem's output, the last is read out.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, inputs: int, width: int, outputs: int, *, nodes: int = 4, rngs: nnx.Rngs):
        self.nodes = nodes
        self.stem = Dense(inputs, width, rngs=rngs)
        count = len(edges(nodes))
        self.weight = nnx.Param((2 / width) ** 0.5 * rngs.params.normal((count, width, width)))
        self.bias = nnx.Param(jnp.zeros((count, width)))
        self.readout = Dense(width, outputs, rngs=rngs)

    def __call__(
        self, x: Float[Array, "*batch inputs"], architecture: Float[Array, "edges operations"]
    ) -> Float[Array, "*batch outputs"]:
        """The output of the network whose edges mix `OPERATIONS` with these coefficients (one-hot rows choose)."""
        return self._run(x, architecture)[0]

    def _run(self, x, architecture, stem_shift=0.0, shifts=None):
        """Outputs, the input of every edge, and the last node; the shifts are added to what affine maps give."""
        first = self.stem(x) + stem_shift
        one = jnp.eye(first.shape[-1])
        neighbours = (jnp.roll(one, 1, -1) + one + jnp.roll(one, -1, -1)) / 3  # cheaper than rolling the values
        values, inputs, k = first[None], [], 0
        for j in range(1, self.nodes):  # all edges into node j at once
            into = slice(k, k + j)
            affine = jnp.einsum("i...a,iab->i...b", values, self.weight[into])
            affine += self.bias[into].reshape(j, *(1,) * (x.ndim - 1), -1)
            affine = affine if shifts is None else affine + shifts[into]
            around = values @ neighbours
            done = (values, around, jax.nn.relu(affine), jnp.tanh(affine))
            coefficients = architecture[into, 1:].reshape(j, -1, *(1,) * x.ndim)
            node = sum(coefficients[:, o] * part for o, part in enumerate(done)).sum(0)
            inputs.append(values)
            values, k = jnp.concatenate([values, node[None]]), k + j
        return self.readout(values[-1]), jnp.concatenate(inputs), values[-1]


Factors = tuple[tuple[Array, Array], ...]  # (inputs, signals) of the stem, of all edges, of the read-out


def tangent_factors(
    model: CellNetwork, x: Float[Array, "n inputs"], architecture: Float[Array, "edges operations"]
) -> Factors:
    r"""What the tangent kernel of the network's *summed* outputs is made of, see `kernel_from_factors`.

    For every affine map its input $a$ and the gradient $\delta$ of $\sum_c f_c(x)$ with respect to its output, by one
    backward pass: shapes ``[n, inputs]`` and ``[n, width]`` for the stem, ``[edges, n, width]`` twice for the edges,
    ``[n, width]`` and ``[n, outputs]`` for the read-out.
    """

    def summed(stem_shift, shifts):
        outputs, inputs, last = model._run(x, architecture, stem_shift, shifts)
        return outputs.sum(), (inputs, last, jnp.ones_like(outputs))

    width = model.weight.shape[-1]
    zeros = jnp.zeros((len(x), width)), jnp.zeros((len(edges(model.nodes)), len(x), width))
    (stem, between), (inputs, last, ones) = jax.grad(summed, (0, 1), has_aux=True)(*zeros)
    return (x, stem), (inputs, between), (last, ones)


def kernel_from_factors(factors: Factors) -> Float[Array, "n n"]:
    r"""The tangent kernel $\Theta = JJ^\top$ of the summed outputs, $J = \partial_\theta\sum_c f_c$, without $J$.

    A weight matrix has the gradient $a\delta^\top$ and a bias $\delta$, so that every affine map contributes
    $(a\cdot a' + 1)(\delta\cdot\delta')$.

    Args:
        factors: from `tangent_factors`, in float32 or float64.
    """
    gram = lambda v: jnp.einsum("...na,...ma->...nm", v, v, precision="highest")
    stem, between, readout = ((gram(a) + 1) * gram(signal) for a, signal in factors)
    return stem + between.sum(0) + readout


def one_hot(choices: Int[np.ndarray, "*batch edges"]) -> Float[np.ndarray, "*batch edges operations"]:
    """Coefficients of architectures given as indices into `OPERATIONS`."""
    return np.eye(len(OPERATIONS), dtype=np.float32)[choices]


def used(choices: Int[np.ndarray, "*batch edges"], nodes: int = 4) -> Bool[np.ndarray, "*batch edges"]:
    """Which edges lie on a path from the first to the last node that "none" does not interrupt."""
    choices = np.asarray(choices)
    every = edges(nodes)
    if choices.shape[-1] != len(every):
        raise ValueError(f"a cell of {nodes} nodes has {len(every)} edges, not {choices.shape[-1]}")
    present = choices != OPERATIONS.index("none")
    reached = np.zeros((*choices.shape[:-1], nodes), bool)
    leads = reached.copy()
    reached[..., 0] = leads[..., -1] = True
    for k, (i, j) in enumerate(every):  # ordered by their end, so that every way into i comes before the ways out of it
        reached[..., j] |= reached[..., i] & present[..., k]
    for k, (i, j) in sorted(enumerate(every), key=lambda edge: -edge[1][0]):
        leads[..., i] |= leads[..., j] & present[..., k]
    return np.stack([present[..., k] & reached[..., i] & leads[..., j] for k, (i, j) in enumerate(every)], axis=-1)


def sample(rng: np.random.Generator, count: int, nodes: int = 4) -> Int[np.ndarray, "count edges"]:
    """Different architectures, uniform among those whose last node is connected to the first.

    Raises:
        ValueError: there are fewer than ``count``.
    """
    size, options = len(edges(nodes)), len(OPERATIONS)
    every = np.stack(np.unravel_index(np.arange(options**size), (options,) * size), axis=-1)
    connected = every[used(every, nodes).any(-1)]
    if count > len(connected):
        raise ValueError(f"there are {len(connected)} connected architectures of {nodes} nodes, not {count}")
    return connected[rng.choice(len(connected), count, replace=False)]


def parameters_used(choices: Int[np.ndarray, "*batch edges"], width: int, nodes: int = 4) -> Int[np.ndarray, "*batch"]:
    """Number of weights and biases inside the cell that have an effect on its output."""
    learns = np.isin(choices, [OPERATIONS.index("relu"), OPERATIONS.index("tanh")])
    return (used(choices, nodes) & learns).sum(-1) * width * (width + 1)
