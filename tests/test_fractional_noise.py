import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma

from reprise.dynamics.fractional_noise import (
    approximation_error,
    augmented_system,
    error_gradient,
    exponential_kernel,
    fractional_covariance,
    fractional_kernel,
    geometric_rates,
    markov_covariance,
    optimal_weights,
    quadrature_weights,
    weight_system,
)

HURST = pytest.mark.parametrize("hurst", [0.2, 0.5, 0.8])


@HURST
def test_weight_system_is_the_integrals_that_it_solves(hurst):
    rates, horizon = geometric_rates(3, 4.0), 2.5
    np.testing.assert_allclose(rates, [0.25, 1, 4])
    system = weight_system(hurst, rates, horizon)
    power = 1 / (hurst + 0.5)  # the substitution tau = u^power takes the singularity of the kernel away

    def integral(f):
        return quad(lambda u: f(u**power) * power * u ** (power - 1), 0, horizon ** (1 / power), epsabs=1e-12)[0]

    for i in range(3):
        with_kernel = lambda t, i=i: (horizon - t) * np.exp(-rates[i] * t) * fractional_kernel(t, hurst)
        assert system.vector[i] == pytest.approx(integral(with_kernel), rel=1e-8)
        for j in range(3):
            pair = lambda t, i=i, j=j: (horizon - t) * np.exp(-(rates[i] + rates[j]) * t)
            assert system.matrix[i, j] == pytest.approx(quad(pair, 0, horizon)[0], rel=1e-9)
    variance = lambda t: t ** (2 * hurst) / (2 * hurst * gamma(hurst + 0.5) ** 2)
    assert system.constant == pytest.approx(quad(variance, 0, horizon)[0], rel=1e-8)


@HURST
def test_quadratic_form_and_quadrature_agree_and_the_gradient_vanishes_at_the_optimum(hurst):
    rates, horizon = geometric_rates(4, 5.0), 10.0
    system, best = weight_system(hurst, rates, horizon), optimal_weights(hurst, rates, horizon)
    for weights in (best, np.zeros(4), np.array([1.0, -0.5, 2.0, 0.3])):
        form = weights @ system.matrix @ weights - 2 * system.vector @ weights + system.constant
        assert approximation_error(weights, hurst, rates, horizon) == pytest.approx(form, rel=1e-9)
        slope = 2 * (system.matrix @ weights - system.vector)
        np.testing.assert_allclose(error_gradient(weights, hurst, rates, horizon), slope, atol=1e-9)
    assert np.abs(error_gradient(best, hurst, rates, horizon)).max() < 1e-9 * np.abs(system.vector).max()


def test_quadrature_weights_converge_to_the_kernel():
    lags = np.geomspace(0.01, 5, 20)
    rates = geometric_rates(120, 1.5)
    approximated = exponential_kernel(lags, quadrature_weights(0.1, rates), rates)
    np.testing.assert_allclose(approximated, fractional_kernel(lags, 0.1), rtol=1e-3)
    with pytest.raises(ValueError, match="1/2"):
        quadrature_weights(0.7, rates)
    with pytest.raises(ValueError, match="Hurst"):
        fractional_kernel(lags, 1.0)


@HURST
def test_covariances_are_integrals_of_products_of_kernels(hurst):
    times = np.array([0.3, 1.0, 2.2])
    covariance = fractional_covariance(times, hurst)
    np.testing.assert_allclose(np.diag(covariance), times ** (2 * hurst) / (2 * hurst * gamma(hurst + 0.5) ** 2))
    np.testing.assert_array_equal(covariance, covariance.T)
    kernel = lambda t: fractional_kernel(t, hurst)
    singular = {"weight": "alg", "wvar": (hurst - 0.5, 0)}
    expected = quad(lambda v: kernel(0.7 + v), 0, 0.3, **singular)[0] / gamma(hurst + 0.5)
    assert covariance[0, 1] == pytest.approx(expected, rel=1e-8)
    weights, rates = np.array([1.0, -0.4, 2.0]), np.array([0.5, 2.0, 7.0])
    markov = markov_covariance(times, weights, rates)
    one = lambda t: exponential_kernel(t, weights, rates)
    for i in range(3):
        for j in range(i, 3):
            product = lambda v, i=i, j=j: one(v) * one(times[j] - times[i] + v)
            assert markov[i, j] == markov[j, i] == pytest.approx(quad(product, 0, times[i])[0], rel=1e-9)


def test_brownian_motion_is_the_case_of_one_half():
    times = np.linspace(0.1, 1, 5)
    np.testing.assert_allclose(fractional_covariance(times, 0.5), np.minimum.outer(times, times))


def test_the_augmented_system_has_the_approximations_covariance():
    weights, rates = np.array([0.8, 0.5, -0.2]), np.array([0.3, 2.0, 9.0])
    matrix, noise = augmented_system(weights, rates, 0.0, 2.0)
    # Without reversion X is 2 B; its variance by the Lyapunov equation, stepped finely.
    step, covariance = 1e-4, np.zeros((4, 4))
    for _ in range(10_000):
        middle = covariance + step / 2 * (matrix @ covariance + covariance @ matrix.T + np.outer(noise, noise))
        covariance = covariance + step * (matrix @ middle + middle @ matrix.T + np.outer(noise, noise))
    assert covariance[0, 0] == pytest.approx(4 * markov_covariance(np.array([1.0]), weights, rates)[0, 0], rel=1e-5)
    assert augmented_system(weights, rates, 0.7, 2.0)[0][0, 0] == -0.7
