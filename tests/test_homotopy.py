import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics import explicit
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.dynamics.homotopy import fixed_point_homotopy, newton_flow, newton_homotopy

DIM = 5


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def contraction(rng):
    weight = rng.normal(size=(DIM, DIM))
    return 0.7 * weight / np.linalg.norm(weight, 2), rng.normal(size=DIM)


def layer(z, args):
    return jnp.tanh(args[0] @ z + args[1])


def solve(field, start, args, times):
    return fixed_steps(diffrax.ODETerm(field), explicit.method(4), times, start, args, save=lambda z: z)[1]


def fixed_point(args):
    z = np.zeros(DIM)
    for _ in range(300):
        z = np.tanh(args[0] @ z + args[1])
    return z


def test_homotopies_keep_their_equations_and_end_at_the_fixed_point(float64):
    rng = np.random.default_rng(0)
    args, start = contraction(rng), rng.normal(size=DIM)
    times = np.linspace(0, 1, 65)
    run = jax.jit(lambda args, start: [
        solve(homotopy(layer, start), start, args, times) for homotopy in (fixed_point_homotopy, newton_homotopy)
    ])  # fmt: skip
    by_point, by_newton = map(np.asarray, run(args, start))
    residual = lambda z: z - np.tanh(z @ args[0].T + args[1])
    late = times[1:, None]
    np.testing.assert_allclose(late * residual(by_point) + (1 - late) * (by_point - start), 0, atol=1e-6)
    np.testing.assert_allclose(residual(by_newton), (1 - late) * residual(start), atol=1e-6)
    for path in (by_point, by_newton):
        np.testing.assert_allclose(path[-1], fixed_point(args), atol=1e-6)


def test_residual_decays_at_unit_rate_along_the_newton_flow(float64):
    """For a map that is no contraction, too."""
    rng = np.random.default_rng(1)
    args, start = (3 * rng.normal(size=(DIM, DIM)), rng.normal(size=DIM)), 0.1 * rng.normal(size=DIM)
    linear = lambda z, args: args[0] @ z + args[1]
    times = np.linspace(0, 2, 41)
    path = np.asarray(jax.jit(lambda args, start: solve(newton_flow(linear), start, args, times))(args, start))
    residual = lambda z: z - z @ args[0].T - args[1]
    np.testing.assert_allclose(residual(path), np.exp(-times[1:, None]) * residual(start), rtol=1e-6)
