import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from reprise.networks.functional import ensemble, from_vector, functional, initialise
from reprise.networks.mlp import MLP, count_parameters
from reprise.statistics.fits import loglog_slope
from reprise.training.loop import fit


def reference_mlp(params, x, activation, scale):
    """The same network written out by hand."""
    layers = [params["layers"][i] for i in range(len(params["layers"]))]
    for i, layer in enumerate(layers):
        weight, bias = np.asarray(layer["weight"][...]), np.asarray(layer["bias"][...])
        x = (x @ weight) * scale(weight.shape[0])[0] + bias * scale(weight.shape[0])[1]
        x = np.asarray(activation(x)) if i < len(layers) - 1 else x
    return x


@pytest.mark.parametrize("kind", ["standard", "ntk"])
def test_forward_matches_a_loop_in_numpy(kind):
    model = MLP([3, 7, 5, 2], activation=jnp.tanh, parametrization=kind, bias_std=0.1, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    scale = (lambda n: (1 / np.sqrt(n), 0.1)) if kind == "ntk" else (lambda n: (1.0, 1.0))
    _, params = functional(model)
    np.testing.assert_allclose(model(x), reference_mlp(params, x, np.tanh, scale), rtol=2e-5, atol=1e-6)


def test_parametrizations_agree_at_initialisation_and_not_in_their_gradients():
    outputs, gradients = [], []
    for kind in ("standard", "ntk"):
        apply, params = functional(MLP([3, 400, 1], parametrization=kind, bias_std=0.1, rngs=nnx.Rngs(1)))
        x = jnp.ones((1, 3))
        outputs.append(apply(params, x))
        gradients.append(optax.tree.norm(jax.grad(lambda p, x=x, a=apply: a(p, x).sum())(params)))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5)
    assert gradients[0] > 3 * gradients[1]


def test_ensemble_is_the_stack_of_its_members():
    keys = jax.random.split(jax.random.key(0), 3)
    make = lambda rngs: MLP([2, 4, 1], rngs=rngs)
    apply, params = ensemble(make, keys)
    x = jnp.ones((5, 2))
    together = jax.vmap(apply, (0, None))(params, x)
    for i in range(3):
        np.testing.assert_allclose(together[i], make(nnx.Rngs(keys[i]))(x), rtol=1e-6)
    assert count_parameters(params) == 3 * (2 * 4 + 4 + 4 + 1)


def test_initialise_has_the_law_of_the_modules_own_initialisation():
    make = lambda rngs: MLP([30, 20, 1], weight_std=2.0, bias_std=0.5, rngs=rngs)
    apply, params = initialise(make, np.random.default_rng(0), 50)
    _, device = ensemble(make, jax.random.split(jax.random.key(0), 50))
    assert jax.tree.structure(params) == jax.tree.structure(device)
    for ours, theirs, std in zip(
        *map(jax.tree.leaves, (params, device)), (0.5, 2 / 30**0.5, 0.5, 2 / 20**0.5), strict=True
    ):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(jnp.std(ours), std, rtol=5 * ours.size**-0.5)
    weight = np.asarray(params["layers"][0]["weight"][...]).reshape(50, -1)
    assert np.abs(np.corrcoef(weight) - np.eye(50)).max() < 0.2
    assert jax.vmap(apply, (0, None))(params, jnp.ones((4, 30))).shape == (50, 4, 1)


class Mixed(nnx.Module):
    """Draws from a stream, from the streams themselves, by a key, and nothing at all."""

    def __init__(self, rngs):
        self.uniform = nnx.Param(rngs.params.uniform((1000,), minval=2.0, maxval=3.0))
        self.normal = nnx.Param(np.sqrt(9.0) * rngs.normal((1000,)))
        self.keyed = nnx.Param(jnp.stack([jax.random.normal(rngs.params(), (3,)), rngs.params.rademacher((3,))]))
        self.fixed = nnx.Param(jnp.arange(3.0))


