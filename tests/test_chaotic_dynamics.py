import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.integrate import solve_ivp
from scipy.special import rel_entr
from scipy.stats import entropy

from reprise.dynamics.attractors import occupation, power_spectrum, spectral_distance, state_space_divergence
from reprise.dynamics.chaotic import Lorenz63
from reprise.dynamics.explicit import method
from reprise.dynamics.maps import flow_map, log_product_norms, orbit, orbit_with_growth
from reprise.networks.functional import functional
from reprise.networks.piecewise_linear_rnn import ShallowPLRNN
from reprise.training.teacher_forcing import adapted_strength, force, sparse_strength, strength_for


@pytest.fixture(scope="module")
def lorenz():
    with jax.enable_x64(True):
        step = flow_map(Lorenz63(), 0.05, 5)
        return step, np.asarray(jax.jit(lambda y: orbit(step, y, 40))(jnp.array([1.0, 2.0, 20.0])))


def test_rk4_has_order_four_and_no_error_estimate():
    step = lambda h: flow_map(lambda t, y, args: -y, 1.0, h)
    with jax.enable_x64(True):
        errors = [abs(float(step(n)(jnp.ones(()))) - np.exp(-1)) for n in (8, 16)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.1)
    terms = diffrax.ODETerm(lambda t, y, args: -y)
    with pytest.raises(RuntimeError, match="error"):
        diffrax.diffeqsolve(
            terms, method(4), 0, 1, 0.1, jnp.ones(()), stepsize_controller=diffrax.PIDController(1e-3, 1e-3)
        )


def test_sampled_lorenz_is_scipys_solution(lorenz):
    def field(t, s):
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    times = 0.05 * np.arange(1, 41)
    exact = solve_ivp(field, (0, 2), [1, 2, 20], t_eval=times, rtol=1e-11, atol=1e-11).y.T
    assert np.abs(lorenz[1] - exact)[:20].max() < 1e-3
    with pytest.raises(ValueError, match="at least 1"):
        flow_map(Lorenz63(), 0.05, 0)


def test_lorenz_contracts_volume_everywhere(lorenz):
    with jax.enable_x64(True):
        jacobians = jax.jit(jax.vmap(jax.jacfwd(lorenz[0])))(jnp.asarray(lorenz[1]))
    np.testing.assert_allclose(np.log(np.linalg.det(jacobians)), -0.05 * (10 + 1 + 8 / 3), atol=1e-4)


def test_growth_of_a_linear_map_is_its_largest_eigenvalue():
    matrix = jnp.array([[1.1, 0.3], [0.0, 0.6]])
    states, growth = jax.jit(lambda x: orbit_with_growth(lambda z: matrix @ z, x, jnp.array([0.2, 5.0]), 60))(
        jnp.ones(2)
    )
    np.testing.assert_allclose(states[4], np.linalg.matrix_power(np.asarray(matrix), 5) @ np.ones(2), rtol=1e-5)
    np.testing.assert_allclose(growth[30:], np.log(1.1), atol=1e-6)


def test_growth_of_the_tent_map_is_log_two():
    tent = lambda x: 1 - 1.99999 * jnp.abs(x)
    growth = jax.jit(lambda x: orbit_with_growth(tent, x, jnp.ones(1), 50)[1])(jnp.array([0.1234]))
    np.testing.assert_allclose(growth, np.log(1.99999), rtol=1e-5)


def test_occupation_and_divergence():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 2))
    shares = occupation(points, 6).reshape(6, 6)
    edges = [np.r_[-np.inf, np.linspace(-3, 3, 7)[1:-1], np.inf]] * 2
    np.testing.assert_allclose(shares, np.histogramdd(points, edges)[0] / 4000)
    other = rng.normal(0.5, size=(3000, 2))
    p, q = occupation(points, 6) + 1e-6, occupation(other, 6) + 1e-6
    assert state_space_divergence(points, other, 6) == pytest.approx(entropy(p, q))
    assert state_space_divergence(points, points, 6) == 0
    runaway = np.full((3000, 2), [np.inf, np.nan])
    fixed = np.zeros((3000, 2))
    far, still, near = (state_space_divergence(points, x, 6) for x in (runaway, fixed, other))
    assert np.isfinite(far)
    assert far > still > near
    assert rel_entr(p / p.sum(), q / q.sum()).sum() == pytest.approx(near)


def test_spectra():
    t = np.arange(2048)
    wave = lambda f: np.stack([np.sin(2 * np.pi * f * t), np.cos(2 * np.pi * f * t)], 1)
    power = power_spectrum(wave(0.125), width=3.0)
    np.testing.assert_allclose(power.sum(0), 1)
    assert set(np.argmax(power, 0)) == {256}
    assert spectral_distance(wave(0.125), 7 + 3 * wave(0.125)) < 1e-6
    assert spectral_distance(wave(0.125), wave(0.3)) > 0.99
    assert spectral_distance(wave(0.125), np.full((2048, 2), np.nan)) > 0.99
    # Two Gaussian bumps of width s, d apart, have the Hellinger distance sqrt(1 - exp(-d^2 / 8 s^2)).
    apart = spectral_distance(wave(256 / 2048), wave(266 / 2048), width=5.0)
    assert apart == pytest.approx(np.sqrt(1 - np.exp(-(10**2) / (8 * 5**2))), abs=2e-3)


