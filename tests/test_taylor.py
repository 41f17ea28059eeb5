import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from flax import nnx

from reprise.dynamics.taylor import solution_derivatives, with_taylor_penalty
from reprise.dynamics.vector_fields import TimeMLP

MATRIX = np.array([[0.1, 1.0], [-2.0, -0.3]])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_linear_system_with_forcing(order):
    """z' = Az + sin(2t) u has z^(K) = A^K z + sum of A^j times derivatives of the forcing."""
    t, z, u = 0.7, np.array([0.4, -1.1]), np.array([1.0, 0.5])
    forcing = [2**k * np.sin(2 * t + k * np.pi / 2) for k in range(order)]
    expected = np.linalg.matrix_power(MATRIX, order) @ z
    for k, value in enumerate(forcing):
        expected = expected + np.linalg.matrix_power(MATRIX, order - 1 - k) @ u * value
    with jax.enable_x64(True):
        derivatives = solution_derivatives(lambda t, z: z @ MATRIX.T + jnp.sin(2 * t) * u, order)
        found = derivatives(t, jnp.asarray(z))
        assert len(found) == order
        np.testing.assert_allclose(found[-1], expected, rtol=1e-10)


def test_network_field_against_nested_jvp():
    model = TimeMLP(3, 8, rngs=nnx.Rngs(0))
    field = lambda t, z: model(t, z)
    z = jax.random.normal(jax.random.key(1), (5, 3))

    def along(g):
        return lambda t, z: jax.jvp(g, (t, z), (jnp.ones_like(t), field(t, z)))[1]

    np.testing.assert_allclose(
        solution_derivatives(field, 3)(0.3, z)[-1], along(along(field))(jnp.float32(0.3), z), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(field(0.3, z)[2], field(0.3, z[2]), rtol=1e-5)


def test_penalty_is_the_integral_of_the_squared_derivative():
    """A harmonic oscillator: z'' = -z, so the integral over a whole period is pi times the squared amplitude."""
    rotate = lambda t, z: z @ jnp.array([[0.0, -1.0], [1.0, 0.0]])
    augmented = jax.jit(with_taylor_penalty(rotate, 2))

    def flat(t, y):
        dz, dr = augmented(t, (jnp.asarray(y[:2]), jnp.asarray(y[2])))
        return np.array([*dz, dr])

    end = scipy.integrate.solve_ivp(flat, (0, 2 * np.pi), [1.5, 0, 0], rtol=1e-7, atol=1e-8).y[:, -1]
    np.testing.assert_allclose(end, [1.5, 0, 2 * np.pi * 1.5**2], atol=1e-4)


def test_order_zero_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        solution_derivatives(lambda t, z: z, 0)
