import numpy as np
import pytest
from scipy.integrate import quad

from reprise.tasks.irregular_series import class_posterior, interpolate, oscillations


def test_oscillations_turn_as_their_class_says():
    series = oscillations(np.random.default_rng(0), 300, 41, noise=0.0)
    np.testing.assert_allclose((series.values**2).sum(-1), 1)
    phase = np.unwrap(np.arctan2(series.values[..., 1], series.values[..., 0]), axis=1)
    turns = (phase - phase[:, :1]) / (2 * np.pi)
    np.testing.assert_allclose(turns[:, -1], np.array([1, 2, 1.5])[series.labels])
    np.testing.assert_allclose(turns[:, 20], np.array([0.5, 1, 0.4375])[series.labels])
    assert set(series.labels) == {0, 1, 2}


def test_exactly_the_share_asked_for_is_missing_independently_by_channel():
    series = oscillations(np.random.default_rng(1), 50, 40, missing=0.7)
    gaps = np.isnan(series.values)
    assert (gaps.sum(1) == 28).all()
    assert (gaps[..., 0] != gaps[..., 1]).any()
    assert np.nanstd(series.values**2) > 0
    with pytest.raises(ValueError, match="missing"):
        oscillations(np.random.default_rng(1), 5, missing=1.0)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.95])
def test_interpolation_uses_observed_values_only(missing):
    series = oscillations(np.random.default_rng(2), 20, 40, missing=missing)
    grid = np.sort(np.random.default_rng(3).uniform(-0.1, 1.1, 50))
    grid[:3] = series.times[:3]
    grid.sort()
    path = interpolate(series.times, series.values, grid)
    for one, values in zip(path, series.values, strict=True):
        for channel in range(2):
            seen = np.isfinite(values[:, channel])
            expected = np.interp(grid, series.times[seen], values[seen, channel])
            np.testing.assert_allclose(one[:, channel], expected, atol=1e-12)


def test_interpolation_needs_an_observation():
    with pytest.raises(ValueError, match="at least one"):
        interpolate([0, 1], np.full((1, 2, 1), np.nan), [0.5])


def test_posterior_is_bayes_rule_by_quadrature_and_is_calibrated():
    series = oscillations(np.random.default_rng(4), 4000, 12, missing=0.7, noise=0.5)
    posterior = class_posterior(series, noise=0.5)
    times, turns = series.times, (lambda t: t, lambda t: 2 * t, lambda t: 0.25 * t + 1.25 * t**2)

    def density(start, k, c):
        phase = 2 * np.pi * (start + turns[c](times))
        miss = series.values[k] - np.stack([np.cos(phase), np.sin(phase)], axis=-1)
        return np.exp(-np.nansum(miss**2) / (2 * 0.5**2))

    for k in range(3):
        likelihood = np.array([quad(density, 0, 1, (k, c), epsabs=1e-12)[0] for c in range(3)])
        np.testing.assert_allclose(posterior[k], likelihood / likelihood.sum(), rtol=1e-6)
    # Of the answers given with some confidence, that share is right.
    right, sure = posterior.argmax(1) == series.labels, posterior.max(1)
    assert right.mean() == pytest.approx(sure.mean(), abs=4 * 0.5 / 4000**0.5)
    assert 0.5 < right.mean() < 0.95
