import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from reprise.dynamics.neural_ode import ODEClassifier, evaluations, finished, solve_adaptively
from reprise.dynamics.wrapped_solver import WrappedSolver
from reprise.networks.functional import initialise


def network():
    make = lambda rngs: ODEClassifier(5, 3, 8, 4, rngs=rngs)
    return initialise(make, np.random.default_rng(0))


def test_logits_are_those_of_scipys_solution():
    apply, params = network()
    params = jax.tree.map(lambda leaf: 2 * np.float64(leaf), params)
    x = np.random.default_rng(1).normal(size=(6, 5))

    def solve(field, z0):
        term = diffrax.ODETerm(lambda t, z, args: field(t, z))
        solution = solve_adaptively(term, diffrax.Tsit5(), z0, tolerance=1e-9, max_steps=200)
        return solution.ys[0], finished(solution)

    with jax.enable_x64(True):
        logits, done = jax.jit(lambda params, x: apply(params, x, solve))(params, x)

    affine = lambda layer, x: x @ layer["weight"][...] + layer["bias"][...]
    inner, outer = (params["field"]["mlp"]["layers"][i] for i in range(2))

    def field(t, z):
        z = np.concatenate([z.reshape(6, 3), np.full((6, 1), t)], axis=1)
        return affine(outer, np.tanh(affine(inner, z))).ravel()

    z1 = solve_ivp(field, (0, 1), affine(params["encoder"], x).ravel(), rtol=1e-11, atol=1e-11).y[:, -1]
    np.testing.assert_allclose(logits, affine(params["decoder"], z1.reshape(6, 3)), rtol=1e-6, atol=1e-8)
    assert done


@pytest.mark.parametrize("solver", [diffrax.Tsit5(scan_kind="lax"), diffrax.Heun(scan_kind="lax")])
def test_evaluations_are_counted_as_they_are_made(solver):
    made = []

    def field(t, y, args):
        jax.debug.callback(lambda: made.append(None))
        return -5 * y + 50 * jnp.exp(-1000 * (t - 1) ** 2)

    solve = eqx.filter_jit(lambda y, tolerance: solve_adaptively(
        diffrax.ODETerm(field), solver, y, tolerance=tolerance, max_steps=400, first_step=0.01, t1=2.0,
        adjoint=diffrax.ForwardMode(),
    ))  # fmt: skip
    solution = solve(jnp.ones(2), 1e-3)
    jax.effects_barrier()
    assert solution.stats["num_rejected_steps"] > 0
    assert evaluations(solution, solver) == len(made)
    assert evaluations(solve(jnp.ones(2), 1e-12), solver) == np.inf  # more steps than there may be


class Doubled(WrappedSolver):
    """Tells the controller that errors are twice as large as they are."""

    def step(self, *args, **kwargs):
        y1, error, *rest = super().step(*args, **kwargs)
        return y1, 2 * error, *rest


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Kvaerno3()])
def test_a_wrapped_solver_does_what_it_does_not_override(solver):
    term = diffrax.ODETerm(lambda t, y, args: -args * y + jnp.sin(5 * t))
    solve = eqx.filter_jit(lambda solver, tolerance: solve_adaptively(
        term, solver, jnp.ones(2), 3.0, tolerance=tolerance, max_steps=100, saveat=diffrax.SaveAt(steps=True),
        adjoint=diffrax.ForwardMode(),
    ))  # fmt: skip
    with jax.enable_x64(True):
        bare, same = solve(solver, 1e-6), solve(WrappedSolver(solver), 1e-6)
        np.testing.assert_array_equal(bare.ts, same.ts)
        np.testing.assert_array_equal(bare.ys, same.ys)
        assert bare.interpolation is same.interpolation is None
        doubled, halved = solve(Doubled(solver), 1e-6), solve(solver, 5e-7)
        np.testing.assert_allclose(doubled.ts[:20], halved.ts[:20], rtol=1e-3)
        assert Doubled(solver).order(term) == solver.order(term)
        assert Doubled(solver).error_order(term) == solver.error_order(term)
