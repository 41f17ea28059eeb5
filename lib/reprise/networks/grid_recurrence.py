r"""Linear recurrences on directed acyclic graphs and two-dimensional grids, step by step and by merging blocks.

Memory lives on edges (Pöppel et al. 2025, section 3). A *source* gate writes a node's input to its outgoing edges, a
*transition* gate carries an edge's content through a node to the next edge, a *mark* gate reads incoming edges. On a
grid every node $(x, y)$ has two incoming edges, from the left and from above, and two outgoing ones, right and down.
In all arrays here index 0 of an edge axis is the horizontal edge (rightward), index 1 the vertical one (downward).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float


class GridGates(NamedTuple):
    """Gates of a linear recurrence on a grid.

    Attributes:
        source: ``[..., out]``, weight of a node's input on its outgoing edges.
        transition: ``[..., out, in]``, weight of an incoming edge's content on the outgoing edges.
        mark: ``[..., in]``, weight of the incoming edges in the node's reading.
    """

    source: Float[Array, "x y *heads 2"]
    transition: Float[Array, "x y *heads 2 2"]
    mark: Float[Array, "x y *heads 2"]


def directed_gates(
    transition: Float[Array, "*nodes"],
    source: Float[Array, "*nodes"] | None = None,
    mark: Float[Array, "*nodes"] | float = 1.0,
) -> GridGates:
    """Gates of the directed mode ("P"): all that enters a node leaves it, a share to the right, the rest downwards.

    Each column of the transition matrix sums to one, so that no path multiplies its content by more than the share of
    paths it is (Pöppel et al. 2025, P-mode).

    Args:
        transition: share that leaves to the right, in [0, 1].
        source: share of a node's own input that leaves to the right; by default that of the transition.
        mark: weight of both incoming edges in the reading.
    """
    source = transition if source is None else source
    ones = jnp.ones_like(transition)
    split = lambda share: jnp.stack([share, 1 - share], -1)
    both = jnp.stack([split(transition)] * 2, -1)
    return GridGates(split(source * ones), both, jnp.stack([mark * ones] * 2, -1))


def diffusive_gates(
    right: Float[Array, "*nodes"], down: Float[Array, "*nodes"], turn: Float[Array, "*nodes"]
) -> GridGates:
    """Gates of the diffusive mode ("D"): a path may turn from rightward to downward, never back.

    Then exactly one path joins two nodes, and gates of at most one keep every influence at most one (Pöppel et al.
    2025, D-mode). Sources and marks are one.

    Args:
        right, down, turn: transitions from rightward to rightward, downward to downward, rightward to downward edges.
    """
    right, down, turn = jnp.broadcast_arrays(right, down, turn)
    transition = jnp.stack([jnp.stack([right, jnp.zeros_like(right)], -1), jnp.stack([turn, down], -1)], -2)
    ones = jnp.ones((*right.shape, 2), right.dtype)
    return GridGates(ones, transition, ones)


def scan_grid(gates: GridGates, inputs: Float[Array, "x y *heads channels"]) -> Float[Array, "x y *heads channels"]:
    r"""What all nodes read: the recurrence, one anti-diagonal after the other.

    $c^{out}_{x,y} = T_{x,y}\,c^{in}_{x,y} + S_{x,y}\,u_{x,y}$ and $h_{x,y} = M_{x,y}\cdot c^{in}_{x,y}$; a node's
    outgoing edges are incoming ones of its right and lower neighbours, and nothing enters at the border.
    $X + Y - 1$ sequential steps, each over a whole anti-diagonal. A node does not read its own input (add
    the direct term where it is wanted).

    Args:
        gates: one set for each node, and each head where there are heads.
        inputs: $u$, any number of channels that share gates.
    """
    return _unskewed(_scan_diagonals(*jax.tree.map(_skewed, (gates, inputs))), inputs.shape[1])


def _skewed(a: Float[Array, "x y *rest"]) -> Float[Array, "diagonals x *rest"]:
    """``[x + y, x, ...]``, zero where there is no node."""
    across, down, *rest = a.shape
    padded = jnp.pad(a, [(0, 0), (0, across)] + [(0, 0)] * len(rest))
    flat = padded.reshape(-1, *rest)[:-across]
    return flat.reshape(across, across + down - 1, *rest).swapaxes(0, 1)


def _unskewed(a: Float[Array, "diagonals x *rest"], down: int) -> Float[Array, "x y *rest"]:
    """The inverse of `_skewed`."""
    _, across, *rest = a.shape
    flat = jnp.pad(a.swapaxes(0, 1).reshape(-1, *rest), [(0, across)] + [(0, 0)] * len(rest))
    return flat.reshape(across, across + down, *rest)[:, :down]


def _scan_diagonals(gates: GridGates, inputs: Float[Array, "diagonals x *heads channels"]):
    """`scan_grid` on skewed arrays.

    Gates that stand where there is no node do no harm as long as inputs there are zero: nothing enters the grid from
    beyond its border, and what has left it does not return.
    """

    def step(arriving, node):
        horizontal, vertical = arriving
        (source, transition, mark), u = node
        read = mark[..., 0, None] * horizontal + mark[..., 1, None] * vertical
        right, below = (
            transition[..., i, 0, None] * horizontal + transition[..., i, 1, None] * vertical + source[..., i, None] * u
            for i in (0, 1)
        )
        return (jnp.concatenate([jnp.zeros_like(right[:1]), right[:-1]]), below), read

    empty = jnp.zeros_like(inputs[0])
    return jax.lax.scan(step, (empty, empty), (gates, inputs))[1]


def influence_by_merging(gates: GridGates) -> Float[Array, "x y x y"]:
    r"""The influence $G_{nm}$ of every node's input on every node's reading, by merging blocks in $2\log_2$ levels.

    A block of $w\times l$ nodes is a matrix. Its columns are what enters: $l$ edges on the left, $w$ at the top, and
    the nodes' inputs; its rows are what leaves: $l$ edges on the right, $w$ at the bottom, and the nodes' readings. So
    it holds transitions, sources, marks and the influence of its nodes on one another. Single nodes are blocks of size
    one; blocks are doubled alternately to the right and downwards until one covers the grid. All merges of a level are
    independent of one another, so that the depth is logarithmic where `scan_grid`'s is linear (Pöppel et al. 2025,
    section on parallelisation). $h = G u$ is what `scan_grid` returns.

    Args:
        gates: no head axes (map over them); a square grid whose side is a power of two.

    Returns:
        Reader first: ``influence[x, y, x', y']`` is the influence of the node at ``x', y'``.
    """
    side, other = gates.source.shape[:2]
    if side != other or side & (side - 1):
        raise ValueError(f"the grid must be square with a side that is a power of two, not {side} by {other}")
    readings = jnp.concatenate([gates.mark, jnp.zeros_like(gates.mark[..., :1])], -1)[..., None, :]
    blocks = jnp.concatenate([jnp.concatenate([gates.transition, gates.source[..., None]], -1), readings], -2)
    w = l = 1  # noqa: E741
    while w < side:
        first, second = _two_blocks(w, l)
        rows = np.r_[second[0], first[1], second[1], first[2], second[2]]
        columns = np.r_[first[0], first[1], second[1], first[2], second[2]]
        blocks, w = _connect(blocks[::2], blocks[1::2], slice(l), rows, columns), 2 * w
        first, second = _two_blocks(w, l)
        nodes = np.concatenate([first[2].reshape(w, l), second[2].reshape(w, l)], 1).ravel()
        rows, columns = np.r_[first[0], second[0], second[1], nodes], np.r_[first[0], second[0], first[1], nodes]
        blocks, l = _connect(blocks[:, ::2], blocks[:, 1::2], slice(l, l + w), rows, columns), 2 * l  # noqa: E741
    return blocks[0, 0, -side * side :, -side * side :].reshape(side, side, side, side)


def _two_blocks(w, l):  # noqa: E741
    """Indices of two blocks' parts (horizontal edges, vertical edges, nodes) when one follows the other."""
    size = l + w + w * l
    return (np.split(start + np.arange(size), [l, l + w]) for start in (0, size))


