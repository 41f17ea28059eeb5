import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.controlled import NeuralCDE, half_step_slopes
from reprise.networks.functional import initialise


def series(count=3, n=7, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    inner = np.sort(rng.uniform(0.05, 0.95, (count, n - 2)), axis=1)
    times = 2 + 3 * np.concatenate([np.zeros((count, 1)), inner, np.ones((count, 1))], axis=1)
    return times, rng.normal(size=(count, n, channels))


def test_slopes_are_those_of_diffrax():
    times, values = series()
    slopes, at = half_step_slopes(times, values, 10), np.linspace(2, 5, 21)
    with jax.enable_x64(True):
        for i in range(3):
            coefficients = diffrax.backward_hermite_coefficients(jnp.asarray(times[i]), jnp.asarray(values[i]))
            path = diffrax.CubicInterpolation(jnp.asarray(times[i]), coefficients)
            np.testing.assert_allclose(slopes[:, i], 3 * jax.vmap(path.derivative)(at), rtol=1e-9)
    with pytest.raises(ValueError, match="begin at the same time"):
        half_step_slopes(times + np.arange(3)[:, None], values, 10)
    with pytest.raises(ValueError, match="shapes"):
        half_step_slopes(times, values[:, 1:], 10)


def test_cde_solves_the_equation_and_does_not_see_the_speed_of_its_path():
    apply, params = initialise(lambda rngs: NeuralCDE(2, 4, 8, 3, rngs=rngs), np.random.default_rng(1))
    path = lambda s: np.stack([np.sin(4 * s), s**2], -1)
    rate = lambda s: np.stack([4 * np.cos(4 * s), 2 * s], -1)
    s = np.linspace(0, 1, 401)
    warped, speed = s + 0.1 * np.sin(2 * np.pi * s), 1 + 0.2 * np.pi * np.cos(2 * np.pi * s)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), params)
        run = jax.jit(lambda slopes: apply(params, path(0.0), slopes))
        plain, other = run(rate(s)), run(speed[:, None] * rate(warped))
        np.testing.assert_allclose(plain, other, rtol=1e-7)
        initial, readout = params["initial"], params["readout"]
        first, second = (params["field"]["layers"][i] for i in range(2))

        def slope(t, z, _):
            hidden = jnp.tanh(z @ first["weight"][...] + first["bias"][...])
            matrix = jnp.tanh(hidden @ second["weight"][...] + second["bias"][...]).reshape(4, 2)
            return matrix @ jnp.stack([4 * jnp.cos(4 * t), 2 * t])

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope), diffrax.Tsit5(), 0.0, 1.0, 0.1, path(0.0) @ initial["weight"][...],
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-9),
        )  # fmt: skip
        np.testing.assert_allclose(plain, solution.ys[0] @ readout["weight"][...], rtol=1e-7)
        with pytest.raises(ValueError, match="2 \\* steps"):
            apply(params, path(0.0), rate(s)[:-1])
