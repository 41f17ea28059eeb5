import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.inference.kalman import LinearGaussian, kalman_filter
from reprise.inference.path_measures import controlled_path

rng = np.random.default_rng(0)


def test_kalman_filter_is_conditioning_of_one_big_gaussian():
    d, m, steps = 3, 2, 6
    f, h = 0.6 * rng.normal(size=(d, d)), rng.normal(size=(m, d))
    root_q, root_r, root_p = rng.normal(size=(d, d)), rng.normal(size=(m, m)), rng.normal(size=(d, d))
    q, r, p = root_q @ root_q.T, root_r @ root_r.T, root_p @ root_p.T
    mean = rng.normal(size=d)
    y = rng.normal(size=(steps, m))
    y[[1, 4]] = np.nan
    with jax.enable_x64(True):
        result = jax.jit(kalman_filter)(LinearGaussian(f, q, h, r), mean, p, y)
    # States z_1..z_N as one Gaussian vector, by powers of F.
    power = [np.linalg.matrix_power(f, k) for k in range(steps + 1)]
    means = np.concatenate([power[k] @ mean for k in range(1, steps + 1)])
    blocks = [[power[i - j] if i >= j else np.zeros((d, d)) for j in range(1, steps + 1)] for i in range(1, steps + 1)]
    response, start = np.block(blocks), np.concatenate(power[1:])
    covariance = response @ np.kron(np.eye(steps), q) @ response.T + start @ p @ start.T
    seen = np.isfinite(y).all(1)
    emission = np.kron(np.eye(steps), h)[np.repeat(seen, m)]
    data, noise = y[seen].ravel(), np.kron(np.eye(seen.sum()), r)
    s = emission @ covariance @ emission.T + noise
    miss = data - emission @ means
    log_density = -0.5 * (miss @ np.linalg.solve(s, miss) + np.linalg.slogdet(2 * np.pi * s)[1])
    assert result.log_likelihood == pytest.approx(log_density, rel=1e-10)
    gain = covariance @ emission.T @ np.linalg.inv(s)
    np.testing.assert_allclose(result.means[-1], (means + gain @ miss)[-d:], rtol=1e-8)
    np.testing.assert_allclose(
        result.covariances[-1], (covariance - gain @ emission @ covariance)[-d:, -d:], rtol=1e-6, atol=1e-10
    )


def test_controlled_path_weighs_its_increments_as_gaussian_densities_do():
    """Along the path the noise that the uncontrolled equation would have needed is dW + u dt: compare densities."""
    steps, h = 20, 0.05
    times = np.linspace(0, 1, steps + 1)
    dw = np.sqrt(h) * rng.normal(size=(steps, 1))
    gains = rng.normal(size=(steps, 3))
    f, g = rng.normal(size=(2, 2)), np.array([[0.5], [1.0]])
    with jax.enable_x64(True):
        run = lambda gains: controlled_path(
            lambda t, z: f @ z, lambda t, z: jnp.asarray(g), lambda z, k: k[:1] + k[1:] @ z, jnp.ones(2), times,
            jnp.asarray(dw), gains,
        )  # fmt: skip
        result = jax.jit(run)(jnp.asarray(gains))
    z, energy, log_ratio = np.ones(2), 0.0, 0.0
    for n in range(steps):
        u = gains[n, 0] + gains[n, 1:] @ z
        energy += 0.5 * u**2 * h
        needed = dw[n, 0] + u * h
        log_ratio += (needed**2 - dw[n, 0] ** 2) / (2 * h)
        z = z + f @ z * h + g[:, 0] * needed
        np.testing.assert_allclose(result.path[n], z, rtol=1e-10)
    assert result.energy == pytest.approx(energy)
    assert result.energy + result.martingale == pytest.approx(log_ratio)
