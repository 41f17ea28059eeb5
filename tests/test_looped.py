import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.dynamics.explicit import method
from reprise.dynamics.fixed_steps import fixed_steps
from reprise.dynamics.looped import Looped

TIMES = np.linspace(0.3, 1.5, 13)


def field(t, y, rate):
    return {"a": -rate * y["b"] * jnp.cos(t), "b": jnp.sin(y["a"]) + t}


@pytest.mark.parametrize("order", [1, 2, 4])
def test_steps_and_gradients_are_those_of_the_method(order):
    def end(solver, start, rate):
        return fixed_steps(diffrax.ODETerm(field), solver, TIMES, start, rate)[0]

    def both(solver):
        with jax.enable_x64(True):
            start = {"a": np.array([0.2, -1.0]), "b": np.array([1.0, 0.5])}
            scalar = lambda *at: jnp.sum(jnp.square(end(solver, *at)["a"]))
            return jax.device_get(
                jax.jit(lambda *at: (end(solver, *at), jax.grad(scalar, argnums=(0, 1))(*at)))(start, 0.7)
            )

    expected = both(method(order))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), both(Looped(method(order))), expected)


def test_methods_with_longer_memory_are_refused():
    with pytest.raises(ValueError, match="stage before"):
        Looped(method(3))
