r"""Sequences from one of several Markov chains: which one, the sequence itself must tell.

A chain $r$ is drawn uniformly, the first symbol from its stationary distribution $\pi_r$, every further one from its
transition matrix $P_r$. With known chains the best predictor is Bayes' rule in closed form: a posterior over chains,
to which every transition adds its log-likelihood, and the mixture of the chains' rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class MarkovMixture(NamedTuple):
    """A uniform mixture of Markov chains over the same symbols.

    Attributes:
        transitions: $P_r$, all entries positive; rows are distributions of the next symbol.
        stationary: $\\pi_r$.
    """

    transitions: Float[np.ndarray, "chains symbols symbols"]
    stationary: Float[np.ndarray, "chains symbols"]

    def sample(
        self, rng: np.random.Generator, count: int, length: int
    ) -> tuple[Int[np.ndarray, "count length"], Int[np.ndarray, " count"]]:
        """Sequences, and the chain that each was drawn from."""
        chain = rng.integers(len(self.transitions), size=count)
        uniform = rng.random((length, count))
        # A symbol is the number of cumulative probabilities below a uniform number; the last one is 1 and left out.
        rows = np.cumsum(self.transitions, -1)[..., :-1].astype(np.float32)
        symbols = np.empty((length, count), np.int8)
        symbols[0] = (np.cumsum(self.stationary, -1)[chain, :-1] < uniform[0, :, None]).sum(-1)
        for t in range(1, length):
            symbols[t] = (rows[chain, symbols[t - 1]] < uniform[t, :, None]).sum(-1)
        return symbols.T, chain

    def posterior(self, symbols: Int[np.ndarray, "*batch time"]) -> Float[np.ndarray, "*batch time chains"]:
        """Probability of every chain given the symbols up to and including each time."""
        first = np.log(self.stationary.T)[symbols[..., :1]]
        steps = np.log(np.moveaxis(self.transitions, 0, -1))[symbols[..., :-1], symbols[..., 1:]]
        return _normalised(np.cumsum(np.concatenate([first, steps], -2), -2))

    def counting_posterior(self, symbols: Int[np.ndarray, "*batch time"]) -> Float[np.ndarray, "*batch time chains"]:
        """`posterior` of somebody who takes the symbols for independent draws from a chain's stationary distribution:
        it depends on how often each symbol occurred and not on their order."""
        return _normalised(np.cumsum(np.log(self.stationary.T)[symbols], -2))

    def predictive(
        self, symbols: Int[np.ndarray, "*batch time"], posterior: Float[np.ndarray, "*batch time chains"] | None = None
    ) -> Float[np.ndarray, "*batch time symbols"]:
        """The distribution of the symbol after each time: Bayes' own, below whose expected log-loss no predictor comes,
        or the mixture of the chains' rows with another ``posterior``."""
        posterior = self.posterior(symbols) if posterior is None else posterior
        rows = np.moveaxis(self.transitions, 0, -2)[symbols]  # [*batch, time, chains, symbols]
        return np.einsum("...r,...rv->...v", posterior, rows)


def _normalised(evidence: Float[np.ndarray, "*batch chains"]) -> Float[np.ndarray, "*batch chains"]:
    weights = np.exp(evidence - evidence.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def dirichlet_chains(
    rng: np.random.Generator, chains: int, symbols: int, concentration: float, balanced: bool = False
) -> MarkovMixture:
    r"""Chains whose rows are drawn from a symmetric Dirichlet distribution, with $10^{-6}$ added to every entry.

    Args:
        rng: source of the rows.
        chains: how many.
        symbols: size of the alphabet.
        concentration: of the Dirichlet distribution; rows are close to deterministic when it is small.
        balanced: scale rows and columns in turn until all columns sum to 1 as well (Sinkhorn 1964). Every chain then
            has the uniform stationary distribution: counting symbols says nothing about the chain, only transitions do.
    """
    transitions = rng.dirichlet(np.full(symbols, concentration), (chains, symbols)) + 1e-6
    for _ in range(1000 * balanced):
        transitions /= transitions.sum(-2, keepdims=True)
        transitions /= transitions.sum(-1, keepdims=True)
    transitions /= transitions.sum(-1, keepdims=True)
    # pi (P - 1) = 0 together with sum(pi) = 1, in least squares.
    system = np.concatenate([np.swapaxes(transitions, -1, -2) - np.eye(symbols), np.ones((chains, 1, symbols))], -2)
    target = np.concatenate([np.zeros(symbols), [1.0]])
    stationary = np.clip(np.linalg.pinv(system) @ target, 0, None)
    return MarkovMixture(transitions, stationary / stationary.sum(-1, keepdims=True))
