r"""Boolean functions to be learned from examples: conjunctions and parities, their prompts and their exact learners.

A conjunction over $n$ variables is the AND of some of the literals $x_1, \bar x_1, \dots, x_n, \bar x_n$. It is written
as a row in $\{-1, 0, 1\}^n$: 1 where $x_i$ must hold, $-1$ where it must not, 0 where the variable is irrelevant. All
$3^n$ rows are different functions; no literal at all is the function that is always true. A parity is the XOR of a
subset of the variables. Inputs and labels are Boolean arrays, NumPy's throughout.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

Literals = Int[np.ndarray, "functions n"]


def conjunctions(n: int, sizes: Iterable[int] | None = None) -> Literals:
    """All conjunctions over $n$ variables, or those with certain numbers of literals.

    Args:
        n: number of variables; $3^n$ rows are made.
        sizes: the numbers of literals wanted; any if not given.
    """
    rows = np.array(list(product((0, 1, -1), repeat=n)), np.int8)
    return rows if sizes is None else rows[np.isin(np.abs(rows).sum(1), list(sizes))]


def draw_conjunctions(rng: np.random.Generator, n: int, sizes: Iterable[int], count: int) -> Literals:
    """Random conjunctions: a number of literals from ``sizes``, a subset of that many variables, a sign for each."""
    size = rng.choice(list(sizes), count)
    relevant = rng.random((count, n)).argsort(1).argsort(1) < size[:, None]
    return np.where(relevant, 2 * rng.integers(0, 2, (count, n)) - 1, 0).astype(np.int8)


def satisfies(
    x: Bool[np.ndarray, "*points n"], literals: Int[np.ndarray, "*functions n"]
) -> Bool[np.ndarray, "*batch"]:
    """Labels $f(x)$ of a conjunction: whether every literal holds. Leading axes broadcast."""
    return np.all((literals == 0) | (np.asarray(x) == (literals > 0)), -1)


def balanced_inputs(
    rng: np.random.Generator, literals: Literals, length: int, forced: float
) -> Bool[np.ndarray, "functions length n"]:
    """Inputs for each conjunction: uniform, but each with probability ``forced`` made positive by setting its literals.

    Without forcing hardly any input of a conjunction with many literals would be positive.
    """
    x = rng.random((len(literals), length, literals.shape[1])) < 0.5
    positive = rng.random((len(literals), length, 1)) < forced
    return np.where(positive & (literals != 0)[:, None], (literals > 0)[:, None], x)


def teaching_sequences(
    rng: np.random.Generator, literals: Literals
) -> tuple[Bool[np.ndarray, "functions n+2 n"], Int[np.ndarray, " functions"]]:
    """For each conjunction with $r$ literals, $r+2$ inputs whose labels leave no other conjunction.

    First two positive ones that agree on the relevant variables and differ on every irrelevant one, which shows what is
    irrelevant and the sign of what is not; then for each literal the first input with this variable flipped, which is
    negative and so shows that the literal is needed (after Goldman and Kearns 1995 on teaching monomials).

    Returns:
        The sequences, padded with repetitions of their first input, and their lengths $r+2$.
    """
    count, n = literals.shape
    relevant = literals != 0
    first = np.where(relevant, literals > 0, rng.random((count, n)) < 0.5)
    order = np.argsort(~relevant, axis=1, kind="stable")  # the relevant variables come first
    flips = (order[:, :, None] == np.arange(n)) & (np.arange(n) < relevant.sum(1)[:, None])[:, :, None]
    second = np.where(relevant, first, ~first)
    x = np.concatenate([first[:, None], second[:, None], first[:, None] ^ flips], 1)
    return x, relevant.sum(1) + 2


def version_space(
    x: Bool[np.ndarray, "*batch examples n"], y: Bool[np.ndarray, "*batch examples"], hypotheses: Literals
) -> Bool[np.ndarray, "*batch functions"]:
    """Which hypotheses agree with all labelled examples."""
    return np.all(satisfies(x[..., None, :, :], hypotheses[:, None]) == y[..., None, :], -1)


def bayes_conjunctions(
    x: Bool[np.ndarray, "prompts length n"], y: Bool[np.ndarray, "prompts length"], hypotheses: Literals,
    prior: Float[ArrayLike, " functions"], forced: float,
) -> Float[np.ndarray, "prompts length"]:  # fmt: skip
    r"""Probability that $f(x_k)$ is true given the examples before and $x_k$, exact: no learner is right more often.

    A hypothesis that contradicts an earlier example is out. The others weigh as the prior times the probability of
    the inputs under `balanced_inputs`, $P(x\mid f) = (1-p)2^{-n} + p\,[f(x)]\,2^{r-n}$: where inputs are forced to be
    positive they speak about $f$ before their label is seen, those of $x_k$ included.

    Args:
        x: inputs.
        y: labels.
        hypotheses: the conjunctions that the prompts may be about, or more.
        prior: their probabilities.
        forced: $p$.
    """
    signs = np.where(x, 1, -1).astype(np.float32)
    size = np.abs(hypotheses).sum(1)
    says = signs @ hypotheses.T.astype(np.float32) == size  # [prompts, length, functions]
    input_weight = np.where(
        says, np.log(1 - forced + forced * 2.0**size), np.log(1 - forced) if forced < 1 else -np.inf
    )
    contradicted = np.cumsum(says != y[..., None], 1) - (says != y[..., None])  # before the present example
    with np.errstate(divide="ignore"):
        log = np.log(np.asarray(prior)) + np.cumsum(input_weight, 1)
    log = np.where(contradicted > 0, -np.inf, log)
    weight = np.exp(log - log.max(-1, keepdims=True))
    return (weight * says).sum(-1) / weight.sum(-1)


def parity(x: Bool[np.ndarray, "*points n"], subset: Bool[np.ndarray, "*functions n"]) -> Bool[np.ndarray, "*batch"]:
    """Labels of a parity: whether an odd number of the subset's variables is true. Leading axes broadcast."""
    return np.logical_xor.reduce(np.asarray(x) & subset, -1)