def test_initialise_serves_every_way_to_draw():
    make = lambda rngs: Mixed(rngs)
    _, one = initialise(make, np.random.default_rng(0))
    _, two = initialise(make, np.random.default_rng(0), 2)
    numbers = {name: np.asarray(leaf[...]) for name, leaf in two.items()}
    assert jax.tree.map(np.shape, one) == jax.tree.map(lambda leaf: leaf.shape[1:], two)
    for leaf in jax.tree.leaves((one, two)):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype == np.float32
    assert 2 <= numbers["uniform"].min() < 2.01 < 2.99 < numbers["uniform"].max() <= 3
    np.testing.assert_allclose(numbers["normal"].std(1), 3, rtol=0.1)
    np.testing.assert_array_equal(numbers["fixed"], [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(np.abs(numbers["keyed"][:, 1]), 1)
    for name in ("uniform", "normal", "keyed"):  # members differ, the same generator draws the same
        assert (numbers[name][0] != numbers[name][1]).any()
    _, again = initialise(make, np.random.default_rng(0), 2)
    jax.tree.map(np.testing.assert_array_equal, two, again)
    with jax.enable_x64(True):
        assert {leaf.dtype for leaf in jax.tree.leaves(initialise(make, np.random.default_rng(0))[1])} == {
            np.dtype(float)
        }


def test_fit_is_gradient_descent_and_watches():
    matrix = jnp.diag(jnp.array([1.0, 0.5]))
    loss = lambda w, key: 0.5 * w @ matrix @ w
    w, history = jax.jit(lambda w: fit(loss, w, optax.sgd(0.1), jax.random.key(0), 6, watch=jnp.sum, watch_every=3))(
        jnp.ones(2)
    )
    expected = np.array([0.9**6, 0.95**6])
    np.testing.assert_allclose(w, expected, rtol=1e-6)
    np.testing.assert_allclose(history["loss"][0], 0.75)
    np.testing.assert_allclose(history["watch"], [2, 0.9**3 + 0.95**3, expected.sum()], rtol=1e-6)


@pytest.mark.parametrize("steps", [7, 2])
def test_fit_watches_the_last_step_of_a_length_that_does_not_divide(steps):
    run = lambda **watch: fit(
        lambda w, key, rate: rate * w**2, jnp.ones(()), optax.sgd(0.1), jax.random.key(0), steps,
        inputs=jnp.linspace(1, 2, steps), **watch,
    )  # fmt: skip
    w, history = run(watch=lambda w: w, watch_every=3)
    every_w, every = run(watch=lambda w: w)
    assert w == every_w
    np.testing.assert_array_equal(history["loss"], every["loss"])
    np.testing.assert_array_equal(history["watch"], every["watch"][jnp.array([*range(0, steps, 3), steps])])


def test_fit_refuses_to_watch_every_zero_steps():
    with pytest.raises(ValueError, match="watch_every \\(0\\) must be at least 1"):
        fit(lambda w, k: w**2, jnp.ones(()), optax.sgd(0.1), jax.random.key(0), 7, watch=lambda w: w, watch_every=0)


def test_loglog_slope():
    x = np.array([1.0, 2, 4, 8])
    assert loglog_slope(x, 3 * x**-0.5) == pytest.approx(-0.5)
    assert np.isnan(loglog_slope(x, [1, -1, 1, 1]))
    with pytest.raises(ValueError, match="same length"):
        loglog_slope(x, x[:2])


def test_fit_resumes_with_inputs_and_aux():
    loss = lambda w, key, coefficient: (0.5 * coefficient * w**2, {"w": w})
    run = jax.jit(lambda w, state, inputs: fit(
        loss, w, optax.sgd(0.1, momentum=0.5), jax.random.key(0), 3, inputs=inputs, has_aux=True, state=state
    ))  # fmt: skip
    coefficients = jnp.array([1.0, 2.0, 1.0, 0.5, 1.0, 3.0])
    w, first = run(jnp.ones(()), optax.sgd(0.1, momentum=0.5).init(jnp.ones(())), coefficients[:3])
    w, second = run(w, first["state"], coefficients[3:])
    expected, speed, path = 1.0, 0.0, []
    for coefficient in np.asarray(coefficients):
        path.append(expected)
        speed = 0.5 * speed + coefficient * expected
        expected -= 0.1 * speed
    np.testing.assert_allclose(w, expected, rtol=1e-6)
    np.testing.assert_allclose([*first["aux"]["w"], *second["aux"]["w"]], path, rtol=1e-6)
    np.testing.assert_allclose(first["loss"][1], coefficients[1] * path[1] ** 2 / 2, rtol=1e-6)


def test_functional_of_a_method_and_from_vector():
    model = nnx.eval_shape(lambda: MLP([3, 4, 2], rngs=nnx.Rngs(0)))
    doubled, shapes = functional(model, lambda model, x: 2 * model(x))
    apply, _ = functional(model)
    vector = jnp.arange(count_parameters(shapes), dtype=jnp.float32) / 10
    params = from_vector(shapes, vector)
    np.testing.assert_array_equal(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)]), vector)
    x = jnp.ones((5, 3))
    np.testing.assert_allclose(doubled(params, x), 2 * apply(params, x))
    with pytest.raises(ValueError, match="shape"):
        from_vector(shapes, vector[1:])
