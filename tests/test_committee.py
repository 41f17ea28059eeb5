import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.kernels.alignment import centred_alignment, target_alignment
from reprise.kernels.empirical import jacobian_ntk
from reprise.networks.committee import (
    Quadratic,
    centred_function,
    committee,
    moments,
    tangent_function,
    tangent_kernel,
)
from reprise.tasks import single_index

ALPHA, EPSILON = 1.7, 0.4


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 3)), rng.normal(size=(7, 3)), rng.normal(size=(5, 3)), rng.normal(size=5)


def test_power_is_the_gaussian_integral():
    """Gauss-Hermite quadrature in two dimensions is exact for the fourth-degree square."""
    b, a = np.array([0.3, -1.1]), np.array([[0.8, 0.2], [0.2, -0.5]])
    z, w = np.polynomial.hermite_e.hermegauss(6)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), -1).reshape(-1, 2) / np.sqrt(2)
    weights = np.outer(w, w).ravel() / w.sum() ** 2
    with jax.enable_x64(True):
        function = Quadratic(jnp.array(b), jnp.array(a))
        values = np.asarray(function(jnp.array(grid)))
        assert float(sum(function.power())) == pytest.approx(weights @ values**2, rel=1e-12)
    np.testing.assert_allclose(values, grid @ b + 0.5 * np.einsum("ni,ij,nj->n", grid, a, grid))


def test_moments_give_function_gradient_and_kernel_of_the_units(setting):
    with jax.enable_x64(True):
        weights, initial, x, y = (jnp.array(part) for part in setting)
        by_units = lambda w, x: committee(w, x, ALPHA, EPSILON) - committee(initial, x, ALPHA, EPSILON)
        by_moments = lambda w, x: centred_function(w, initial, ALPHA, EPSILON)(x)

        @jax.jit
        def both(weights):
            losses = [lambda w, f=f: jnp.mean((f(w, x) - y) ** 2) for f in (by_units, by_moments)]
            values = [f(weights, x) for f in (by_units, by_moments)]
            ntk = jacobian_ntk(lambda w, x: by_units(w, x)[:, None], weights, x, x[:2])
            kernel = tangent_kernel(moments(weights), x, x[:2], EPSILON) * ALPHA**2 / weights.shape[0]
            return values, [jax.grad(loss)(weights) for loss in losses], [ntk, kernel]

        for one, two in both(weights):
            np.testing.assert_allclose(one, two, rtol=1e-10)


def test_tangent_function_is_the_sum_of_kernels(setting):
    with jax.enable_x64(True):
        weights, _, x, dual = (jnp.array(part) for part in setting)
        points = x[::-1] * 0.7 + 0.2
        found = tangent_function(jnp.stack([dual, 2 * dual]), x, moments(weights), EPSILON)
        expected = tangent_kernel(moments(weights), points, x, EPSILON) @ dual
        np.testing.assert_allclose(Quadratic(found.linear[0], found.matrix[0])(points), expected, rtol=1e-10)
        np.testing.assert_allclose(found.minus(found).power(), 0, atol=1e-12)
        assert sum(found.power())[1] == pytest.approx(4 * float(sum(found.power())[0]))


def test_single_index_sample():
    data = single_index.sample(jax.random.key(0), 4000, 6, lambda h: h**2 / 2)
    assert data.inputs.shape == (4000, 6)
    np.testing.assert_allclose(jnp.sum(data.direction**2), 6, rtol=1e-5)
    np.testing.assert_allclose(data.targets, 0.5 * np.asarray(data.inputs @ data.direction) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.cov(data.inputs.T), np.eye(6) / 6, atol=0.02)


def test_alignment_against_its_definition(setting):
    features, other, *_ = setting
    h = np.eye(7) - 1 / 7
    one, two = features @ features.T, other @ other.T
    expected = np.trace(h @ one @ h @ two) / np.sqrt(np.trace(h @ one @ h @ one) * np.trace(h @ two @ h @ two))
    assert float(centred_alignment(one, two)) == pytest.approx(expected, rel=1e-5)
    assert float(centred_alignment(one, 3 * one + 2)) == pytest.approx(1, rel=1e-5)
    y = features[:, 0]
    assert float(target_alignment(np.outer(y, y), y - 4)) == pytest.approx(1, rel=1e-5)