@pytest.fixture(scope="module")
def model():
    plain, clipped = (
        functional(nnx.eval_shape(lambda c=c: ShallowPLRNN(3, 8, clipped=c, rngs=nnx.Rngs(0))))[0]
        for c in (False, True)
    )
    params = functional(ShallowPLRNN(3, 8, rngs=nnx.Rngs(1)))[1]
    return plain, clipped, params


def test_the_map_is_its_formula_and_clipped_orbits_stay_bounded(model):
    plain, clipped, params = model
    a, w2, w1, h2 = (np.asarray(params[k][...]) for k in ("decay", "inner", "outer", "hidden_offset"))
    z = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    units = np.maximum(z @ w2 + h2, 0)
    np.testing.assert_allclose(plain(params, z), a * z + units @ w1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(clipped(params, z), a * z + (units - np.maximum(z @ w2, 0)) @ w1, rtol=1e-5, atol=1e-6)
    large = jax.tree.map(lambda leaf: 0.5 * leaf, params)
    end = jax.jit(lambda z: orbit(lambda z: clipped(large, z), z, 200))(1e6 * jnp.ones(3))[-1]
    assert np.abs(end).max() < np.abs(w1 / 2).sum() * np.abs(h2 / 2).max() / (1 - np.abs(a / 2).max())


def test_forcing_is_the_recursion_and_its_limits(model):
    _, apply, params = model
    step = lambda z: apply(params, z)
    data = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    run = jax.jit(lambda strength: force(step, data, strength))
    strength = np.linspace(0.1, 0.7, 6).astype(np.float32)
    state, states, predictions = data[0], [], []
    for t in range(6):
        state = (1 - strength[t]) * state + strength[t] * data[t]
        states.append(state)
        state = np.asarray(step(state))
        predictions.append(state)
    mixed = run(strength)
    np.testing.assert_allclose(mixed.predictions, predictions, rtol=1e-5)
    np.testing.assert_allclose(mixed.states, states, rtol=1e-5)
    np.testing.assert_allclose(run(jnp.ones(6)).predictions, step(data[:-1]), rtol=1e-5)
    np.testing.assert_allclose(run(jnp.zeros(6)).predictions, orbit(step, data[0], 6), rtol=1e-5)
    np.testing.assert_array_equal(sparse_strength(6, 3), [1, 0, 0, 1, 0, 0])
    sparse = run(jnp.asarray(sparse_strength(6, 3))).predictions
    np.testing.assert_allclose(sparse[3:], orbit(step, data[3], 3), rtol=1e-5)


def test_gradients_through_forcing_are_damped_by_each_step(model):
    _, apply, params = model
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), params)
        step = lambda z: apply(exact, z)
        data = np.random.default_rng(2).normal(size=(6, 3))
        run = lambda start: force(step, data, 0.3, start)
        start = jnp.array([0.1, -0.4, 0.2])
        through = jax.jacrev(lambda start: run(start).predictions[-1])(start)
        jacobians = jax.vmap(jax.jacfwd(step))(run(start).states)
    np.testing.assert_allclose(through, 0.7**5 * np.linalg.multi_dot(np.asarray(jacobians)[::-1]), rtol=1e-9)


def test_strengths():
    np.testing.assert_allclose(strength_for(jnp.array([0.5, 1.0, 4.0])), [0, 0, 0.75])
    jacobians = np.random.default_rng(3).normal(size=(2, 4, 3, 3)).astype(np.float32)
    norms = np.linalg.norm(jacobians, 2, axis=(-2, -1))
    estimate = max(0, *(1 - 1 / np.exp(np.log(norms).mean(1))))
    assert float(adapted_strength(jacobians, 0.0)) == pytest.approx(estimate, rel=1e-4)
    assert float(adapted_strength(jacobians, 0.9, 0.99)) == pytest.approx(0.99 * 0.9 + 0.01 * estimate, rel=1e-4)


def test_log_norms_of_products_are_those_of_numpy_and_do_not_overflow():
    jacobians = np.random.default_rng(4).normal(size=(6, 2, 3, 3))
    expected = [[np.linalg.norm(np.linalg.multi_dot([np.eye(3), *jacobians[: t + 1, b][::-1]]), 2) for b in (0, 1)]
                for t in range(6)]  # fmt: skip
    np.testing.assert_allclose(log_product_norms(jacobians), np.log(expected), rtol=1e-12)
    assert log_product_norms(np.tile(1e3 * np.eye(2), (500, 1, 1)))[-1] == pytest.approx(500 * np.log(1e3))