def parity_by_elimination(
    x: Bool[np.ndarray, "prompts length n"], y: Bool[np.ndarray, "prompts length"]
) -> Float[np.ndarray, "prompts length"]:
    r"""Probability that the parity of $x_k$ is odd given the examples before: 0 or 1 where they determine it, else 1/2.

    Gaussian elimination over GF(2), one example after the other: $x_k$ is determined if it is a sum of earlier inputs,
    its label then is the sum of theirs. This is the Bayes learner under a uniform prior over subsets.
    """
    prompts, length, n = x.shape
    # Row i of the basis, where there is one, is the first of its prompt's rows with a leading one in column i.
    basis, there = np.zeros((prompts, n, n + 1), bool), np.zeros((prompts, n), bool)
    odd = np.empty((prompts, length))
    for k in range(length):
        row = np.concatenate([x[:, k], np.zeros((prompts, 1), bool)], 1)
        stored = np.zeros(prompts, bool)
        for i in range(n):
            lead = row[:, i] & ~stored
            row ^= basis[:, i] & (lead & there[:, i])[:, None]
            new = lead & ~there[:, i]
            basis[new, i] = row[new]
            basis[new, i, n] ^= y[new, k]
            there[:, i] |= new
            stored |= new
        odd[:, k] = np.where(stored, 0.5, row[:, n])
    return odd


def majority_so_far(y: Bool[np.ndarray, "prompts length"]) -> Float[np.ndarray, "prompts length"]:
    """Guess the label that was more frequent before: 0 or 1, and 1/2 for a tie."""
    return (1 + np.sign(np.cumsum(2 * y - 1, 1) - (2 * y - 1))) / 2


def nearest_neighbour(
    x: Bool[np.ndarray, "prompts length n"], y: Bool[np.ndarray, "prompts length"]
) -> Float[np.ndarray, "prompts length"]:
    """Guess the label that is more frequent among the earlier inputs at the least Hamming distance; 1/2 for a tie."""
    length = x.shape[1]
    distance = (x[:, :, None] != x[:, None]).sum(-1).astype(float)
    distance[:, ~np.tril(np.ones((length, length), bool), -1)] = np.inf
    nearest = np.isfinite(distance) & (distance == distance.min(-1, keepdims=True))
    return (1 + np.sign((nearest * (2 * y - 1)[:, None]).sum(-1))) / 2


def accuracy(guess: Float[np.ndarray, "*shape"], y: Bool[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Whether each guess is right: 1 or 0, and 1/2 where a probability of exactly 1/2 leaves it to a coin."""
    return np.where(guess == 0.5, 0.5, (guess > 0.5) == y)


def unseen(x: Bool[np.ndarray, "prompts length n"]) -> Bool[np.ndarray, "prompts length"]:
    """Whether an input has not occurred earlier in its prompt."""
    same = (x[:, :, None] == x[:, None]).all(-1)
    return ~np.tril(same, -1).any(-1)
