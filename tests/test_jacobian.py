import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from reprise.curvature.jacobian import gauss_newton_matrix, gauss_newton_product, per_example_jacobian

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.normal(size=(3, 4)), "v": RNG.normal(size=4), "b": RNG.normal(size=())}
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=6)


def residual(params, x, y):
    return params["v"] @ jax.nn.gelu(x @ params["w"]) + params["b"] - y


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def by_differences(step=1e-6):
    """The Jacobian of all residuals by central differences, one parameter at a time."""
    flat, unravel = ravel_pytree(PARAMS)
    every = jax.jit(lambda flat: jax.vmap(residual, (None, 0, 0))(unravel(flat), X, Y))
    flat = np.asarray(flat)
    columns = [(every(flat + d) - every(flat - d)) / (2 * step) for d in step * np.eye(flat.size)]
    return np.asarray(every(flat)), np.stack(columns, 1)


def test_rows_are_the_gradients_of_the_examples(float64):
    values, rows = jax.jit(lambda p: per_example_jacobian(residual, p, X, Y))(PARAMS)
    expected_values, expected = by_differences()
    np.testing.assert_allclose(values, expected_values, rtol=1e-12)
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-8)


def test_gauss_newton_is_the_square_of_the_jacobian(float64):
    _, jacobian = by_differences()
    outputs = lambda params: jax.vmap(residual, (None, 0, 0))(params, X, Y)
    matrix = jax.jit(lambda p: gauss_newton_matrix(outputs, p))(PARAMS)
    np.testing.assert_allclose(matrix, jacobian.T @ jacobian, rtol=1e-5, atol=1e-7)
    vector = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), PARAMS)
    product = jax.jit(lambda p, v: gauss_newton_product(outputs, p, v))(PARAMS, vector)
    np.testing.assert_allclose(ravel_pytree(product)[0], matrix @ ravel_pytree(vector)[0], rtol=1e-10)
