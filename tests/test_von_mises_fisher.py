import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from reprise.statistics import von_mises_fisher as vmf


def cosine_cdf(p, kappa):
    angle = np.linspace(0, np.pi, 20001)
    density = np.exp(kappa * (np.cos(angle) - 1)) * np.sin(angle) ** (p - 2)
    cdf = scipy.integrate.cumulative_trapezoid(density, angle, initial=0)
    return lambda q: np.interp(q, angle, cdf / cdf[-1])


@pytest.mark.parametrize("p", [2, 3, 40])
def test_cosines_follow_their_density(p):
    with jax.enable_x64(True):
        w = np.asarray(vmf.sample_cosines(jax.random.key(p), p, 2.0 * p, 5000))
    assert scipy.stats.kstest(np.arccos(w), cosine_cdf(p, 2.0 * p)).pvalue > 0.01


def test_samples_are_unit_vectors_spread_evenly_around_the_mean():
    p, kappa = 5, 4.0
    mean = np.array([0.6, 0.0, 0.8, 0.0, 0.0])
    with jax.enable_x64(True):
        x = np.asarray(vmf.sample(jax.random.key(0), mean, kappa, 20000))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1)
    # The covariance of the part across the mean is (1 - E w^2) / (p - 1) on its hyperplane.
    w = x @ mean
    across = x - w[:, None] * mean
    plane = np.eye(p) - np.outer(mean, mean)
    np.testing.assert_allclose(across.T @ across / len(x), plane * (1 - np.mean(w**2)) / (p - 1), atol=0.005)


def test_density_matches_scipy_and_closed_form():
    x = np.random.default_rng(0).normal(size=(6, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    with jax.enable_x64(True):
        ours = vmf.log_density(x, x[0], 7.5)
        np.testing.assert_allclose(ours, scipy.stats.vonmises_fisher(x[0], 7.5).logpdf(x), rtol=1e-12)
        # On the ordinary sphere C = kappa / (4 pi sinh kappa), A = coth kappa - 1 / kappa.
        kappa = np.array([0.5, 3.0, 40.0])
        np.testing.assert_allclose(
            vmf.log_normalizer(3, kappa), np.log(kappa / (4 * np.pi * np.sinh(kappa))), rtol=1e-13
        )
        np.testing.assert_allclose(vmf.mean_resultant_length(3, kappa), 1 / np.tanh(kappa) - 1 / kappa, rtol=1e-13)
        # The normaliser's slope is minus the mean resultant length.
        slope = jax.vmap(jax.grad(lambda k: vmf.log_normalizer(3, k)))(kappa)
        np.testing.assert_allclose(slope, -(1 / np.tanh(kappa) - 1 / kappa), rtol=1e-12)


def test_concentration_inverts_the_mean_resultant_length():
    p, kappa = np.array([3, 100, 100000])[:, None], np.array([0.3, 1.0, 5.0])
    with jax.enable_x64(True):
        length = vmf.mean_resultant_length(p, kappa * p)
        np.testing.assert_allclose(vmf.concentration(p, length, 5), kappa * p, rtol=1e-11)
        with pytest.raises(ValueError, match="at least 2"):
            vmf.concentration(1, 0.5)


def test_fit_recovers_what_was_sampled():
    mean = np.zeros(20)
    mean[3] = 1
    with jax.enable_x64(True):
        fit = vmf.fit(vmf.sample(jax.random.key(1), mean, 50.0, 20000))
    assert float(fit.kappa) == pytest.approx(50, rel=0.02)
    np.testing.assert_allclose(fit.mean, mean, atol=0.01)
