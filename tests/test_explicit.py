import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.explicit import Unrolled, from_tableau, method
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.statistics.fits import loglog_slope

FORCED = diffrax.ODETerm(lambda t, y, args: {"x": y["v"], "v": -y["x"] * (1 + 0.3 * y["x"]) + jnp.sin(t)})
START = {"x": np.array(0.2), "v": np.array(1.0)}


def reference(solver, times):
    return fixed_steps(FORCED, solver, times, jax.tree.map(jnp.asarray, START))[0]


solve = jax.jit(reference)


def textbook(times):
    """The classical method as every textbook has it."""
    f = lambda t, y: np.array([y[1], -y[0] * (1 + 0.3 * y[0]) + np.sin(t)])
    y = np.array([0.2, 1.0])
    for t, h in zip(times, np.diff(times), strict=False):
        k1 = f(t, y)
        k2 = f(t + h / 2, y + h / 2 * k1)
        k3 = f(t + h / 2, y + h / 2 * k2)
        k4 = f(t + h, y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


@pytest.mark.parametrize("derivative", [jax.jacfwd, jax.jacrev])
def test_a_method_written_out_has_derivatives_in_both_modes(derivative):
    end = lambda v: reference_from({"x": jnp.asarray(0.2), "v": v})["x"]
    with jax.enable_x64(True):
        slope = jax.jit(derivative(end))(1.0)
        np.testing.assert_allclose(slope, (end(1.0 + 1e-5) - end(1.0 - 1e-5)) / 2e-5, rtol=1e-8)


def reference_from(start):
    return fixed_steps(FORCED, method(4), np.linspace(0, 2, 17), jax.tree.map(jnp.asarray, start))[0]


def test_orders_and_known_methods_in_one_compiled_program():
    h = 2.0 ** -np.arange(3, 7)
    grids = [np.minimum(np.arange(129) * step, 2.0) for step in h]
    state = lambda y: np.array([y["x"], y["v"]])
    with jax.enable_x64(True):
        exact = state(reference(diffrax.Dopri8(scan_kind="lax"), np.linspace(0, 2, 65)))
        for order in (1, 2, 3, 4):
            ends = [state(solve(method(order), times)) for times in grids]
            errors = [np.linalg.norm(end - exact) for end in ends]
            assert loglog_slope(h[1:], errors[1:]) == pytest.approx(order, abs=0.15)
            if order == 2:
                known = state(reference(diffrax.Heun(scan_kind="lax"), grids[0]))
                np.testing.assert_allclose(ends[0], known, rtol=1e-13)
            if order == 4:
                np.testing.assert_allclose(ends[0], textbook(grids[0]), rtol=1e-13)
        pair = from_tableau(diffrax.Tsit5.tableau)
        known = state(reference(diffrax.Tsit5(scan_kind="lax"), grids[0]))
        np.testing.assert_allclose(state(reference(pair, grids[0])), known, rtol=1e-13)
    assert solve._cache_size() == 1


@pytest.mark.parametrize("pair", [diffrax.Tsit5(), diffrax.Bosh3()])
def test_unrolled_takes_the_steps_of_the_pair_and_has_its_gradient(pair):
    def run(rate, solver):
        term = diffrax.ODETerm(lambda t, y, args: {"x": y["v"], "v": -rate * y["x"] + jnp.sin(5 * t)})
        solution = diffrax.diffeqsolve(
            term, solver, 0.0, 2.0, 0.8, START, max_steps=200, saveat=diffrax.SaveAt(ts=[0.33, 1.7, 2.0]),
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
        )  # fmt: skip
        return solution.ys["x"].sum(), (solution.ys, solution.stats)

    with jax.enable_x64(True):
        both = [
            jax.jit(jax.value_and_grad(lambda r, s=s: run(r, s), has_aux=True))(1.3) for s in (pair, Unrolled(pair))
        ]
        assert both[0][0][1][1]["num_rejected_steps"] > 0
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), *both)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="order"):
        method(5)
    with pytest.raises(ValueError, match="stages"):
        method(3, stages=2)
