"""B-splines against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import BSpline

from reprise.numerics.splines import cubic_b_splines


def test_cubic_b_splines_against_scipy_and_held_beyond_the_ends():
    low, high, intervals = 0.4, 1.9, 6
    x = np.random.default_rng(0).uniform(low, high, 40)
    width = (high - low) / intervals
    knots = low + width * np.arange(-3, intervals + 4)
    with jax.enable_x64(True):
        found = np.asarray(cubic_b_splines(x, low, high, intervals))
        slopes = np.asarray(jax.jacfwd(lambda x: cubic_b_splines(x, low, high, intervals).sum(0))(jnp.asarray(x)))
        beyond = np.asarray(cubic_b_splines(np.array([low - 1, low, high, high + 1]), low, high, intervals))
    expected = BSpline.design_matrix(x, knots, 3).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-14)
    np.testing.assert_array_equal(beyond[0], beyond[1])
    np.testing.assert_array_equal(beyond[2], beyond[3])
    derivative = [BSpline(knots, row, 3).derivative()(x) for row in np.eye(intervals + 3)]
    np.testing.assert_allclose(slopes, derivative, atol=1e-11)
