import itertools

import jax
import numpy as np
import pytest
from scipy.stats import energy_distance as scipy_energy_distance
from scipy.stats import norm

from reprise.statistics.two_sample import energy_distance, mean_distance, optimal_assignment, transport_costs

RNG = np.random.default_rng(0)


def test_mean_distance_is_that_of_all_pairs_whatever_the_block():
    x, y = RNG.normal(size=(12, 3)).astype("f"), RNG.normal(size=(7, 3)).astype("f")
    expected = np.mean([np.linalg.norm(a - b) for a, b in itertools.product(x, y)])
    for block in (3, 12, 512):
        assert float(mean_distance(x, y, block)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="multiple of block"):
        mean_distance(x, y, 5)


def test_energy_distance_against_scipy_in_one_dimension():
    x, y = RNG.normal(size=64), RNG.normal(0.5, 2, size=48)
    with jax.enable_x64(True):
        found = float(energy_distance(x[:, None], y[:, None], block=16))
        assert float(energy_distance(x[:, None], x[::-1, None], block=16)) == pytest.approx(0, abs=1e-12)
    assert found == pytest.approx(scipy_energy_distance(x, y) ** 2, rel=1e-10)


def test_energy_distance_of_shifted_gaussians():
    r"""$2E|X-Y|-2E|X-X'|$ with $X-Y\sim N(\mu,2)$ is a moment of a folded normal."""
    shift, n = 1.5, 4096
    folded = lambda mean, std: (
        std * np.sqrt(2 / np.pi) * np.exp(-(mean**2) / (2 * std**2)) + mean * (1 - 2 * norm.cdf(-mean / std))
    )
    expected = 2 * folded(shift, np.sqrt(2)) - 2 * folded(0, np.sqrt(2))
    x, y = RNG.normal(size=(n, 1)), RNG.normal(shift, size=(n, 1))
    assert float(energy_distance(x, y)) == pytest.approx(expected, rel=0.08)


def test_transport_costs_by_hand():
    costs = transport_costs(np.array([[3.0, -4.0], [0.0, 0.0]], "f"))
    expected = {
        "sum |d_j|": 3.5, "sum |d_j|^1.5": (3**1.5 + 8) / 2, "|d|": 2.5, "|d|^2": 12.5, "|d|^4": 312.5, "max |d_j|": 2,
    }  # fmt: skip
    assert {name: float(cost) for name, cost in costs.items()} == pytest.approx(expected)


def test_optimal_assignment_against_all_permutations():
    x, y = RNG.normal(size=(2, 6, 2))
    partners, cost = optimal_assignment(x, y)
    brute = min(np.mean(np.sum((x - y[list(p)]) ** 2, 1)) for p in itertools.permutations(range(6)))
    assert cost == pytest.approx(brute)
    assert cost == pytest.approx(np.mean(np.sum((x - y[partners]) ** 2, 1)))


def test_optimal_assignment_on_a_line_is_the_monotone_one():
    x, y = RNG.normal(size=(2, 50, 1))
    partners, _ = optimal_assignment(x, y)
    np.testing.assert_array_equal(np.argsort(x[:, 0]), np.argsort(y[partners, 0]))
