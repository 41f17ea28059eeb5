import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.fixed_steps import fixed_steps
from reprise.statistics.fits import loglog_slope

FORCED = diffrax.ODETerm(lambda t, y, rate: jnp.stack([y[1], -rate * y[0] + jnp.sin(t)]))


def exact(t):
    """The solution with y = (0, 1) at time 0 and rate 1."""
    return np.array([1.5 * np.sin(t) - 0.5 * t * np.cos(t), np.cos(t) + 0.5 * t * np.sin(t)])


@pytest.mark.parametrize(("solver", "order"), [(diffrax.ReversibleHeun(), 2), (diffrax.Bosh3(scan_kind="lax"), 3)])
def test_order_of_convergence_on_a_forced_oscillator(solver, order):
    counts = np.array([16, 32, 64])
    with jax.enable_x64(True):
        start = jnp.array([0.0, 1.0])
        solve = jax.jit(lambda times: fixed_steps(FORCED, solver, times, start, 1.0)[0])
        ends = [solve(np.minimum(np.arange(65) * 2.0 / n, 2.0)) for n in counts]  # shorter grids filled up
        errors = [np.abs(end - exact(2.0)).max() for end in ends]
    assert loglog_slope(1 / counts, errors) == pytest.approx(order, abs=0.15)


def test_it_is_diffeqsolve_with_constant_steps_also_in_its_gradient():
    solver, start = diffrax.ReversibleHeun(), np.array([0.0, 1.0])

    def here(rate):
        end, path = fixed_steps(FORCED, solver, np.linspace(0.5, 2.0, 13), jnp.asarray(start), rate, save=lambda y: y)
        return jnp.sum(path[5] + 2 * end), path

    def theirs(rate):
        path = diffrax.diffeqsolve(
            FORCED, solver, 0.5, 2.0, 0.125, jnp.asarray(start), rate, saveat=diffrax.SaveAt(steps=True), max_steps=12
        ).ys
        return jnp.sum(path[5] + 2 * path[-1]), path

    with jax.enable_x64(True):
        one, other = (jax.jit(jax.value_and_grad(f, has_aux=True))(1.3) for f in (here, theirs))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), one, other)
