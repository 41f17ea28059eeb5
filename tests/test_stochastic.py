import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reprise.dynamics import neural_sde
from reprise.dynamics.neural_sde import ControlledSDE, Switches
from reprise.dynamics.stochastic import (
    DiagonalSDE,
    geometric,
    langevin,
    linear_noise,
    lyapunov_exponents,
    solve_on_grid,
)
from reprise.networks.functional import functional
from reprise.statistics.fits import loglog_slope

rng = np.random.default_rng(0)
black_scholes = geometric(lambda t, z, x: 0.4 + 0 * z, lambda t: 0.8)


def brownian(steps, *shape, span=1.0):
    return np.linspace(0, span, steps + 1), rng.normal(size=(steps, *shape)) * np.sqrt(span / steps)


@pytest.mark.parametrize(("solver", "order"), [(diffrax.Euler(), 0.5), (diffrax.ItoMilstein(), 1.0)])
def test_geometric_brownian_motion_converges_at_the_solvers_strong_order(solver, order):
    times, fine = brownian(512, 1000)
    exact = np.exp(0.4 - 0.32 + 0.8 * fine.sum(0))
    counts, errors = np.array([16, 64, 256]), []
    with jax.enable_x64(True):
        for count in counts:
            dw = fine.reshape(count, -1, 1000).sum(1)
            one = lambda dw, t: solve_on_grid(black_scholes, jnp.ones(1), t, dw[:, None], solver=solver, save=None)[0][
                0
            ]
            run = jax.jit(jax.vmap(one, (1, None)))
            errors.append(np.abs(run(dw, times[:: 512 // count]) - exact).mean())
    assert loglog_slope(counts, errors) == pytest.approx(-order, abs=0.12)


def test_euler_with_a_driving_path_is_the_recursion_written_out():
    sde = DiagonalSDE(lambda t, z, x: t - z * x, lambda t, z, x: 0.3 * z + x)
    times, dw = brownian(7, 3)
    path, z = rng.normal(size=(7, 3)), np.array([1.0, -2.0, 0.5])
    with jax.enable_x64(True):
        last, saved = solve_on_grid(sde, jnp.asarray(z), jnp.asarray(times), jnp.asarray(dw), jnp.asarray(path))
    for n in range(7):
        z = z + (times[n] - z * path[n]) * (times[n + 1] - times[n]) + (0.3 * z + path[n]) * dw[n]
    np.testing.assert_allclose(last, z, rtol=1e-12)
    np.testing.assert_allclose(saved[-1], z, rtol=1e-12)
    with pytest.raises(ValueError, match="7 increments"):
        solve_on_grid(sde, jnp.ones(3), times[:-1], dw)


def test_shared_noise_cancels_in_a_quadratic_potential_and_zero_absorbs():
    times, dw = brownian(100, span=2.0)
    pair = jnp.array([1.0, 3.0])
    sde = langevin(lambda z, x: -0.7 * z, lambda t: 1 + t)
    last, nothing = jax.jit(lambda z: solve_on_grid(sde, z, times, dw, save=None))(pair)
    assert nothing is None
    assert last[1] - last[0] == pytest.approx(2 * (1 - 0.7 * 0.02) ** 100, rel=1e-4)
    np.testing.assert_array_equal(solve_on_grid(black_scholes, jnp.zeros(2), times, dw[:, None], save=None)[0], 0)


def test_lyapunov_exponents_of_a_matrix_and_of_linear_noise():
    matrix = np.array([[0.1, 2.0], [0.0, -1.0]])
    rotation = DiagonalSDE(lambda t, z, x: z @ matrix.T, lambda t, z, x: 0.0)
    times, dw = brownian(4000, span=200.0)
    exponent = jax.jit(lambda t, dw: lyapunov_exponents(rotation, jnp.array([1.0, 1.0]), t, dw))(times, dw[:, None])
    assert exponent == pytest.approx(np.log(1 + 0.1 * 0.05) / 0.05, abs=0.02)
    # A decay far below the smallest float32: the recursion's own product, in logarithms and in double precision.
    noisy = linear_noise(lambda t, z, x: -0.5 * z, lambda t: 1.5)
    exponent = jax.jit(lambda t, dw: lyapunov_exponents(noisy, jnp.ones((5, 1)), t, dw))(times, dw[:, None, None])
    expected = np.log(np.abs(1 - 0.5 * 0.05 + 1.5 * dw)).sum() / 200
    np.testing.assert_allclose(exponent, expected, rtol=1e-4)
    assert expected * 200 < -200
    # Additive noise must not pass for noise that multiplies the state.
    additive = langevin(lambda z, x: 0.1 * z, lambda t: 1.5)
    with jax.enable_x64(True):
        exponent = jax.jit(lambda t, dw: lyapunov_exponents(additive, jnp.ones(1), t, dw))(times[:801], dw[:800, None])
    z = 1.0
    for noise in dw[:800]:
        z += 0.1 * 0.05 * z + 1.5 * noise
    assert exponent == pytest.approx(np.log(np.abs(z)) / 40, rel=1e-6)


@pytest.fixture(scope="module")
def controlled():
    """A module, a path, times and increments."""
    times, dw = brownian(5, 8, 4)
    path = rng.normal(size=(5, 8, 2))
    model = ControlledSDE(2, 4, 6, 3, rngs=nnx.Rngs(0))
    return model, *(jnp.asarray(a, jnp.float32) for a in (path, times, dw))


def written_out(model, kind, path, times, dw):
    """Outputs of a class by a loop of the paper's equations in NumPy, on the module's own perceptrons."""
    with_time = lambda t, *parts: np.concatenate([*parts, np.full((8, 1), t, np.float32)], axis=1)
    z = np.asarray(model.start(path[0]))
    z = np.exp(z) if kind == "geometric" else z
    for t, t1, x, w in zip(times, times[1:], path, dw, strict=False):
        clock = 0.0 if kind == "langevin" else t
        gamma = np.asarray(model.slope(with_time(clock, np.tanh(model.mix(with_time(clock, z, x))))))
        if kind == "naive":
            g = np.asarray(model.noise(with_time(t, z)))
        else:
            g = 1 / (1 + np.exp(-np.asarray(model.noise(with_time(t, np.zeros_like(z))))))
        if kind == "geometric":
            gamma = gamma * z
        if kind in ("geometric", "linear-noise"):
            g = g * z
        z = z + gamma * (t1 - t) + g * w
    return model.readout(np.log(np.abs(z)) if kind == "geometric" else z)


@pytest.mark.parametrize(
    ("kind", "switches"),
    [
        ("naive", neural_sde.NAIVE),
        ("langevin", neural_sde.LANGEVIN),
        ("linear-noise", neural_sde.LINEAR_NOISE),
        ("geometric", neural_sde.GEOMETRIC),
    ],
)
def test_controlled_sde_is_the_class_that_its_switches_say(controlled, kind, switches):
    model, path, times, dw = controlled
    outputs = nnx.jit(lambda model: model(switches, path, times, dw))(model)
    np.testing.assert_allclose(outputs, written_out(model, kind, path, times, dw), rtol=1e-3, atol=1e-4)


def test_switches_cut_the_path_and_the_noise_and_can_be_mapped(controlled):
    model, path, times, dw = controlled
    apply, params = functional(model)
    table = [Switches(path=0.0), Switches(noise=0.0), neural_sde.GEOMETRIC]
    stacked = Switches(*np.array(table, np.float32).T)
    run = jax.jit(jax.vmap(lambda s, path, dw: apply(params, s, path, times, dw), (0, None, None)))
    outputs = run(stacked, path, dw)
    no_path, no_noise = run(stacked, path.at[1:].set(7.0), dw), run(stacked, path, 3 * dw)
    np.testing.assert_array_equal(outputs[0], no_path[0])
    np.testing.assert_array_equal(outputs[1], no_noise[1])
    assert np.abs(outputs[1] - no_path[1]).max() > 1e-3
    assert np.abs(outputs[0] - no_noise[0]).max() > 1e-3
    np.testing.assert_allclose(outputs[2], model(table[2], path, times, dw), rtol=1e-4, atol=1e-5)
