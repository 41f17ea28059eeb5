import numpy as np
import pytest

from reprise.dynamics.fractional_noise import fractional_covariance
from reprise.statistics.hurst import (
    expected_rescaled_range,
    rescaled_range,
    rescaled_range_hurst,
    variogram_hurst,
)

WINDOWS = [10, 20, 40, 80]


def test_rescaled_range_by_hand():
    # Mean 2, deviations 1, -1, -1, 1, sums 1, 0, -1, 0: range 2, standard deviation 1.
    assert rescaled_range([3, 1, 1, 3], 4) == pytest.approx(2)
    # Sums 1, 0, 1, 0; the empty sum counts: range 1.
    assert rescaled_range([1, -1, 1, -1], 4) == pytest.approx(1)
    # Two windows, and a point left over.
    assert rescaled_range([3, 1, 1, 3, 1, -1, 1, -1, 9], 4) == pytest.approx(1.5)
    # Any two different numbers: one over one.
    assert rescaled_range([0.3, -7], 2) == pytest.approx(1) == expected_rescaled_range(2)
    x = np.random.default_rng(0).normal(size=(2, 3, 50))
    np.testing.assert_allclose(rescaled_range(5 * x - 3, 10), rescaled_range(x, 10))
    assert rescaled_range(x, 10).shape == (2, 3)
    with pytest.raises(ValueError, match="window"):
        rescaled_range([1, 2, 3], 4)


@pytest.mark.parametrize("window", [3, 10, 40])
def test_expectation_for_white_noise_is_that_of_anis_and_lloyd(window):
    values = rescaled_range(np.random.default_rng(1).normal(size=(40_000, window)), window)
    assert np.mean(values) == pytest.approx(expected_rescaled_range(window), abs=4 * values.std() / 200)


def test_expectation_approaches_its_limit_from_below():
    ratios = np.array([expected_rescaled_range(n) / np.sqrt(np.pi * n / 2) for n in (10, 100, 1000, 100_000)])
    assert (np.diff(ratios) > 0).all()
    assert ratios[-1] == pytest.approx(1, abs=0.01)
    assert ratios[0] < 0.8


def test_white_noise_has_index_one_half_and_the_plain_slope_is_biased_upwards():
    x = np.random.default_rng(2).normal(size=(400, 160))
    plain = rescaled_range_hurst(x, WINDOWS, corrected=False)
    corrected = rescaled_range_hurst(x, WINDOWS)
    assert corrected.mean() == pytest.approx(0.5, abs=0.03)
    expected = np.polyfit(np.log(WINDOWS), np.log([expected_rescaled_range(n) for n in WINDOWS]), 1)[0]
    np.testing.assert_allclose(plain - corrected, expected - 0.5)
    assert 0.58 < expected < 0.65
    # The path of white noise is Brownian, whose increments have variance proportional to the lag.
    assert variogram_hurst(np.cumsum(x, axis=1)).mean() == pytest.approx(0.5, abs=0.02)


def test_slopes_order_rough_and_smooth_paths():
    moments, rng = np.arange(1, 161) / 160, np.random.default_rng(3)
    estimates = []
    for hurst in (0.2, 0.8):
        root = np.linalg.cholesky(fractional_covariance(moments, hurst))
        paths = (root @ rng.normal(size=(160, 200))).T
        by_range = rescaled_range_hurst(np.diff(paths, prepend=0), WINDOWS)
        estimates.append((variogram_hurst(paths).mean(), by_range.mean()))
    (rough, rough_range), (smooth, smooth_range) = estimates
    assert rough == pytest.approx(0.2, abs=0.04)
    assert smooth == pytest.approx(0.8, abs=0.04)
    assert rough_range < 0.4 < 0.65 < smooth_range


def test_variogram_of_a_straight_line_and_lags_that_do_not_fit():
    assert variogram_hurst(np.arange(20.0), range(1, 6)) == pytest.approx(1)
    with pytest.raises(ValueError, match="lags"):
        variogram_hurst(np.arange(5.0))
    with pytest.raises(ValueError, match="two points"):
        rescaled_range_hurst(np.arange(5.0), [4])