def _connect(a, b, edges, rows, columns):
    """Two blocks as one: what leaves ``a`` by ``edges`` enters ``b``. Of all their rows and columns it keeps some."""
    through = b[..., :, edges] @ a[..., edges, :]
    both = [jnp.concatenate([a, jnp.zeros_like(a)], -1), jnp.concatenate([through, b], -1)]
    return jnp.concatenate(both, -2)[..., rows, :][..., columns]


def influence_on_graph(
    source: Float[Array, "edges nodes"], transition: Float[Array, "edges edges"], mark: Float[Array, "nodes edges"]
) -> Float[Array, "nodes nodes"]:
    r"""Influence of every node on every other in a directed acyclic graph, $G = M (I - T)^{-1} S$.

    The cells obey $c = Tc + Su$ and nodes read $h = Mc$; $T$ connects edges, so it lives on the line graph, and for an
    acyclic graph it is nilpotent: the inverse is the sum over all paths (Pöppel et al. 2025, section 3).

    Args:
        source: non-zero only for edges that leave the node.
        transition: ``[to, from]``, non-zero only where the first edge enters the node that the second one leaves.
        mark: non-zero only for edges that enter the node.
    """
    return mark @ jnp.linalg.solve(jnp.eye(transition.shape[0], dtype=transition.dtype) - transition, source)


