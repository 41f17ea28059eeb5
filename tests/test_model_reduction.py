import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.explicit import from_tableau, method, steps_on_host
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.dynamics.model_reduction import (
    ActivationODE,
    deim_indices,
    galerkin,
    interpolation_bound,
    interpolator,
    low_rank,
    pod_basis,
    prune,
    reduce,
)

N = 12
TIMES = np.linspace(0, 1, 9)


@pytest.fixture(scope="module")
def layer():
    rng = np.random.default_rng(0)
    return ActivationODE(rng.normal(size=(N, N)) / 2, rng.normal(size=N) / 2, drive=rng.normal(size=(N, 2)))


def solve(layer, x0):
    return steps_on_host(lambda t, x: layer(x, np.array([np.sin(3 * t), 1.0])), TIMES, x0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(method(2, stages=2), diffrax.Heun()), (from_tableau(diffrax.Tsit5.tableau), diffrax.Tsit5()), (None, method(4))],
)
def test_steps_on_the_host_are_those_on_the_device(layer, ours, theirs):
    weight, bias, drive = (jnp.asarray(a) for a in (layer.weight, layer.bias, layer.drive))
    x0 = np.linspace(-1, 1, N)
    with jax.enable_x64(True):
        field = lambda t, x, _: jnp.tanh(weight @ x + bias) + drive @ jnp.stack([jnp.sin(3 * t), jnp.ones_like(t)])
        device = jax.jit(lambda x: fixed_steps(diffrax.ODETerm(field), theirs, TIMES, x)[0])(x0)
    host = steps_on_host(lambda t, x: layer(x, np.array([np.sin(3 * t), 1.0])), TIMES, x0, ours)
    assert host.shape == (9, N)
    np.testing.assert_allclose(host[-1], device, rtol=1e-6)


def test_pod_is_the_best_subspace():
    rng = np.random.default_rng(1)
    snapshots = rng.normal(size=(40, N)) * np.logspace(0, -3, N)
    basis = pod_basis(snapshots)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(N), atol=1e-12)
    left = lambda v: np.sum((snapshots - snapshots @ v @ v.T) ** 2)
    best = left(basis.vectors[:, :3])
    assert best == pytest.approx(np.sum(basis.values[3:] ** 2))
    assert all(best < left(np.linalg.qr(rng.normal(size=(N, 3)))[0]) for _ in range(20))


def test_deim_interpolates_and_keeps_its_bound():
    rng = np.random.default_rng(2)
    vectors = np.linalg.qr(rng.normal(size=(N, 5)))[0]
    indices = deim_indices(vectors)
    assert len(set(indices)) == 5
    np.testing.assert_array_equal(deim_indices(vectors[:, :3]), indices[:3])
    lift = interpolator(vectors, indices)
    np.testing.assert_allclose(lift[indices], np.eye(5), atol=1e-12)
    inside = vectors @ rng.normal(size=5)
    np.testing.assert_allclose(lift @ inside[indices], inside, rtol=1e-10)
    values = rng.normal(size=(50, N))
    errors = np.linalg.norm(values - values[:, indices] @ lift.T, axis=1)
    ratios = errors / interpolation_bound(vectors, indices, values)
    assert 0.1 < ratios.max() <= 1
    # The worst case is attained: a residual in the direction that the inverse amplifies most.
    weakest = np.linalg.svd(vectors[indices])[0][:, -1]
    worst = np.zeros(N)
    worst[indices] = weakest
    worst -= vectors @ (vectors.T @ worst)
    assert np.linalg.norm(worst - lift @ worst[indices]) / interpolation_bound(vectors, indices, worst) > 0.3


def test_the_greedy_choice_is_where_the_residual_is_largest():
    vectors = np.linalg.qr(np.vander(np.linspace(-1, 1, 40), 6, increasing=True))[0]
    indices = deim_indices(vectors)
    for l in range(1, 6):
        before, at = vectors[:, :l], indices[:l]
        coefficients = np.linalg.lstsq(before[at], vectors[at, l], rcond=None)[0]
        assert indices[l] == np.argmax(np.abs(vectors[:, l] - before @ coefficients))


def test_full_bases_change_nothing(layer):
    rng = np.random.default_rng(3)
    v, u = (np.linalg.qr(rng.normal(size=(N, N)))[0] for _ in range(2))
    x0 = rng.normal(size=(4, N))
    exact = solve(layer, x0)[-1]
    for small in (galerkin(layer, v), reduce(layer, v, u, deim_indices(u))):
        np.testing.assert_allclose(solve(small, x0 @ v)[-1] @ v.T, exact, rtol=1e-9)
    np.testing.assert_allclose(solve(prune(layer, np.ones(N, bool)), x0)[-1], exact)


def test_a_layer_that_lives_in_a_subspace_is_reduced_without_loss():
    rng = np.random.default_rng(4)
    v = np.linalg.qr(rng.normal(size=(N, 3)))[0]
    # f is the identity: the slope stays in the span of v, and so does the state.
    layer = ActivationODE(v @ rng.normal(size=(3, 3)) @ v.T, v @ rng.normal(size=3), activation=lambda x: x)
    x0 = rng.normal(size=(5, 3)) @ v.T
    snapshots = np.concatenate(steps_on_host(lambda t, x: layer(x), TIMES, x0))
    states, activations = pod_basis(snapshots).vectors[:, :3], pod_basis(layer(snapshots)).vectors[:, :3]
    small = reduce(layer, states, activations, deim_indices(activations))
    end = steps_on_host(lambda t, x: small(x), TIMES, x0 @ states)[-1] @ states.T
    np.testing.assert_allclose(end, snapshots[-5:], rtol=1e-9)
    assert small.multiplications == 3 * 3 + 3 + 3 * 3


def test_pruning_is_the_layer_with_its_units_held_still(layer):
    rng = np.random.default_rng(5)
    keep = np.arange(N) % 3 > 0
    x0 = rng.normal(size=(4, N))
    for frozen in (None, x0):
        held = x0 if frozen is not None else np.where(keep, x0, 0)
        whole = steps_on_host(lambda t, x: np.where(keep, layer(x), 0), TIMES, held)[-1]
        small = prune(layer._replace(drive=None), keep, frozen)
        alone = steps_on_host(lambda t, x, small=small: small(x), TIMES, x0[:, keep])[-1]
        np.testing.assert_allclose(alone, whole[:, keep])


def test_low_rank_is_eckart_young():
    matrix = np.random.default_rng(6).normal(size=(N, N))
    values = np.linalg.svd(matrix, compute_uv=False)
    assert np.linalg.matrix_rank(low_rank(matrix, 4)) == 4
    assert np.linalg.norm(matrix - low_rank(matrix, 4), 2) == pytest.approx(values[4])
