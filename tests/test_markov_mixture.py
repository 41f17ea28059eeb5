import itertools

import numpy as np
import pytest

from reprise.tasks.markov_mixture import dirichlet_chains


@pytest.fixture(scope="module")
def mixture():
    return dirichlet_chains(np.random.default_rng(0), 3, 4, 0.5)


def test_rows_and_stationary_distributions(mixture):
    np.testing.assert_allclose(mixture.transitions.sum(-1), 1)
    np.testing.assert_allclose(np.einsum("ri,rij->rj", mixture.stationary, mixture.transitions), mixture.stationary)
    balanced = dirichlet_chains(np.random.default_rng(0), 3, 4, 0.5, balanced=True)
    np.testing.assert_allclose(balanced.stationary, 0.25, atol=1e-6)


def test_posterior_and_predictive_by_enumeration(mixture):
    """Sums over all sequences of length 3 give the conditional probabilities."""
    joint = {
        (r, *s): mixture.stationary[r, s[0]]
        * mixture.transitions[r, s[0], s[1]]
        * mixture.transitions[r, s[1], s[2]]
        / 3
        for r in range(3)
        for s in itertools.product(range(4), repeat=3)
    }
    assert sum(joint.values()) == pytest.approx(1)
    total = lambda **fixed: sum(p for key, p in joint.items() if all(key[int(i[1:])] == v for i, v in fixed.items()))
    given = {"i1": 2, "i2": 1}
    posterior = [total(i0=r, **given) / total(**given) for r in range(3)]
    predictive = [total(i3=v, **given) / total(**given) for v in range(4)]
    np.testing.assert_allclose(mixture.posterior(np.array([2, 1]))[-1], posterior)
    np.testing.assert_allclose(mixture.predictive(np.array([[2, 1]]))[0, -1], predictive)


def test_samples_follow_their_chain(mixture):
    symbols, chain = mixture.sample(np.random.default_rng(1), 60000, 3)
    np.testing.assert_allclose(np.bincount(chain) / 60000, 1 / 3, atol=0.01)
    for r in range(3):
        of = symbols[chain == r]
        np.testing.assert_allclose(np.bincount(of[:, 0], minlength=4) / len(of), mixture.stationary[r], atol=0.02)
        for i in range(4):
            after = of[:, 2][of[:, 1] == i]
            if len(after) > 2000:
                frequency = np.bincount(after, minlength=4) / len(after)
                np.testing.assert_allclose(frequency, mixture.transitions[r, i], atol=0.04)


def test_counting_ignores_order_and_order_tells_more(mixture):
    symbols, chain = mixture.sample(np.random.default_rng(2), 4000, 12)
    counting = mixture.counting_posterior(symbols)
    np.testing.assert_allclose(counting[:, -1], mixture.counting_posterior(symbols[:, ::-1])[:, -1])
    own = lambda posterior: np.log(posterior[np.arange(4000), -1, chain]).mean()
    assert own(mixture.posterior(symbols)) > own(counting) > np.log(1 / 3)
