import jax
import jax.numpy as jnp
import numpy as np

from reprise.dynamics.generative_sde import GenerativeSDE
from reprise.networks.functional import initialise
from reprise.statistics.two_sample import energy_distance, energy_loss


def perceptron(layers, x):
    """A perceptron with one hidden layer of tanh units, in NumPy."""
    (w1, b1), (w2, b2) = ((np.asarray(layers[i]["weight"][...]), np.asarray(layers[i]["bias"][...])) for i in (0, 1))
    return np.tanh(x @ w1 + b1) @ w2 + b2


def test_paths_are_those_of_a_loop_in_numpy():
    rng = np.random.default_rng(0)
    apply, params = initialise(lambda rngs: GenerativeSDE(2, 5, rngs=rngs), rng)
    steps, start = 6, rng.normal(size=(4, 2)).astype("float32")
    increments = (rng.normal(size=(steps, 4, 2)) / steps**0.5).astype("float32")
    run = jax.jit(apply)
    for noise in (1.0, 0.0):
        z = perceptron(params["initial"]["layers"], start)
        states = [z]
        for k in range(steps):
            time = np.full((4, 1), k / steps)
            drift, diffusion = np.split(perceptron(params["coefficients"]["layers"], np.hstack([z, time])), 2, axis=1)
            z = z + drift / steps + noise * diffusion * increments[k]
            states.append(z)
        readout = params["readout"]
        expected = np.stack(states) @ np.asarray(readout["weight"][...]) + np.asarray(readout["bias"][...])
        np.testing.assert_allclose(run(params, start, increments, noise), expected, rtol=1e-4, atol=1e-5)


def test_energy_loss_is_the_unbiased_energy_distance():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 3)).astype("float32"), (0.3 + rng.normal(size=(20, 3))).astype("float32")
    distance = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=-1)
    expected = 2 * distance(x, y).mean() - distance(x, x).sum() / (30 * 29) - distance(y, y).sum() / (20 * 19)
    loss = jax.jit(jax.value_and_grad(energy_loss))
    value, gradient = loss(x, y)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert np.isfinite(gradient).all()
    all_pairs = energy_distance(x, y) - distance(x, x).mean() / 29 - distance(y, y).mean() / 19
    np.testing.assert_allclose(value, all_pairs, rtol=1e-3)
    batches = rng.normal(size=(400, 2, 20, 3)).astype("float32")
    values = jax.jit(jax.vmap(lambda pair: energy_loss(*pair)))(jnp.asarray(batches))
    assert abs(values.mean()) < 3 * values.std() / 20
    assert values.min() < 0 < values.max()