class GridRecurrence(nnx.Module):
    r"""A recurrent layer on images: directed gates computed from the tokens, from all four corners.

    For each flip $f$ of the image and each head, with $\sigma$ the logistic function and $x$ a node's token:
    share to the right $\alpha = \sigma(b_\alpha + w_\alpha x)$, source strength $s = \sigma(b_s + w_s x)$ and mark
    $m = \sigma(b_m + w_m x)$. Each head carries its channels of the values $Vx$ with transitions
    $(\alpha, 1-\alpha)$, and the flips' readings are averaged. $b_\alpha$ starts evenly spread over
    $[-2, 2]$, so that the heads begin as beams in different directions.

    Args:
        inputs: features of a token.
        width: channels, a multiple of ``heads``.
        heads: directions for each of the four flips.
        rngs: NNX random streams (``params``).
    """

    def __init__(self, inputs: int, width: int, heads: int, *, rngs: nnx.Rngs):
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.heads = heads
        drawn = rngs.params.normal((inputs, width + 12 * heads)) / inputs**0.5
        self.value, self.weight = nnx.Param(drawn[:, :width]), nnx.Param(drawn[:, width:].reshape(inputs, 4, 3, heads))
        bias = jnp.zeros((4, 3, heads)).at[:, 0].set(jnp.linspace(-2.0, 2.0, heads))
        self.bias = nnx.Param(bias)

    def __call__(self, tokens: Float[Array, "batch x y inputs"]) -> Float[Array, "batch x y width"]:
        """The average over flips of what each node reads."""
        flips = ((), (1,), (2,), (1, 2))
        # Tokens are flipped and skewed, rather than all that is made of them.
        turned = jnp.stack([jnp.flip(tokens, axes) for axes in flips])
        nodes = _skewed(jnp.moveaxis(turned, (2, 3), (0, 1)))  # [diagonal, x, flip, batch, inputs]
        logits = jnp.einsum("dxfbi,ifgh->gdxfbh", nodes, self.weight[...])
        share, source, mark = jax.nn.sigmoid(logits + self.bias[...].swapaxes(0, 1)[:, None, None, :, None])
        gates = directed_gates(share, mark=mark)
        gates = gates._replace(source=gates.source * source[..., None])
        values = (nodes @ self.value[...]).reshape(*share.shape, -1)
        read = _unskewed(_scan_diagonals(gates, values), tokens.shape[2])
        read = jnp.moveaxis(read.reshape(*read.shape[:4], -1), (0, 1), (2, 3))
        return sum(jnp.flip(read[i], axes) for i, axes in enumerate(flips)) / len(flips)
