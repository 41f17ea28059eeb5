import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from reprise.numerics.quadrature import (
    chebyshev_integration,
    christoffel,
    gauss_hermite,
    gauss_legendre,
    gauss_rule,
    gaussian_mean,
    gaussian_pair_mean,
)


def test_rule_integrates_polynomials_up_to_its_degree_and_no_further():
    points, weights = gauss_hermite(6)
    moment = lambda degree: weights @ points**degree
    for degree in range(12):
        exact = 0.0 if degree % 2 else float(math.prod(range(1, degree, 2)))
        assert moment(degree) == pytest.approx(exact, rel=1e-12, abs=1e-10)
    assert moment(12) < 0.99 * math.prod(range(1, 12, 2))
    with pytest.raises(ValueError, match="nodes"):
        gauss_hermite(0)


def test_gaussian_mean_is_the_integral():
    variances = np.array([0.0, 0.4, 2.5])
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(lambda a: gaussian_mean(lambda x: jnp.cos(x) * jnp.exp(0.3 * x), a))(variances))
        assert found.dtype == np.float64
    for value, a in zip(found, variances, strict=True):
        density = lambda x, a=a: np.cos(x) * np.exp(0.3 * x - x**2 / (2 * a)) / np.sqrt(2 * np.pi * a)
        exact = integrate.quad(density, -20, 20)[0] if a else 1.0
        assert value == pytest.approx(exact, rel=1e-10)


def test_mean_of_one_variable_is_a_scalar_in_single_precision_by_default():
    found = gaussian_mean(lambda x: x**4, 2)
    assert found.shape == ()
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(3 * 2**2, rel=1e-5)


@pytest.fixture(scope="module")
def pairs():
    """Covariance and variances of pairs: generic, uncorrelated, identical, opposite, rounded past the end, and dead."""
    return np.array(
        [(0.7, 1.3, 0.9), (0.0, 1.0, 2.0), (2.0, 2.0, 2.0), (-1.0, 1.0, 1.0), (1.0 + 1e-12, 1, 1), (0, 0, 1)]
    )


def test_pair_mean_agrees_with_isserlis_and_with_closed_forms(pairs):
    functions = {
        "square": lambda u, v: u**2 * v**2,
        "first": lambda u, v: 1 + 0 * u,
        "erf": lambda u, v: jax.scipy.special.erf(u / 2) * jax.scipy.special.erf(v / 2),
        "waves": lambda u, v: jnp.cos(u - v),
    }
    with jax.enable_x64(True):
        found = jax.jit(lambda k, a, b: {n: gaussian_pair_mean(f, k, a, b, nodes=48) for n, f in functions.items()})(
            *pairs.T
        )
    k, a, b = pairs.T
    np.testing.assert_allclose(found["square"], a * b + 2 * k**2, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found["first"], 1, rtol=1e-12)
    # Williams (1997), equation 11, for erf(x / 2): each variance enters through a quarter of it.
    arcsine = 2 / np.pi * np.arcsin(k / 2 / np.sqrt((1 + a / 2) * (1 + b / 2)))
    np.testing.assert_allclose(found["erf"], arcsine, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found["waves"], np.exp(-(a + b - 2 * k) / 2), rtol=1e-9)


def test_pair_mean_broadcasts():
    k = jnp.array([0.1, 0.2, 0.3])
    found = gaussian_pair_mean(lambda u, v: u * v, k, 1.0, jnp.ones((2, 1)), nodes=4)
    np.testing.assert_allclose(found, np.broadcast_to(k, (2, 3)), rtol=1e-5)


@pytest.mark.parametrize("count", [500, 9001])
def test_gauss_rule_keeps_the_moments_of_weighted_points(count):
    rng = np.random.default_rng(0)
    points, weights = rng.gamma(3.0, size=count), rng.uniform(0.5, 2, size=count)
    rule = gauss_rule(points, weights, 6)
    mean = lambda degree: weights @ points**degree / weights.sum()
    for degree in range(12):
        assert rule.weights @ rule.points**degree == pytest.approx(mean(degree), rel=1e-9)
    assert rule.weights @ rule.points**20 < (1 - 1e-6) * mean(20)
    np.testing.assert_allclose(gauss_rule([3.0, 1.0, 2.0], None, 3).points, [1, 2, 3], rtol=1e-12)
    np.testing.assert_allclose(
        gauss_rule(gauss_hermite(9).points, gauss_hermite(9).weights, 5), gauss_hermite(5), atol=1e-12
    )
    with pytest.raises(ValueError, match="no rule"):
        gauss_rule([1.0, 1.0, 2.0], None, 3)
    with pytest.raises(ValueError, match="one length"):
        gauss_rule([1.0, 2.0], [1.0], 1)


def test_christoffel_is_the_least_square_fit_of_one_minus_a_polynomial():
    rng = np.random.default_rng(1)
    points, weights = rng.uniform(0.2, 3, size=300), rng.uniform(0.5, 2, size=300)
    found = christoffel(points, weights, 0.0, 4)
    for degree in range(1, 5):
        # q = 1 + c_1 s + ... + c_m s^m, fitted to zero
        powers = points[:, None] ** np.arange(1, degree + 1) * np.sqrt(weights)[:, None]
        _, (residual,), *_ = np.linalg.lstsq(powers, -np.sqrt(weights), rcond=None)
        assert found[degree] == pytest.approx(residual / weights.sum(), rel=1e-9)
    assert found[0] == 1
    with pytest.raises(ValueError, match="distinct"):
        christoffel([1.0, 2.0], None, 0.0, 2)


def test_gauss_legendre_integrates_polynomials_up_to_its_degree_and_no_further():
    points, weights = gauss_legendre(4, -1.0, 3.0)
    error = lambda degree: weights @ points**degree - (3.0 ** (degree + 1) - (-1.0) ** (degree + 1)) / (degree + 1)
    assert max(abs(error(degree)) for degree in range(8)) < 1e-10
    assert abs(error(8)) > 1
    assert np.all(np.diff(points) > 0)
    assert weights.sum() == pytest.approx(4)


def test_chebyshev_integration_goes_up_to_every_node():
    points, matrix = chebyshev_integration(20, 0.5, 2.0)
    assert (points[0], points[-1]) == (0.5, 2.0)
    np.testing.assert_allclose(matrix @ np.exp(points), np.exp(points) - np.exp(0.5), atol=1e-13)
    np.testing.assert_allclose(matrix[-1], integrate_by_clenshaw_curtis(20) * 0.75, atol=1e-14)
    with pytest.raises(ValueError, match="nodes"):
        chebyshev_integration(1)


def integrate_by_clenshaw_curtis(nodes):
    """Weights on [-1, 1] from the moments of Chebyshev polynomials."""
    points = -np.cos(np.pi * np.arange(nodes) / (nodes - 1))
    moments = [0.0 if k % 2 else 2 / (1 - k**2) for k in range(nodes)]
    return np.linalg.solve(np.cos(np.outer(np.arange(nodes), np.arccos(points))), moments)
