import jax.numpy as jnp
import numpy as np
import pytest

from reprise.numerics.quadrature import Rule, gauss_rule
from reprise.tasks.linear_regression import (
    LinearTasks,
    Prompt,
    gradient_descent,
    gradient_descent_pp,
    ridge,
    squared_error,
    unfitted,
)  # fmt: skip
from reprise.tasks.prompt_spectra import descent_risks, matching_steps, prompt_spectrum, ridge_risk, spectral_risk

COVARIANCE = np.array([[1.5, 0.4], [0.4, 0.5]])
LENGTH, NOISE = 8, 0.6


@pytest.fixture(scope="module")
def prompts():
    """Many prompts with correlated inputs and noisy labels."""
    rng = np.random.default_rng(0)
    inputs = rng.multivariate_normal(np.zeros(2), COVARIANCE, size=(40000, LENGTH + 1))
    labels = np.einsum("tnd,td->tn", inputs, rng.normal(size=(40000, 2)))
    noisy = labels[:, :-1] + NOISE * rng.normal(size=(40000, LENGTH))
    return Prompt(*(part.astype(np.float32) for part in (inputs[:, :-1], noisy, inputs[:, -1], labels[:, -1])))


def test_risks_are_those_of_the_algorithms_on_prompts(prompts):
    law, noise = prompt_spectrum(np.asarray(prompts.x, float), COVARIANCE), NOISE**2 / LENGTH
    assert law.weights.sum() == pytest.approx(1)
    rates, curvatures = np.array([0.4, 0.9]), np.array([0.15, 0.2])
    sampled = {
        "descent": gradient_descent(prompts, rates),
        "curved": gradient_descent_pp(prompts, rates, curvatures),
        "ridge": ridge(prompts, NOISE**2),
    }
    exact = {
        "descent": spectral_risk(law, np.prod(1 - rates[:, None] * law.points, 0), noise),
        "curved": spectral_risk(law, np.asarray(unfitted(jnp.asarray(law.points), rates, curvatures)), noise),
        "ridge": ridge_risk(law, noise),
    }
    for name, predictions in sampled.items():
        found = float(squared_error(predictions, prompts)) / np.trace(COVARIANCE)
        assert found == pytest.approx(float(exact[name]), rel=0.02), name
    assert exact["ridge"] < min(exact["descent"], exact["curved"])


def test_one_tuned_step_is_the_closed_form():
    tasks = LinearTasks(4, 10, inputs="normal", noise=0.5)
    law = prompt_spectrum(np.random.default_rng(1).normal(size=(40000, 10, 4)))
    (rate, *_), (risk, *_) = descent_risks(gauss_rule(*law, 20), [1, 2], 0.25 / 10)
    assert rate == pytest.approx(tasks.optimal_rate(), rel=0.01)
    assert risk == pytest.approx(tasks.one_step_loss() / 4, rel=0.01)


def test_many_tuned_steps_are_no_worse_than_any_rate_of_a_grid():
    law = gauss_rule(*prompt_spectrum(np.random.default_rng(2).normal(size=(500, 12, 3))), 30)
    steps = np.array([3, 10, 30])
    _, risks = descent_risks(law, steps)
    grid = [[spectral_risk(law, (1 - rate * law.points) ** t) for rate in np.linspace(0.02, 1.5, 300)] for t in steps]
    assert np.all(risks <= np.min(grid, 1) * (1 + 1e-9))
    assert np.all(np.diff(risks) < 0)


def test_matching_steps_interpolates_logarithms():
    risks = np.exp([0.0, -1, -3, -4])
    np.testing.assert_allclose(matching_steps(risks, np.exp([[-1.0, -2.0], [-3.5, -5]])), [[1, 1.5], [2.5, np.nan]])
    with pytest.raises(ValueError, match="decrease"):
        matching_steps(risks[::-1], 0.5)


def test_without_noise_a_zero_eigenvalue_is_allowed():
    assert spectral_risk(Rule(np.array([0.0, 1.0]), np.array([0.5, 0.5])), np.array([1.0, 0.0])) == 0.5
