import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics import explicit
from reprise.dynamics.fixed_points import equilibrium
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


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_equilibrium_has_the_gradient_of_the_implicit_function(float64, damping):
    rng = np.random.default_rng(2)
    (weight, drive), cotangent = contraction(rng), rng.normal(size=DIM)
    function = lambda args, z: layer(z, args)
    value = lambda args, start: cotangent @ equilibrium(function, args, start, 200, damping)
    (by_weight, by_drive), by_start = jax.jit(jax.grad(value, (0, 1)))((weight, drive), jnp.zeros(DIM))
    z = fixed_point((weight, drive))
    slope = np.diag(1 - z**2)
    solved = np.linalg.solve((np.eye(DIM) - slope @ weight).T, cotangent)
    np.testing.assert_allclose(by_drive, slope @ solved, rtol=1e-9)
    np.testing.assert_allclose(by_weight, np.outer(slope @ solved, z), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(by_start, 0)
    found = equilibrium(function, (weight, drive), jnp.ones(DIM), 200, damping)
    np.testing.assert_allclose(found, z, atol=1e-12)


def test_equilibrium_works_on_batches_under_vmap(float64):
    rng = np.random.default_rng(3)
    args = [contraction(rng) for _ in range(3)]
    stacked = tuple(np.stack(part) for part in zip(*args, strict=True))
    function = lambda args, z: layer(z, args)
    value = lambda args: jnp.sum(equilibrium(function, args, jnp.zeros(DIM), 100) ** 2)
    together = jax.jit(jax.vmap(jax.value_and_grad(value)))(stacked)
    for i, one in enumerate(args):
        np.testing.assert_allclose(together[0][i], np.sum(fixed_point(one) ** 2), rtol=1e-10)
        nudge = 1e-6 * rng.normal(size=DIM)
        ahead, behind = (np.sum(fixed_point((one[0], one[1] + s * nudge)) ** 2) for s in (1, -1))
        np.testing.assert_allclose(together[1][1][i] @ nudge, (ahead - behind) / 2, rtol=1e-6)
