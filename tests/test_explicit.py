import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.explicit import method
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.dynamics.runge_kutta import RK4
from reprise.statistics.fits import loglog_slope

FORCED = diffrax.ODETerm(lambda t, y, args: {"x": y["v"], "v": -y["x"] * (1 + 0.3 * y["x"]) + jnp.sin(t)})
START = {"x": np.array(0.2), "v": np.array(1.0)}


def reference(solver, times):
    return fixed_steps(FORCED, solver, times, jax.tree.map(jnp.asarray, START))[0]


solve = jax.jit(reference)


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
            if order in (2, 4):
                known = RK4() if order == 4 else diffrax.Heun(scan_kind="lax")
                np.testing.assert_allclose(ends[0], state(reference(known, grids[0])), rtol=1e-13)
    assert solve._cache_size() == 1


def test_what_it_refuses():
    with pytest.raises(ValueError, match="order"):
        method(5)
    with pytest.raises(ValueError, match="stages"):
        method(3, stages=2)
