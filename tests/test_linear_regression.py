import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from reprise.tasks.linear_regression import (
    LinearTasks,
    Prompt,
    gradient_descent,
    gradient_descent_pp,
    gram,
    implied_weights,
    nearest_neighbours,
    online_descent,
    preconditioned_step,
    prefixes,
    ridge,
    ridge_path,
    sensitivity,
    sequence_tokens,
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


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_ridge_of_few_examples_is_the_smallest_solution(prompts, penalty):
    few = prompts._replace(x=prompts.x[:, :2], y=prompts.y[:, :2])
    got = jax.jit(ridge, static_argnums=1)(few, penalty)
    for i in range(len(got)):
        x = np.asarray(few.x[i])
        w = np.linalg.pinv(x.T @ x + penalty * np.eye(3), rcond=1e-12) @ x.T @ np.asarray(few.y[i])
        np.testing.assert_allclose(got[i], w @ np.asarray(few.query[i]), rtol=1e-8)


def test_ridge_path_is_ridge_at_each_penalty(prompts):
    penalties = np.array([0.01, 0.7, 20.0])
    got = jax.jit(ridge_path)(prompts, penalties)
    for penalty, one in zip(penalties, got, strict=True):
        np.testing.assert_allclose(one, jax.jit(ridge)(prompts, penalty), rtol=1e-9)


def test_neighbours_are_scikit_learns_with_padding_left_out(prompts):
    present = np.arange(8) < 5
    got = jax.jit(nearest_neighbours, static_argnums=1)(prompts, 3, present)
    few = jax.jit(nearest_neighbours, static_argnums=1)(prompts, 3, np.arange(8) < 2)
    for i in range(len(got)):
        x, y, query = (np.asarray(part[i]) for part in prompts[:3])
        model = KNeighborsRegressor(3).fit(x[:5], y[:5])
        np.testing.assert_allclose(got[i], model.predict(query[None])[0], rtol=1e-12)
        np.testing.assert_allclose(few[i], y[:2].mean(), rtol=1e-12)


def test_online_descent_takes_the_examples_in_turn(prompts):
    rates = np.linspace(0.1, 0.3, 8)
    got = jax.jit(online_descent)(prompts, rates)
    for i in range(len(got)):
        w = np.zeros(3)
        for x, y, rate in zip(np.asarray(prompts.x[i]), np.asarray(prompts.y[i]), rates, strict=True):
            w -= rate * (w @ x - y) * x
        np.testing.assert_allclose(got[i], w @ np.asarray(prompts.query[i]), rtol=1e-12)


def test_sequence_tokens_hold_no_label_that_is_to_be_predicted(prompts):
    tokens = np.asarray(jax.jit(sequence_tokens)(prompts.x, prompts.y))
    x, y = np.asarray(prompts.x), np.asarray(prompts.y)
    assert tokens.shape == (7, 8, 8)
    np.testing.assert_array_equal(tokens[2, 4], np.r_[x[2, 4], x[2, 3], y[2, 3], 0])
    np.testing.assert_array_equal(tokens[2, 0], np.r_[x[2, 0], 0, 0, 0, 0, 1])


def test_prefixes_are_the_shorter_prompts(prompts):
    several, present = jax.jit(prefixes)(prompts.x, prompts.y)
    assert several.x.shape == (7, 7, 7, 3)
    for n in (1, 4, 7):
        shorter = Prompt(prompts.x[:, :n], prompts.y[:, :n], prompts.x[:, n], prompts.y[:, n])
        one = jax.tree.map(lambda leaf, n=n: leaf[n - 1], several)
        np.testing.assert_array_equal(one.target, shorter.target)
        assert present[n - 1].sum() == n
        padded, plain = (jax.jit(ridge, static_argnums=1)(p, 0.3) for p in (one, shorter))
        np.testing.assert_allclose(padded, plain, rtol=1e-10)


def test_implied_weights_of_a_linear_and_of_a_curved_predictor():
    rng = np.random.default_rng(0)
    queries, w = rng.normal(size=(50, 3)), rng.normal(size=(4, 3))
    with jax.enable_x64(True):
        found, share = jax.jit(implied_weights)(queries, w @ queries.T)
        np.testing.assert_allclose(found, w, rtol=1e-9)
        np.testing.assert_allclose(share, 1)
        curved = w @ queries.T + rng.normal(size=(4, 50))
        found, share = jax.jit(implied_weights)(queries, curved)
        fit, residual, *_ = np.linalg.lstsq(queries, curved.T)
    np.testing.assert_allclose(found, fit.T, rtol=1e-9)
    np.testing.assert_allclose(1 - share, residual / (curved**2).sum(-1), rtol=1e-9)


def test_gram_is_the_mean_of_token_products(prompts):
    context, query = tokens(prompts)
    expected = np.mean([np.outer(e, e) for e in context[2]], axis=0)
    np.testing.assert_allclose(gram(prompts)[2], expected, rtol=1e-12)
    np.testing.assert_array_equal(query[:, :-1], prompts.query)
    np.testing.assert_array_equal(query[:, -1], 0)


def test_sensitivity_of_a_linear_predictor_is_its_weights(prompts):
    slopes = jax.jit(lambda p: sensitivity(ridge, p))(prompts)
    np.testing.assert_allclose((slopes * prompts.query).sum(-1), jax.jit(ridge)(prompts), rtol=1e-10)


SIGMA = np.array([[1.5, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 0.5]])
PRIOR = np.diag([0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    "family",
    [
        {},
        {"inputs": "normal"},
        {"noise": 0.5},
        {"inputs": "normal", "noise": 0.5, "covariance": SIGMA, "prior": PRIOR},
        {"inputs": "normal", "noise": 0.5, "link": jnp.tanh},
        {"inputs": "normal", "noise": 0.5, "link": lambda y: jnp.sign(y) + 0.3 * y},
    ],
    ids=["uniform", "normal", "noisy", "covariances", "tanh", "sign"],
)
def test_one_step_loss_in_closed_form_is_the_monte_carlo_loss(family):
    tasks = LinearTasks(dim=3, length=6, **family)
    prompts = jax.jit(tasks.sample, static_argnums=1)(jax.random.key(1), 50_000)
    for rate in (0.3, 0.9):
        losses = np.asarray((jax.jit(gradient_descent)(prompts, np.array([rate], "float32")) - prompts.target) ** 2)
        error = losses.std() / len(losses) ** 0.5
        assert abs(losses.mean() - tasks.one_step_loss(rate)) < 4 * error
    best = minimize_scalar(tasks.one_step_loss)
    assert tasks.optimal_rate() == pytest.approx(best.x, rel=1e-6)
    assert tasks.one_step_loss() == pytest.approx(best.fun, rel=1e-9)


def test_step_size_for_signs_in_closed_form():
    n, d, noise = 10, 5, 1.0
    expected = n * (2 / np.pi) / (d + noise**2 * d + (n - 1) * 2 / np.pi)
    tasks = LinearTasks(d, n, "normal", noise, link=jnp.sign)
    assert tasks.optimal_rate() == pytest.approx(expected, rel=1e-12)


def test_preconditioned_loss_is_the_monte_carlo_loss_and_least_at_the_optimum():
    tasks = LinearTasks(3, 6, "normal", 0.5, covariance=SIGMA, prior=PRIOR)
    prompts = jax.jit(tasks.sample, static_argnums=1)(jax.random.key(2), 50_000)
    np.testing.assert_allclose(np.cov(np.reshape(prompts.x, (-1, 3)).T), SIGMA, atol=0.02)
    rng = np.random.default_rng(0)
    best = tasks.optimal_preconditioner()
    for matrix in (best, best + 0.3 * rng.normal(size=(3, 3))):
        losses = np.asarray((jax.jit(preconditioned_step)(prompts, matrix) - prompts.target) ** 2)
        assert abs(losses.mean() - tasks.preconditioned_loss(matrix)) < 4 * losses.std() / len(losses) ** 0.5
    found = minimize(lambda p: tasks.preconditioned_loss(p.reshape(3, 3)), np.zeros(9), tol=1e-10)
    np.testing.assert_allclose(found.x.reshape(3, 3), best, atol=1e-5)
    scaled = tasks.preconditioned_loss(0.4 * np.eye(3))
    assert scaled == pytest.approx(tasks.one_step_loss(0.4), rel=1e-12)


def test_optimal_preconditioners_of_the_two_theorems():
    inverse = np.linalg.inv(SIGMA)
    matched = LinearTasks(3, 6, "normal", 0.5, covariance=SIGMA, prior=inverse)
    np.testing.assert_allclose(matched.optimal_preconditioner(), 6 / (6 + 3 + 1 + 0.25) * inverse, rtol=1e-10)
    plain = LinearTasks(3, 6, "normal", covariance=SIGMA)
    gamma = (1 + 1 / 6) * SIGMA + np.trace(SIGMA) / 6 * np.eye(3)
    np.testing.assert_allclose(plain.optimal_preconditioner(), np.linalg.inv(gamma), rtol=1e-10)


def test_posterior_mean_solves_the_normal_equations_of_its_prior(prompts):
    tasks = LinearTasks(3, 8, "normal", 0.7, prior=PRIOR)
    got = jax.jit(tasks.posterior_mean)(prompts)
    for i in range(len(got)):
        x, y = np.asarray(prompts.x[i]), np.asarray(prompts.y[i])
        w = np.linalg.solve(x.T @ x + 0.49 * np.linalg.inv(PRIOR), x.T @ y)
        np.testing.assert_allclose(got[i], w @ np.asarray(prompts.query[i]), rtol=1e-10)


def test_shared_draws_give_the_same_labels_in_another_basis():
    draws = LinearTasks(3, 6, "normal").draw(jax.random.key(3), 20)
    plain = jax.jit(LinearTasks(3, 6, "normal", 0.5).prompts)(draws)
    turned = LinearTasks(3, 6, "normal", 0.5, covariance=SIGMA, prior=np.linalg.inv(SIGMA))
    turned = jax.jit(turned.prompts)(draws)
    np.testing.assert_allclose(turned.y, plain.y, atol=1e-5)
    np.testing.assert_allclose(turned.target, plain.target, atol=1e-5)
    assert jnp.abs(turned.x - plain.x).max() > 0.1


def test_sampled_labels_are_linear_and_least_squares_finds_them():
    prompts = jax.jit(LinearTasks(dim=3, length=12).sample, static_argnums=1)(jax.random.key(0), 50)
    assert prompts.x.shape == (50, 12, 3)
    assert jnp.abs(prompts.x).max() <= 1
    assert jax.jit(lambda p: squared_error(ridge(p), p))(prompts) < 1e-8


def test_unknown_inputs_are_refused():
    with pytest.raises(ValueError, match="'uniform' or 'normal'"):
        LinearTasks(dim=2, length=4, inputs="cauchy")


def test_closed_forms_refuse_families_they_are_not_for():
    with pytest.raises(ValueError, match="covariance must have shape"):
        LinearTasks(dim=2, length=4, covariance=SIGMA)
    with pytest.raises(ValueError, match="normal inputs"):
        LinearTasks(dim=3, length=4, covariance=SIGMA).optimal_rate()
    with pytest.raises(ValueError, match="link must be None"):
        LinearTasks(dim=3, length=4, link=jnp.sign).posterior_mean(None)
    with pytest.raises(ValueError, match="standard normal"):
        LinearTasks(dim=3, length=4, link=jnp.sign).optimal_rate()


def test_gram_of_very_many_prompts():
    # A batch-last form of the same sum is miscompiled by XLA on CPUs from some 20 000 prompts on (jax 0.10).
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100_000, 6, 2)).astype("float32"), rng.normal(size=(100_000, 6)).astype("float32")
    context = np.concatenate([x, y[..., None]], -1)
    got = jax.jit(gram)(Prompt(x, y, x[:, 0], y[:, 0]))
    np.testing.assert_allclose(got, context.swapaxes(1, 2) @ context / 6, atol=1e-5)
