import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from reprise.numerics.levenberg_marquardt import damped_step, levenberg_marquardt


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)], ids=["wide", "tall"])
def test_damped_step_solves_the_stacked_least_squares_problem(shape):
    rng = np.random.default_rng(0)
    jacobian, residuals = rng.normal(size=shape), rng.normal(size=shape[0])
    stacked = np.vstack([jacobian, np.sqrt(0.3) * np.eye(shape[1])])
    expected, *_ = np.linalg.lstsq(stacked, -np.r_[residuals, np.zeros(shape[1])], rcond=None)
    with jax.enable_x64(True):
        got = jax.jit(damped_step)(jnp.asarray(residuals), jnp.asarray(jacobian), 0.3)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_many_curve_fits_at_once_end_where_scipys_does():
    rng = np.random.default_rng(1)
    t = np.linspace(0, 3, 20)
    truth = np.array([[2.0, 1.3], [0.5, 0.4], [1.0, 2.5]])
    data = truth[:, :1] * np.exp(-truth[:, 1:] * t) + 0.05 * rng.normal(size=(3, 20))

    def fit(data):
        residual = lambda p: p[0] * jnp.exp(-p[1] * t) - data
        return levenberg_marquardt(lambda p: (residual(p), jax.jacfwd(residual)(p)), jnp.ones(2), 40)

    with jax.enable_x64(True):
        params, trace = jax.jit(jax.vmap(fit))(jnp.asarray(data))
    for one, found in zip(data, params, strict=True):
        expected = least_squares(lambda p, one=one: p[0] * np.exp(-p[1] * t) - one, np.ones(2), xtol=1e-14).x
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (np.diff(trace.loss, axis=1) <= 0).all()


def test_steps_that_are_not_finite_are_dropped():
    # From far out the undamped step overshoots to where the logarithm is not defined.
    linearised = lambda p: (jnp.log(p), jnp.diag(1 / p))
    params, trace = jax.jit(lambda: levenberg_marquardt(linearised, jnp.array([30.0]), 60, damping=1e-3))()
    np.testing.assert_allclose(params, 1, atol=1e-5)
    assert trace.damping.max() > 1e-3
    with pytest.raises(ValueError, match="above 1"):
        levenberg_marquardt(linearised, jnp.ones(1), 1, success=1.0)
