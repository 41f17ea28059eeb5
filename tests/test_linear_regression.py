import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import Ridge

from reprise.tasks.linear_regression import (
    LinearTasks,
    Prompt,
    gradient_descent,
    gradient_descent_pp,
    gram,
    ridge,
    sensitivity,
    squared_error,
    tokens,
    unfitted,
)


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        arrays = rng.normal(size=(7, 8, 3)), rng.normal(size=(7, 8)), rng.normal(size=(7, 3)), rng.normal(size=7)
        yield Prompt(*map(jnp.asarray, arrays))


def test_gradient_descent_follows_the_gradient_of_the_least_squares_loss(prompts):
    rates = np.array([0.3, 0.7])
    got = jax.jit(gradient_descent)(prompts, rates)
    slope = jax.jit(jax.grad(lambda w, x, y: 0.5 * jnp.mean((x @ w - y) ** 2)))
    for i in range(len(prompts.y)):
        w = np.zeros(3)
        for rate in rates:
            w = w - rate * np.asarray(slope(w, prompts.x[i], prompts.y[i]))
        np.testing.assert_allclose(got[i], w @ np.asarray(prompts.query[i]), rtol=1e-12)


def test_gdpp_without_curvature_is_gradient_descent(prompts):
    rates = np.array([0.3, 0.7, 0.2])
    got = jax.jit(gradient_descent_pp)(prompts, rates, np.zeros(3))
    np.testing.assert_allclose(got, jax.jit(gradient_descent)(prompts, rates), rtol=1e-12)


def test_gdpp_leaves_its_polynomial_of_the_covariance(prompts):
    w = np.array([1.0, -2.0, 0.5])
    clean = prompts._replace(y=prompts.x @ w, target=prompts.query @ w)
    rates, curvatures = np.array([0.4, 0.7, 0.2]), np.array([0.15, 0.3, 0.1])
    got = jax.jit(gradient_descent_pp)(clean, rates, curvatures)
    for i in range(len(clean.y)):
        s, vectors = np.linalg.eigh(np.asarray(clean.x[i]).T @ np.asarray(clean.x[i]) / 8)
        left = np.asarray(jax.jit(unfitted)(s, rates, curvatures))
        expected = np.asarray(clean.query[i]) @ vectors @ ((1 - left) * (vectors.T @ np.asarray(w)))
        np.testing.assert_allclose(got[i], expected, rtol=1e-11)


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_ridge_is_scikit_learns(prompts, penalty):
    got = jax.jit(ridge, static_argnums=1)(prompts, penalty)
    for i in range(len(got)):
        model = Ridge(penalty, fit_intercept=False).fit(prompts.x[i], prompts.y[i])
        np.testing.assert_allclose(got[i], model.predict(prompts.query[i : i + 1])[0], rtol=1e-10)


def test_ridge_refuses_an_undetermined_fit(prompts):
    with pytest.raises(ValueError, match="penalty > 0"):
        ridge(prompts._replace(x=prompts.x[:, :2], y=prompts.y[:, :2]))


def test_gram_is_the_mean_of_token_products(prompts):
    context, query = tokens(prompts)
    expected = np.mean([np.outer(e, e) for e in context[2]], axis=0)
    np.testing.assert_allclose(gram(prompts)[2], expected, rtol=1e-12)
    np.testing.assert_array_equal(query[:, :-1], prompts.query)
    np.testing.assert_array_equal(query[:, -1], 0)


def test_sensitivity_of_a_linear_predictor_is_its_weights(prompts):
    slopes = jax.jit(lambda p: sensitivity(ridge, p))(prompts)
    np.testing.assert_allclose((slopes * prompts.query).sum(-1), jax.jit(ridge)(prompts), rtol=1e-10)


@pytest.mark.parametrize(("inputs", "noise"), [("uniform", 0.0), ("normal", 0.0), ("uniform", 0.5)])
def test_one_step_loss_in_closed_form_is_the_monte_carlo_loss(inputs, noise):
    tasks = LinearTasks(dim=3, length=6, inputs=inputs, noise=noise)
    prompts = jax.jit(tasks.sample, static_argnums=1)(jax.random.key(1), 50_000)
    for rate in (0.3, 0.9):
        losses = np.asarray((jax.jit(gradient_descent)(prompts, np.array([rate], "float32")) - prompts.target) ** 2)
        error = losses.std() / len(losses) ** 0.5
        assert abs(losses.mean() - tasks.one_step_loss(rate)) < 4 * error
    best = minimize_scalar(tasks.one_step_loss)
    assert tasks.optimal_rate() == pytest.approx(best.x, rel=1e-6)
    assert tasks.one_step_loss() == pytest.approx(best.fun, rel=1e-9)


def test_sampled_labels_are_linear_and_least_squares_finds_them():
    prompts = jax.jit(LinearTasks(dim=3, length=12).sample, static_argnums=1)(jax.random.key(0), 50)
    assert prompts.x.shape == (50, 12, 3)
    assert jnp.abs(prompts.x).max() <= 1
    assert jax.jit(lambda p: squared_error(ridge(p), p))(prompts) < 1e-8


def test_unknown_inputs_are_refused():
    with pytest.raises(ValueError, match="'uniform' or 'normal'"):
        LinearTasks(dim=2, length=4, inputs="cauchy")
