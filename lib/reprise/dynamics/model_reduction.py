r"""Reduction of an ODE layer $\dot x=f(Ax+b)+Zu$, $f$ componentwise, to fewer states and fewer activations.

Projection on a subspace of states (POD) shortens the state, interpolation of the activations from a few of them (DEIM)
shortens the work. The rivals here need no data about the subspace: neuron pruning and truncated weights. All of it is
linear algebra done once, in NumPy and double precision; rows are samples, as everywhere in the library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Basis(NamedTuple):
    """An orthonormal basis ordered by how much of the data each vector carries.

    Attributes:
        vectors: as columns.
        values: the snapshots' singular values.
    """

    vectors: Float[np.ndarray, "n rank"]
    values: Float[np.ndarray, " rank"]


def pod_basis(snapshots: Float[np.ndarray, "count n"]) -> Basis:
    r"""Proper orthogonal decomposition: the subspaces that miss least of the snapshots.

    The span $V$ of the first $k$ vectors minimises $\sum_j\lVert x_j-VV^\top x_j\rVert^2$ over all $k$-dimensional
    subspaces (Eckart-Young), and what is left is $\sum_{i>k}\sigma_i^2$. The snapshots are not centred.

    Args:
        snapshots: states, or activations, of training runs.
    """
    triangle = np.linalg.qr(np.asarray(snapshots, float), mode="r")  # has the same right singular vectors
    _, values, vectors = np.linalg.svd(triangle, full_matrices=False)
    return Basis(vectors.T, values)


def deim_indices(vectors: Float[np.ndarray, "n m"]) -> Int[np.ndarray, " m"]:
    r"""Where to sample a function in the span of a basis, chosen greedily (Chaturantabut & Sorensen 2010, algorithm 1).

    Each index is where the next vector differs most from its interpolation at the indices before. The first $l$ of
    them are therefore the choice for the first $l$ vectors.

    Args:
        vectors: linearly independent columns, the most important first.
    """
    chosen = [int(np.argmax(np.abs(vectors[:, 0])))]
    for l in range(1, vectors.shape[1]):
        before = vectors[:, :l]
        residual = vectors[:, l] - before @ np.linalg.solve(before[chosen], vectors[chosen, l])
        chosen.append(int(np.argmax(np.abs(residual))))
    return np.array(chosen)


def interpolator(vectors: Float[np.ndarray, "n m"], indices: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
    r"""$U(P^\top U)^{-1}$: takes the entries at ``indices`` to the vector in the span of $U$ that has them there."""
    return np.linalg.solve(vectors[indices].T, vectors.T).T


def interpolation_bound(
    vectors: Float[np.ndarray, "n m"], indices: Int[np.ndarray, " m"], values: Float[np.ndarray, "*batch n"]
) -> Float[np.ndarray, "*batch"]:
    r"""$\lVert(P^\top U)^{-1}\rVert_2\,\lVert(I-UU^\top)f\rVert_2$, which the interpolation error never exceeds.

    The first factor, the same for all $f$, is the price for seeing $f$ at $m$ places only; the second is the error of
    the best approximation in the span (Chaturantabut & Sorensen 2010, lemma 3.2).

    Args:
        vectors: $U$, orthonormal columns.
        indices: the interpolation points.
        values: the vectors $f$.
    """
    amplification = 1 / np.linalg.svd(vectors[indices], compute_uv=False)[-1]
    return amplification * np.linalg.norm(values - (values @ vectors) @ vectors.T, axis=-1)


class ActivationODE(NamedTuple):
    r"""The equation $\dot x=N\,f(Ax+b)+Zu$; the original layer has $N=I$, written as None.

    Attributes:
        weight: $A$, one row for each activation that is evaluated.
        bias: $b$.
        output: $N$, from activations to the state's slope, or None.
        drive: $Z$, from an external input to the state's slope, or None.
        activation: $f$.
    """

    weight: Float[np.ndarray, "units dim"]
    bias: Float[np.ndarray, " units"]
    output: Float[np.ndarray, "dim units"] | None = None
    drive: Float[np.ndarray, "dim inputs"] | None = None
    activation: Callable[[np.ndarray], np.ndarray] = np.tanh

    def __call__(
        self, x: Float[np.ndarray, "*batch dim"], u: Float[np.ndarray, "*batch inputs"] | None = None
    ) -> Float[np.ndarray, "*batch dim"]:
        """The slope at ``x`` under the input ``u``."""
        slope = self.activation(x @ self.weight.T + self.bias)
        slope = slope if self.output is None else slope @ self.output.T
        return slope if self.drive is None or u is None else slope + u @ self.drive.T

    @property
    def multiplications(self) -> int:
        """Multiplications in one evaluation with dense matrices, and one for each activation (inputs aside)."""
        return self.weight.size + len(self.bias) + (0 if self.output is None else self.output.size)


def galerkin(layer: ActivationODE, states: Float[np.ndarray, "n k"]) -> ActivationODE:
    r"""Projection alone, $\dot{\tilde x}=V^\top f(AV\tilde x+b)+V^\top Zu$: a short state, but all $n$ activations."""
    drive = None if layer.drive is None else states.T @ layer.drive
    return layer._replace(weight=layer.weight @ states, output=states.T, drive=drive)


def reduce(
    layer: ActivationODE,
    states: Float[np.ndarray, "n k"],
    activations: Float[np.ndarray, "n m"],
    indices: Int[np.ndarray, " m"],
) -> ActivationODE:
    r"""POD-DEIM: $\dot{\tilde x}=N f(P^\top AV\tilde x+P^\top b)+V^\top Zu$ with $N=V^\top U(P^\top U)^{-1}$.

    A state of length $k$ and $m$ activations; start at $V^\top x_0$ and lift the end by $V$ (Lehtimäki et al. 2021,
    arXiv:2105.14070, eqs. 3-6).

    Args:
        layer: the original, with $N=I$.
        states: $V$, a basis for the states.
        activations: $U$, a basis for the values of $f$.
        indices: the activations that are evaluated, see `deim_indices`.
    """
    drive = None if layer.drive is None else states.T @ layer.drive
    weight, bias = layer.weight[indices] @ states, layer.bias[indices]
    return layer._replace(weight=weight, bias=bias, output=states.T @ interpolator(activations, indices), drive=drive)


def prune(
    layer: ActivationODE, keep: Bool[np.ndarray, " n"], frozen: Float[np.ndarray, "*batch n"] | None = None
) -> ActivationODE:
    """The layer without some of its units: their rows and columns of the weights are removed.

    Args:
        layer: the original.
        keep: which units stay.
        frozen: if given, the removed units stay at the values they have here, instead of at zero, and go on acting on
            the others. One bias for each row of a batch, at no cost during the solve.
    """
    drive = None if layer.drive is None else layer.drive[keep]
    bias = layer.bias[keep]
    if frozen is not None:
        bias = bias + frozen[..., ~keep] @ layer.weight[np.ix_(keep, ~keep)].T
    return layer._replace(weight=layer.weight[np.ix_(keep, keep)], bias=bias, drive=drive)


def low_rank(matrix: Float[np.ndarray, "n n"], rank: int) -> Float[np.ndarray, "n n"]:
    """The nearest matrix of a rank, by truncated SVD. Applied as two factors it costs ``2 * n * rank``."""
    left, values, right = np.linalg.svd(matrix)
    return (left[:, :rank] * values[:rank]) @ right[:rank]
